package manager

import (
	"bytes"
	"crypto/rand"
	"testing"
)

// worn is a source that an attacker knows.
type worn struct{}

func (worn) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)*7 + 1
	}
	return len(p), nil
}

// Keys are as good as the better of processor and hardware TPM: with either of
// them known, they follow the other.
func TestKeysAreMixed(t *testing.T) {
	secret := func(known bool, hardware byte) rootSecret {
		hw := newTPM()
		hw.random = hardware
		c := config(t, newDisk(diskSize), hw)
		if c.Rand = rand.Reader; known {
			c.Rand = worn{}
		}
		return start(t, c).secret
	}
	first := secret(true, 1)
	for name, c := range map[string]struct {
		other rootSecret
		same  bool
	}{
		"the same of both":                {secret(true, 1), true},
		"another hardware TPM":            {secret(true, 2), false},
		"another processor":               {secret(false, 1), false},
		"processor alone, as it once was": {unmixed(t), false},
	} {
		if same := bytes.Equal(first.key[:], c.other.key[:]) || bytes.Equal(first.counter[:], c.other.counter[:]); same != c.same {
			t.Errorf("%s: same keys: %v, want %v", name, same, c.same)
		}
	}
}

func unmixed(t *testing.T) rootSecret {
	s, err := newRoot(worn{}, uuid(1))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNoKeysWithoutHardwareRandomness(t *testing.T) {
	hw := newTPM()
	hw.fail = func(op string) error {
		if op == "entropy" {
			return errLostAnswer
		}
		return nil
	}
	d := newDisk(diskSize)
	if _, err := New(config(t, d, hw)); err == nil {
		t.Error("a store was made of one source")
	}
	if !bytes.Equal(d.live, make([]byte, diskSize)) {
		t.Error("and something was written")
	}
}
