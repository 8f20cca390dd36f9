package app

import (
	"bytes"
	"strings"
	"testing"

	"xenvtpm/boot/startinfo"
	"xenvtpm/vtpmmgr-stub/proto"
)

func TestParseOptions(t *testing.T) {
	parse := func(s string) (Options, error) {
		o, err := startinfo.ParseCmdline(s)
		if err != nil {
			t.Fatal(err)
		}
		return ParseOptions(o)
	}
	o, err := parse("")
	if err != nil || o.TPMBase != 0xFED40000 || o.PCRs.Mask != 0xFF || o.PCRs.Alg != 0x0B || o.RollbackOff || o.Admin != (proto.UUID{}) || o.Adopt != (proto.UUID{}) || o.Authority != ([32]byte{}) || o.OwnerAuth != nil {
		t.Errorf("defaults: %+v %v", o, err)
	}
	o, err = parse("tpmiomem=0xfed42000 tpmlocality=2 owner_auth=text:pass rollback=off pcrs=sha384:0-2,7,16 admin=00000000-0000-4000-8000-000000000003 adopt=00000000-0000-4000-8000-000000000004 authority=" + strings.Repeat("a5", 32) + " nvindex=0x01800001 srk_handle=81000001 disk=51712 tpm2=1 tpmirq=0")
	if err != nil || o.TPMBase != 0xFED42000 || o.TPMLocality != 2 || !bytes.Equal(o.OwnerAuth, []byte("pass")) || !o.RollbackOff ||
		o.PCRs.Mask != 0x10087 || o.PCRs.Alg != 0x0C || o.Admin[15] != 3 || o.Adopt[15] != 4 || o.Authority[31] != 0xA5 || o.NVIndex != 0x01800001 || o.Primary != 0x81000001 || o.Disk != "51712" {
		t.Errorf("all set: %+v %v", o, err)
	}
	o, err = parse("owner_auth=hash:00112233445566778899aabbccddeeff00112233")
	if err != nil || len(o.OwnerAuth) != 20 || o.OwnerAuth[1] != 0x11 {
		t.Errorf("hash: %x %v", o.OwnerAuth, err)
	}
	for _, bad := range []string{"rolback=off", "rollback=of", "rollback=", "pcrs=24", "pcrs=7-0", "pcrs=", "pcrs=sha1:0", "pcrs=0-", "tpmlocality=5",
		"tpmlocality=-1", "tpmiomem=0xfed40001", "tpmiomem=0x1fed40000", "owner_auth=secret", "owner_auth=hash:12", "nvindex=7", "srk_handle=7", "srk_handle=0x80000001", "admin=65535", "admin=3", "admin=00", "admin=", "admin=00000000-0000-0000-0000-000000000000", "adopt=1", "authority=", "authority=a5", "authority=" + strings.Repeat("g5", 32), "forget=1"} {
		_, err := parse(bad)
		if err == nil {
			t.Errorf("%q accepted", bad)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows the value: %v", bad, err)
		}
	}
}

func FuzzParseOptions(f *testing.F) {
	f.Add("pcrs=0-7,10 rollback=off")
	f.Add("owner_auth=hash:00 tpmiomem=0xfed40000")
	f.Fuzz(func(t *testing.T, s string) {
		o, err := startinfo.ParseCmdline(s)
		if err != nil {
			return
		}
		if got, err := ParseOptions(o); err == nil && (got.PCRs.Mask == 0 || got.PCRs.Mask>>24 != 0) {
			t.Fatalf("PCR mask %#x", got.PCRs.Mask)
		}
	})
}
