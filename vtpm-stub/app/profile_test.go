package app_test

import (
	"encoding/binary"
	"testing"

	"xenvtpm/drivers/tpmwire"
)

// revision is TPM_PT_REVISION.
func (x *host) revision() uint32 {
	x.t.Helper()
	h, body := x.send(packet(tpmwire.TagNoSessions, 0x17A, uint32(6), uint32(0x102), uint32(1)))
	if h.Code != 0 || len(body) != 17 {
		x.t.Fatalf("GetCapability: %#x, %x", h.Code, body)
	}
	return binary.BigEndian.Uint32(body[13:])
}

// TestProfile: the profile is chosen for a new vTPM and kept; RSA keys of 1024 bits are an option
// of every start.
func TestProfile(t *testing.T) {
	rsa := func(bits uint16) []byte {
		return packet(tpmwire.TagNoSessions, 0x18A, uint16(1), uint16(0x10), uint16(0x10), bits, uint32(0))
	}
	sha3 := packet(tpmwire.TagNoSessions, 0x17D, uint16(1), []byte{7}, uint16(0x27), uint32(0x40000007))
	for _, c := range []struct {
		first, then string
		revision    uint32
		sha3, rsa   bool // after the second start
		log         int  // lines about a profile that comes too late
	}{
		{"", "", 183, false, false, 0},
		{"rsa1024=1", "", 183, false, false, 0},
		{"", "rsa1024=1", 183, false, true, 0},
		{"profile=xenvtpm-v1", "profile=null", 185, true, false, 1},
		{"profile=null", "", 164, false, false, 0},
		{"profile=custom commands=0x11f-0x122,0x124-0x12e,0x130-0x140,0x142-0x159,0x15b-0x15e,0x160-0x165,0x167-0x174,0x176-0x178,0x17a-0x193", "", 164, false, false, 0},
	} {
		d := newDurable()
		x := boot(t, d, c.first)
		if h, _ := x.send(nvDefine(index)); h.Code != 0 {
			t.Fatalf("%q: NV_DefineSpace: %#x", c.first, h.Code)
		}
		x.off()
		x = boot(t, d, c.then)
		if got := x.revision(); got != c.revision {
			t.Errorf("%q, %q: revision %d, want %d", c.first, c.then, got, c.revision)
		}
		if h, _ := x.send(sha3); (h.Code == 0) != c.sha3 {
			t.Errorf("%q, %q: SHA3-256: %#x", c.first, c.then, h.Code)
		}
		if h, _ := x.send(rsa(1024)); (h.Code == 0) != c.rsa {
			t.Errorf("%q, %q: RSA 1024: %#x", c.first, c.then, h.Code)
		}
		if h, _ := x.send(rsa(2048)); h.Code != 0 {
			t.Errorf("%q, %q: RSA 2048: %#x", c.first, c.then, h.Code)
		}
		if n := x.log.count("keeps the profile"); n != c.log {
			t.Errorf("%q, %q: the log says %d times that the profile stays", c.first, c.then, n)
		}
		x.off()
	}
	for _, bad := range []string{"profile=default-v2", "profile=", "profile", "algorithms=sha256", "profile=null commands=0x11f", "profile=custom algorithms=sha256", "profile=null profile=null"} {
		x := boot(t, newDurable(), bad)
		if h, _ := x.send(rsa(2048)); h.Code != tpmwire.RCFailure || x.log.count("FAILURE MODE") != 1 {
			t.Errorf("%q: %#x", bad, h.Code)
		}
		x.off()
	}
}
