package tis

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"xenvtpm/drivers/drivertest"
	"xenvtpm/drivers/tpmwire"
)

// works sends a command and wants it executed at locality l.
func works(t *testing.T, d *Device, m *drivertest.TIS, l uint8) {
	t.Helper()
	at := uint8(99)
	m.Execute = func(locality uint8, cmd []byte) []byte { at = locality; return echo(locality, cmd) }
	cmd := command(tpmwire.TagNoSessions, 0x17B, 12)
	rsp, err := d.Send(cmd)
	if err != nil || !bytes.Equal(rsp, echo(0, cmd)) || at != l {
		t.Fatalf("%x, %v, executed at locality %d, want %d", rsp, err, at, l)
	}
}

// TestLeftActive: whatever locality firmware or a destroyed domain left active,
// every other one works, soon if the TPM waits for a command and after
// LocalityWait if it is idle.
func TestLeftActive(t *testing.T) {
	for left := range 5 {
		for l := range 5 {
			for _, ready := range []bool{true, false} {
				t.Run(fmt.Sprintf("left %d, ours %d, ready %t", left, l, ready), func(t *testing.T) {
					m := &drivertest.TIS{NoSeize: true}
					m.LeaveActive(left, ready)
					d, err := open(t, m, Config{Locality: uint8(l)})
					if err != nil {
						t.Fatal(err)
					}
					most, least := 1100*time.Millisecond, quiet
					switch {
					case l == left:
						most, least = 100*time.Millisecond, 0
					case !ready:
						most, least = 10100*time.Millisecond, 10*time.Second
					}
					if took := time.Duration(m.Clock.Now()); took > most || took < least {
						t.Errorf("took %v, want %v to %v", took, least, most)
					}
					works(t, d, m, uint8(l))
				})
			}
		}
	}
}

// TestHiddenLocalities: without the holder's registers only a higher locality
// gets the TPM, by Seize.
func TestHiddenLocalities(t *testing.T) {
	only := func(l int) (h [5]bool) {
		for i := range h {
			h[i] = i != l
		}
		return h
	}
	for _, tt := range []struct {
		name    string
		left    int // -1: nobody
		ours    int
		noSeize bool
		hidden  [5]bool
		err     error
	}{
		{"nobody is active", -1, 2, true, only(2), nil},
		{"ours is higher", 0, 2, false, only(2), nil},
		{"ours is lower", 4, 2, false, only(2), ErrLocalityBusy},
		{"the TPM ignores Seize", 0, 2, true, only(2), ErrLocalityBusy},
		{"ours is hidden", 0, 4, false, [5]bool{4: true}, ErrNoLocality},
		{"all are hidden", 0, 4, false, [5]bool{true, true, true, true, true}, ErrNoTPM},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &drivertest.TIS{NoSeize: tt.noSeize, Hidden: tt.hidden}
			if tt.left >= 0 {
				m.LeaveActive(tt.left, true)
			}
			d, err := open(t, m, Config{Locality: uint8(tt.ours)})
			if !errors.Is(err, tt.err) {
				t.Fatalf("got %v, want %v", err, tt.err)
			}
			if took := time.Duration(m.Clock.Now()); took > 12*time.Second {
				t.Errorf("took %v", took)
			}
			if err == nil {
				works(t, d, m, uint8(tt.ours))
			}
		})
	}
}

// TestLiveHolder: a locality that uses the TPM is waited for at start, and after
// the start nobody's TPM is ever taken.
func TestLiveHolder(t *testing.T) {
	m := &drivertest.TIS{Clock: new(drivertest.Clock), Execute: echo}
	var steps int
	idle := func() { // locality 0 gets ready, idles, gets ready ... and lets go
		switch at := time.Duration(m.Clock.Now()); {
		case at > 5*time.Second && steps > 0:
			m.Write8(regAccess, accessActive)
			steps = -1
		case steps >= 0 && at > time.Duration(steps+1)*600*time.Millisecond:
			steps++
			m.LeaveActive(0, steps%2 == 0)
		}
	}
	m.LeaveActive(0, true)
	d, err := open(t, m, Config{Locality: 2, Idle: idle})
	if err != nil || steps != -1 {
		t.Fatalf("%v after %v: taken from a locality that uses the TPM", err, time.Duration(m.Clock.Now()))
	}
	m.LeaveActive(0, true)
	if _, err := d.Send(command(tpmwire.TagNoSessions, 0x17B, 12)); !errors.Is(err, ErrLocalityBusy) {
		t.Fatalf("a command took the TPM: %v", err)
	}
	if m.Read8(regAccess)&accessActive == 0 {
		t.Error("locality 0 has lost the TPM")
	}
	m.Write8(regAccess, accessActive)
	works(t, d, m, 2)
}
