package hwtpm

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/vtpmmgr-stub/swtpmtest"
)

// bus records what crosses it.
type bus struct {
	frames   [][]byte
	unsalted int // sessions that were started without a salt
}

func listen(s *swtpmtest.TPM) *bus {
	b := &bus{}
	s.After = func(cmd, rsp []byte) ([]byte, error) {
		b.frames = append(b.frames, bytes.Clone(cmd), bytes.Clone(rsp))
		if binary.BigEndian.Uint32(cmd[6:]) == ccStartAuthSession && tpm2.TPMHandle(binary.BigEndian.Uint32(cmd[10:])) == tpm2.TPMRHNull {
			b.unsalted++
		}
		return rsp, nil
	}
	return b
}

// sees tells whether any eight octets of the secret crossed the bus together.
func (b *bus) sees(secret []byte) bool {
	for i := range len(secret) - 7 {
		for _, f := range b.frames {
			if bytes.Contains(f, secret[i:i+8]) {
				return true
			}
		}
	}
	return false
}

// A listener sees neither the counter's authorisation, nor the owner's, nor what
// an unsalted session would let him guess, nor the randomness that keys are made
// of.
func TestListenerOnTheBus(t *testing.T) {
	for name, owner := range map[string][]byte{
		"empty": nil, "text": []byte("owner's secret"), "with zero bytes": append([]byte("owner\x00secret"), 0x81, 0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			s := swtpmtest.Start(t, true)
			open(t, s)
			changeOwnerAuth(t, s, owner)
			b := listen(s)
			tpm := open(t, s, owner...)
			auth := make([]byte, AuthSize)
			for i := range auth {
				_, _ = rand.Read(auth[i : i+1])
				auth[i] |= 1
			}
			if _, err := tpm.MakeCounter(auth); err != nil {
				t.Fatal(err)
			}
			if err := tpm.Increment(); err != nil {
				t.Fatal(err)
			}
			if err := tpm.SetAnchor(Anchor{State: AnchorActive, Manager: [16]byte{1}}); err != nil {
				t.Fatal(err)
			}
			if err := tpm.SetAnchor(Anchor{}); err != nil {
				t.Fatal(err)
			}
			random, err := tpm.Entropy(64)
			if err != nil || len(random) != 64 {
				t.Fatalf("%d bytes, %v", len(random), err)
			}
			if len(b.frames) < 20 {
				t.Fatalf("only %d frames recorded", len(b.frames))
			}
			if b.sees(auth) {
				t.Error("the counter's authorisation crossed the bus in the clear")
			}
			if len(owner) > 0 && b.sees(owner) {
				t.Error("the owner's authorisation crossed the bus in the clear")
			}
			if b.sees(random) {
				t.Error("randomness for keys crossed the bus in the clear")
			}
			if b.unsalted > 0 {
				t.Errorf("%d sessions were not salted", b.unsalted)
			}
		})
	}
}
