package app_test

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"strings"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/drivers/drivertest"
	"xenvtpm/drivers/tpmwire"
)

// boots is every kind of arrival, with what it finds in PCR 10. A step is "who
// what"; who is a guest by its uuid (G, X) and incarnation, or H, a helper in
// domain 0, or D, domain 0 itself. "uses" reads PCR 10, compares, and extends it
// with the name of who uses it: "G1 uses G1 X1" found what those two extended,
// in this order; "!" is the error value of capped PCRs.
//
// G1 is there at the start, as domain 3; the next ones are 4, 5, ...
var boots = []struct {
	name, cmdline string
	steps         string
}{
	{"one guest", "", "G1 uses; G1 uses G1"},
	{"its driver comes and goes", "", "G1 uses; G1 unbinds; G1 binds; G1 uses G1"},
	{"somebody else's command while it is unbound", "", "G1 uses; G1 unbinds; X1 made; X1 uses G1; G1 binds; G1 uses G1 X1"},
	{"domain 0's command while it is unbound", "", "G1 uses; G1 unbinds; D1 made; D1 uses G1; G1 binds; G1 uses G1 D1"},
	{"reboot in order", "", "G1 uses; G1 shuts down; G2 made; G2 uses; G2 shuts down; G3 made; G3 uses"},
	{"crash, or destroy", "", "G1 uses; G1 dies; G2 made; G2 uses !; G2 shuts down; G3 made; G3 uses"},
	{"crash, announced", "", "G1 uses; G1 dies; G2 made new; G2 uses"},
	{"crash, never saved", "reset=always", "G1 uses; G1 dies; G2 made; G2 uses"},
	{"crash, preserve", "", "G1 uses; G2 made; G2 uses !; G1 uses refused; G2 uses ! G2"},
	{"crash, rename-restart, announced", "", "G1 uses; G2 made new; G2 uses; G1 uses refused; G2 uses G2"},
	{"poweroff, preserve", "", "G1 uses; G1 unbinds; G2 made; G2 uses"},
	{"save and restore", "", "G1 uses; G1 dies; G2 made; G2 uses !"},
	{"save and announced restore", "", "G1 uses; G1 dies; G2 made restore; G2 uses G1; G2 dies; G3 made restore; G3 uses G1 G2"},
	{"restore that came too late", "", "G1 uses; G1 dies; X1 made; X1 uses; X1 shuts down; G2 made restore; G2 uses !"},
	{"restore of one that never used the TPM", "", "G1 uses; G1 shuts down; G2 made; G2 dies; G3 made restore; G3 uses !"},
	{"restore with nothing to resume", "", "X1 made restore; X1 uses !"},
	{"restore beside the saved one", "", "G1 uses; G2 made restore; G2 uses G1; G1 uses refused"},
	{"number used again, after an orderly end", "", "G1 uses; G1 shuts down; G2 made as 3; G2 uses"},
	{"number used again, after a destroy", "reset=always", "G1 uses; G1 dies; G2 made as 3; G2 uses"},
	{"device attached again to the same domain", "", "G1 uses; G1 detached; G1 attached; G1 uses !"},
	{"another guest's turn", "", "G1 uses; G1 dies; X1 made; X1 uses; X1 dies; G2 made; G2 uses !"},
	{"two share, then a third alone", "", "X1 made; X1 uses; G1 uses X1; X1 dies; Y1 made; Y1 uses X1 G1; Y1 dies; G1 dies; Z1 made; Z1 uses"},
	{"reboot beside somebody who stays", "", "X1 made; X1 uses; G1 uses X1; G1 shuts down; G2 made; G2 uses; X1 uses refused"},
	{"builder domain that stays", "", "X1 made; X1 uses; G1 uses X1; X1 dies; G1 uses X1 G1"},
	{"builder domain for each boot", "", "X1 made; X1 uses; G1 uses X1; X1 shuts down; G1 shuts down; X2 made; X2 uses; G2 made; G2 uses X2"},
	{"helper before each boot", "", "G1 uses; G1 dies; H1 helps 4; H1 uses; H1 leaves; G2 made; G2 uses H1; G2 dies; H2 helps 5; H2 uses; H2 leaves; G3 made; G3 uses H2"},
	{"helper that stays", "", "G1 uses; G1 dies; H1 helps 4; H1 uses; G2 made; G2 uses H1; H1 uses H1 G2; G2 unbinds; G2 binds; G2 uses H1 G2 H1"},
	{"helper beside a preserved guest", "", "G1 uses; H1 helps 4; H1 uses; G1 uses refused; G2 made; G2 uses H1"},
	{"helper for a restored guest", "", "H1 helps 4; H1 uses; H1 leaves; H2 helps 5 restore; H2 uses H1"},
	{"helper whose domain never came", "", "H1 helps 4; H1 uses; H1 leaves; G2 made as 4; G2 dies; X1 made as 4; X1 uses"},
	{"number used again while its helper is attached", "", "H1 helps 4; H1 uses; G2 made; G2 uses H1; G2 shuts down; G3 made as 4; G3 uses; H1 uses refused"},
	{"the preserved one is destroyed later", "", "G1 uses; G2 made new; G2 uses; G2 shuts down; G1 dies; G3 made; G3 uses !"},
	{"domain 0 is nobody", "", "D1 made; D1 uses; G1 uses; D1 uses G1; G1 shuts down; D1 uses G1 D1; G2 made; G2 uses"},
	{"domain 0 measures without for-domain", "", "G1 uses; G1 shuts down; D1 made; D1 uses G1; G2 made; G2 uses"},
	{"announced only: first", "reset=announced", "G1 uses !; X1 made; X1 uses refused; G1 uses ! G1"},
	{"announced only: reboot in order", "reset=announced", "G1 uses !; G1 shuts down; G2 made; G2 uses !; G2 shuts down; G3 made new; G3 uses"},
	{"announced only: closed, saved, restored", "reset=announced", "G1 uses !; G1 unbinds; G1 dies; G2 made; G2 uses !"},
	{"never", "reset=never", "G1 uses; G1 dies; G2 made; G2 uses G1; X1 made; X1 uses G1 G2"},
}

// stage plays the steps.
type stage struct {
	*host
	fronts map[string]*drivertest.LinuxFront
	number abi.DomID // the next
	handle int       // of domain 0's next device
}

func TestBoots(t *testing.T) {
	for _, c := range boots {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := boot(t, newDurable(), c.cmdline)
			s := &stage{host: x, fronts: map[string]*drivertest.LinuxFront{"G1": x.fe}, number: guestDom + 1}
			for step := range strings.SplitSeq(c.steps, "; ") {
				s.play(step)
			}
			x.off()
		})
	}
}

func (s *stage) must(step string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %v", step, err)
	}
}

func (s *stage) play(step string) {
	s.t.Helper()
	words := strings.Fields(step)
	who, what, args := words[0], words[1], words[2:]
	f := s.fronts[who]
	switch what {
	case "uses":
		s.use(who, args)
	case "made":
		s.make(who, args)
	case "helps":
		s.plug(who, 0, args)
	case "unbinds":
		s.must(step, f.Unbind())
		s.must(step, f.Run(2*time.Second))
	case "binds":
		s.must(step, f.Probe())
		s.must(step, f.Connect(5*time.Second))
	case "shuts": // down
		stalled, err := f.Shutdown()
		if s.must(step, err); stalled {
			s.t.Errorf("%s: stalled", step)
		}
		s.must(step, s.ts.Destroy(f.Dom))
	case "dies":
		s.must(step, s.ts.Destroy(f.Dom))
	case "leaves", "detached":
		s.must(step, s.ts.Detach(f.Dev))
	case "attached":
		s.plug(who, f.Dom.ID, nil)
	default:
		s.t.Fatalf("no such step: %s", step)
	}
}

// make makes a domain, of a number that was used before or the next one.
func (s *stage) make(who string, args []string) {
	s.t.Helper()
	if who[0] == 'D' {
		s.plug(who, 0, nil)
		return
	}
	n := s.number
	if len(args) == 2 { // as N
		_, err := fmt.Sscan(args[1], &n)
		s.must(who, err)
		args = nil
	} else {
		s.number++
	}
	s.h.NewDomain(n)
	if len(args) == 1 {
		args = []string{"", args[0]}
	}
	s.plug(who, n, args)
}

// plug attaches a device whose uuid follows from the first letter of who. args are
// the values of for-domain and boot.
func (s *stage) plug(who string, n abi.DomID, args []string) {
	s.t.Helper()
	uuid := guestUUID
	if who[0] != 'G' {
		uuid = strings.Repeat(fmt.Sprintf("%02x", who[0]), 4) + guestUUID[8:]
	}
	devid := 0
	if n == 0 {
		devid, s.handle = s.handle, s.handle+1
	}
	dev, err := s.ts.AddVTPM(n, vtpmDom, devid, uuid)
	s.must(who, err)
	for i, node := range []string{"for-domain", "boot"} {
		if i < len(args) && args[i] != "" {
			s.h.Set(dev.BackPath()+"/"+node, args[i])
		}
	}
	f := &drivertest.LinuxFront{Dom: s.h.Domain(n), Dev: dev}
	s.fronts[who] = f
	s.must(who, f.Probe())
	s.must(who, f.Connect(5*time.Second))
}

// use reads and extends PCR 10.
func (s *stage) use(who string, want []string) {
	s.t.Helper()
	s.fe = s.fronts[who]
	h, got := s.send(packet(tpmwire.TagRquCommand, 21, uint32(10)))
	if len(want) == 1 && want[0] == "refused" {
		if h.Code != tpmwire.Result12Fail || s.log.count("not served until") != 1 {
			s.t.Errorf("%s: %#x", who, h.Code)
		}
		return
	}
	pcr := make([]byte, 20)
	for _, w := range want {
		pcr = extended(pcr, w)
	}
	if h.Code != 0 || !bytes.Equal(got, pcr) {
		s.t.Errorf("%s finds %#x %x in PCR 10, want %x, by %v", who, h.Code, got, pcr, want)
	}
	digest := sha1.Sum([]byte(who))
	if h, _ := s.send(packet(tpmwire.TagRquCommand, 20, uint32(10), digest[:])); h.Code != 0 {
		s.t.Fatalf("%s: Extend: %d", who, h.Code)
	}
}

// extended is a PCR's value after somebody extended it.
func extended(pcr []byte, who string) []byte {
	digest := sha1.Sum([]byte(who))
	if who == "!" {
		digest = sha1.Sum([]byte{1, 0, 0, 0})
	}
	sum := sha1.Sum(append(pcr, digest[:]...))
	return sum[:]
}

// Option save keeps PCRs over a restart of the vTPM, for a guest that the
// toolstack restores. A guest that boots gets none of them, whatever it said to
// the TPM before.
func TestSavedState(t *testing.T) {
	zero := make([]byte, 20)
	for _, c := range []struct {
		name, said string
		shutdown   bool // the guest sends TPM2_Shutdown(STATE)
		want       []byte
	}{
		{"restored", "restore", true, extended(zero, "G1")},
		{"boots", "", true, zero},
		{"boots, announced", "new", true, zero},
		{"restored, nothing saved", "restore", false, extended(zero, "!")},
	} {
		d := newDurable()
		x := boot(t, d, "save")
		s := &stage{host: x, fronts: map[string]*drivertest.LinuxFront{"G1": x.fe}}
		s.play("G1 uses")
		if c.shutdown {
			if h, _ := x.send(packet(tpmwire.TagNoSessions, 0x145, uint16(1))); h.Code != 0 {
				t.Fatalf("Shutdown: %#x", h.Code)
			}
		}
		x.off()
		x = bootAs(t, d, "save", c.said)
		if h, got := x.send(packet(tpmwire.TagRquCommand, 21, uint32(10))); h.Code != 0 || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %#x, PCR 10 is %x, want %x", c.name, h.Code, got, c.want)
		}
		x.off()
	}
}

// Shutdown(STATE) before a reboot keeps nothing while the vTPM runs either.
func TestShutdownStateIsNoChoice(t *testing.T) {
	x := boot(t, newDurable(), "save")
	s := &stage{host: x, fronts: map[string]*drivertest.LinuxFront{"G1": x.fe}, number: guestDom + 1}
	s.play("G1 uses")
	if h, _ := x.send(packet(tpmwire.TagNoSessions, 0x145, uint16(1))); h.Code != 0 {
		t.Fatalf("Shutdown: %#x", h.Code)
	}
	for _, step := range []string{"G1 shuts down", "G2 made", "G2 uses"} {
		s.play(step)
	}
}
