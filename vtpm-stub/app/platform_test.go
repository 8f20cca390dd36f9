package app_test

import (
	"testing"

	"xenvtpm/drivers/drivertest"
	"xenvtpm/drivers/tpmwire"
)

// asPlatform are commands that an empty platformAuth allows.
var asPlatform = map[string][]byte{
	"Clear":               packet(tpmwire.TagSessions, 0x126, uint32(0x4000000C), password),
	"ChangeEPS":           packet(tpmwire.TagSessions, 0x124, uint32(0x4000000C), password),
	"ChangePPS":           packet(tpmwire.TagSessions, 0x125, uint32(0x4000000C), password),
	"ClearControl":        packet(tpmwire.TagSessions, 0x127, uint32(0x4000000C), password, uint8(0)),
	"HierarchyControl":    packet(tpmwire.TagSessions, 0x121, uint32(0x4000000C), password, uint32(0x4000000B), uint8(1)),
	"HierarchyChangeAuth": packet(tpmwire.TagSessions, 0x129, uint32(0x4000000C), password, uint16(0)),
	"PCR_Allocate": packet(tpmwire.TagSessions, 0x12B, uint32(0x4000000C), password, uint32(1),
		uint16(0x000B), uint8(3), []byte{255, 255, 255}),
}

// The platform hierarchy is closed to a guest, after the start, after each power
// cycle and after a resume; with platform=open it is not.
func TestPlatformHierarchy(t *testing.T) {
	const badAuth = 0x9A2 // TPM_RC_BAD_AUTH, session 1
	for cmdline, want := range map[string]uint32{
		"": badAuth, "platform=closed": badAuth, "platform=open": 0, "save": badAuth, "save platform=open": 0,
	} {
		d := newDurable()
		x := boot(t, d, cmdline)
		check := func(when string) {
			for name, cmd := range asPlatform {
				if h, _ := x.send(cmd); h.Code != want {
					t.Errorf("%q, %s: %s gives %#x, want %#x", cmdline, when, name, h.Code, want)
				}
			}
		}
		check("start")
		s := &stage{host: x, fronts: map[string]*drivertest.LinuxFront{"G1": x.fe}, number: guestDom + 1}
		for _, step := range []string{"G1 shuts down", "G2 made", "G2 uses"} {
			s.play(step)
		}
		check("power cycle")
		// With a changed set of banks there is no Shutdown(STATE).
		if h, _ := x.send(packet(tpmwire.TagNoSessions, 0x145, uint16(1))); h.Code != 0 && want != 0 {
			t.Fatalf("Shutdown: %#x", h.Code)
		}
		x.off()
		x = bootAs(t, d, cmdline, "restore")
		check("start again")
		x.off()
	}
}

// What the owner may do needs no platform.
func TestPlatformClosedOwnerOpen(t *testing.T) {
	x := boot(t, newDurable(), "")
	if h, _ := x.send(nvDefine(index)); h.Code != 0 {
		t.Errorf("NV_DefineSpace: %#x", h.Code)
	}
	lockout := packet(tpmwire.TagSessions, 0x126, uint32(0x4000000A), password)
	if h, _ := x.send(lockout); h.Code != 0 {
		t.Errorf("Clear by lockoutAuth: %#x", h.Code)
	}
}
