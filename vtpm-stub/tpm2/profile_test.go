package tpm2

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// profiled returns a started TPM with a profile.
func profiled(t testing.TB, name string) *testTPM {
	t.Helper()
	p, err := ProfileNamed(name)
	if err != nil {
		t.Fatal(err)
	}
	return newTestTPM(t, func(c *Config) { c.Profile = p })
}

// capability returns a list of TPM2_GetCapability from property on, without its count.
func (x *testTPM) capability(capability, property uint32) (count uint32, list []byte) {
	x.t.Helper()
	r := x.ok(x.cmd(TPM_CC_GetCapability, u32(capability), u32(property), u32(1000))).reader()
	if r.yesNo() || r.u32() != capability {
		x.t.Fatalf("capability %d: there is more, or it is another", capability)
	}
	return r.u32(), r.b
}

// libtpms09 is what libtpms 0.9.2 answers to TPM2_GetCapability: algorithms with attributes, command
// attributes, PCR properties, curves.
var libtpms09 = map[uint32]string{
	TPM_CAP_ALGS: "0001 00000009 0003 00000002 0004 00000004 0005 00000104 0006 00000002 0007 00000404 0008 0000030c 000a 00000006" +
		"000b 00000004 000c 00000004 000d 00000004 0014 00000101 0015 00000201 0016 00000101 0017 00000201 0018 00000101" +
		"0019 00000401 001a 00000101 001b 00000501 001c 00000101 001d 00000401 0020 00000404 0021 00000404 0022 00000404" +
		"0023 00000009 0025 00000008 0026 00000002 003f 00000102 0040 00000202 0041 00000202 0042 00000202 0043 00000202 0044 00000202",
	TPM_CAP_PCR_PROPERTIES: "00000000 03ffff00 00000001 03ffff81 00000002 03000081 00000003 03ffff91 00000004 03000081 00000005 03ffffff" +
		"00000006 030000f1 00000007 03ffff9f 00000008 03000081 00000009 03ffff87 0000000a 0300007e 00000011 030000e1" +
		"00000012 0300007e 00000013 03000070 00000014 03000070",
	TPM_CAP_PCRS:       "000403ffffff 000b03ffffff 000c03ffffff 000d03ffffff",
	TPM_CAP_ECC_CURVES: "0001 0002 0003 0004 0005 0010 0011 0020",
	TPM_CAP_COMMANDS: "0440011f 04400120 02c00121 04400122 02c00124 02c00125 02c00126 02400127 02400128 02400129 0240012a 0240012b" +
		"0240012c 0240012d 0240012e 02000130 12000131 02400132 04400133 04400134 04400135 04400136 04400137 04400138 02400139" +
		"0240013a 0240013b 0240013c 0240013d 0300013e 0240013f 02400140 00400142 00400143 00400144 00400145 00400146 04000147" +
		"04000148 06000149 0400014a 0400014b 0400014c 0600014d 0400014e 0440014f 04000150 04000151 04000152 02000153 02000154" +
		"02000155 02000156 12000157 02000158 02000159 1200015b 0200015c 0200015d 0200015e 04000160 10000161 02000162 02000163" +
		"02000164 00000165 10000167 02000168 02000169 0200016a 0200016b 0200016c 0200016d 0200016e 0200016f 02000170 02000171" +
		"02000172 02000173 02000174 14000176 02000177 00000178 0000017a 0000017b 0000017c 0000017d 0000017e 0200017f 02000180" +
		"00000181 02400182 02000183 06000184 05400185 10000186 02000187 02000188 02000189 0000018a 0200018b 0200018c 0200018d" +
		"0000018e 0200018f 02000190 12000191 06000192 02000193 04000197",
}

// libtpms' lists of the profile default-v1, as its manual gives them.
const (
	libtpmsAlgorithms = "rsa,rsa-min-size=1024,tdes,tdes-min-size=128,sha1,hmac,aes,aes-min-size=128,mgf1,keyedhash,xor,sha256,sha384," +
		"sha512,null,rsassa,rsaes,rsapss,oaep,ecdsa,ecdh,ecdaa,sm2,ecschnorr,ecmqv,kdf1-sp800-56a,kdf2,kdf1-sp800-108,ecc," +
		"ecc-min-size=192,ecc-nist,ecc-bn,ecc-sm2-p256,symcipher,camellia,camellia-min-size=128,cmac,ctr,ofb,cbc,cfb,ecb"
	libtpmsCommands = "0x11f-0x122,0x124-0x12e,0x130-0x140,0x142-0x159,0x15b-0x15e,0x160-0x165,0x167-0x174,0x176-0x178,0x17a-0x193,0x197"
)

// TestProfileNull: a client cannot tell by lists a TPM with the profile null from libtpms 0.9's.
func TestProfileNull(t *testing.T) {
	x := profiled(t, ProfileNull)
	for capability, want := range libtpms09 {
		if _, got := x.capability(capability, 0); !bytes.Equal(got, hx(want)) {
			t.Errorf("capability %d:\n% x, want\n% x", capability, got, hx(want))
		}
	}
	for p, want := range map[uint32]uint32{
		TPM_PT_REVISION: 164, TPM_PT_DAY_OF_YEAR: 75, TPM_PT_YEAR: 2021, TPM_PT_TOTAL_COMMANDS: 110, TPM_PT_LIBRARY_COMMANDS: 110,
		TPM_PT_VENDOR_COMMANDS: 0, TPM_PT_LOADED_CURVES: 8,
	} {
		if got := x.property(p); got != want {
			t.Errorf("property %#x is %d, want %d", p, got, want)
		}
	}
}

// TestProfileDefault: the default is libtpms 0.10's, which has four commands more.
func TestProfileDefault(t *testing.T) {
	x := newTestTPM(t, func(c *Config) { c.Profile = nil })
	if p := x.Profile(); p.Name() != "default-v1" || p.StateFormatLevel() != 7 || p.Algorithms() != libtpmsAlgorithms || p.Commands() != libtpmsCommands+",0x199-0x19c" {
		t.Errorf("%s %d\n%s\n%s", p.Name(), p.StateFormatLevel(), p.Algorithms(), p.Commands())
	}
	for capability, want := range libtpms09 {
		list := hx(want)
		if capability == TPM_CAP_COMMANDS {
			list = join(list, hx("02000199 0200019a 0200019b 0200019c"))
		}
		if _, got := x.capability(capability, 0); !bytes.Equal(got, list) {
			t.Errorf("capability %d:\n% x, want\n% x", capability, got, list)
		}
	}
	for p, want := range map[uint32]uint32{TPM_PT_REVISION: 183, TPM_PT_DAY_OF_YEAR: 25, TPM_PT_YEAR: 2024, TPM_PT_TOTAL_COMMANDS: 114} {
		if got := x.property(p); got != want {
			t.Errorf("property %#x is %d, want %d", p, got, want)
		}
	}
	// No property of ML-KEM and ML-DSA without them: the list ends before it.
	n, list := x.capability(TPM_CAP_TPM_PROPERTIES, TPM_PT_MAX_CAP_BUFFER)
	if n == 0 || bytes.Contains(list, u32(TPM_PT_ML_PARAMETER_SETS)) {
		t.Errorf("%d properties % x", n, list)
	}
}

// TestNotOffered: what is in no list is refused, with the code of what is not implemented.
func TestNotOffered(t *testing.T) {
	p, err := CustomProfile("custom", 0, "rsa,rsa-min-size=2048,hmac,aes,aes-min-size=256,mgf1,keyedhash,xor,sha256,sha384,null,oaep,rsassa,ecdsa,"+
		"ecdh,kdf1-sp800-56a,kdf2,kdf1-sp800-108,ecc,ecc-min-size=256,ecc-nist,ecc-sm2-p256,symcipher,cfb", "")
	if err != nil {
		t.Fatal(err)
	}
	x := newTestTPM(t, func(c *Config) { c.Profile = p })
	testParms := func(name string, want RC, parms ...[]byte) {
		t.Helper()
		if r := x.cmd(TPM_CC_TestParms, parms...); r.rc != want {
			t.Errorf("TestParms %s: %v, want %v", name, r.rc, want)
		}
	}
	rsa := func(sym, scheme []byte, bits uint16) []byte {
		return join(u16(0x0001), sym, scheme, u16(bits), u32(0))
	}
	null := u16(0x0010)
	testParms("RSA 2048", TPM_RC_SUCCESS, rsa(null, null, 2048))
	testParms("RSA 1024", TPM_RC_VALUE.Param(1), rsa(null, null, 1024))
	testParms("RSAPSS", TPM_RC_VALUE.Param(1), rsa(null, join(u16(0x16), u16(0x0B)), 2048))
	testParms("RSASSA with SHA-1", TPM_RC_HASH.Param(1), rsa(null, join(u16(0x14), u16(4)), 2048))
	testParms("AES 128", TPM_RC_VALUE.Param(1), rsa(join(u16(6), u16(128), u16(0x43)), null, 2048))
	testParms("AES 256 CFB", TPM_RC_SUCCESS, rsa(join(u16(6), u16(256), u16(0x43)), null, 2048))
	testParms("AES 256 CTR", TPM_RC_MODE.Param(1), rsa(join(u16(6), u16(256), u16(0x40)), null, 2048))
	testParms("Camellia", TPM_RC_SYMMETRIC.Param(1), rsa(join(u16(0x26), u16(256), u16(0x43)), null, 2048))
	testParms("P-224", TPM_RC_CURVE.Param(1), u16(0x23), null, null, u16(2), null)
	testParms("BN-P256", TPM_RC_CURVE.Param(1), u16(0x23), null, null, u16(0x10), null)
	testParms("SM2-P256", TPM_RC_SUCCESS, u16(0x23), null, null, u16(0x20), null)
	testParms("ECDAA", TPM_RC_SCHEME.Param(1), u16(0x23), null, u16(0x1A), u16(0x0B), u16(0), u16(3), null)
	testParms("HKDF", TPM_RC_KDF.Param(1), u16(0x23), null, null, u16(3), u16(0x1F), u16(0x0B))
	testParms("ML-KEM", TPM_RC_TYPE.Param(1), u16(0xA0), null, u16(2))
	x.want(x.cmd(TPM_CC_Hash, b2([]byte("x")), u16(4), u32(uint32(TPM_RH_NULL))), TPM_RC_HASH.Param(2))
	x.want(x.cmd(TPM_CC_HashSequenceStart, b2(nil), u16(0x27)), TPM_RC_HASH.Param(2))
	x.want(x.cmd(TPM_CC_PCR_Read, u32(1), u16(4), hx("03 000001")), TPM_RC_HASH.Param(1))
	x.want(x.cmd(TPM_CC_IncrementalSelfTest, u32(1), u16(4)), TPM_RC_VALUE.Param(1))
	x.want(x.cmdS(TPM_CC_CreatePrimary, handles(TPM_RH_OWNER), pw(""), createParams("", nil, mlkemTemplate(set768, attrsStorage))), TPM_RC_TYPE.Param(2))
	x.want(x.cmd(TPM_CC_Encapsulate, u32(0x80000000)), TPM_RC_COMMAND_CODE)
	x.want(x.cmd(TPM_CC_ACT_SetTimeout, u32(uint32(TPM_RH_ACT_0))), TPM_RC_COMMAND_CODE)
	x.want(x.cmd(TPM_CC_ReadOnlyControl, u32(uint32(TPM_RH_PLATFORM))), TPM_RC_COMMAND_CODE)
	x.want(x.cmd(TPM_CC_Vendor_TCG_Test, b2(nil)), TPM_RC_COMMAND_CODE)
	if n, _ := x.capability(TPM_CAP_ACT, uint32(TPM_RH_ACT_0)); n != 0 {
		t.Errorf("%d timers without their command", n)
	}
	// An event has the digests of the profile's hash algorithms.
	r := x.ok(x.cmdS(TPM_CC_PCR_Event, handles(16), pw(""), b2([]byte("event")))).reader()
	if n := r.u32(); n != 2 {
		t.Errorf("%d digests", n)
	}
	if left := x.untested(); slices.Contains(left, TPM_ALG_SHA1) || slices.Contains(left, TPM_ALG_MLKEM) {
		t.Errorf("untested: %v", left)
	}
}

// TestPCRBanksFit: firmware takes five banks of TPM_CAP_PCRS and one of each event's digests.
func TestPCRBanksFit(t *testing.T) {
	banks := func(x *testTPM) (list []string) {
		n, b := x.capability(TPM_CAP_PCRS, 0)
		r := reader{b: b}
		for range n {
			list = append(list, strings.Join([]string{algVerb(r.alg()), string("-+"[min(1, r.bytes(4)[3])])}, ""))
		}
		return list
	}
	allocate := func(x *testTPM, sel ...string) {
		t.Helper()
		x.ok(x.cmdS(TPM_CC_PCR_Allocate, handles(TPM_RH_PLATFORM), pw(""), u32(uint32(len(sel))), hx(strings.Join(sel, ""))))
		x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_CLEAR)))
		x.PowerOn()
		x.ok(x.cmd(TPM_CC_Startup, u16(TPM_SU_CLEAR)))
	}
	const no, yes = "03000000", "03ffffff"
	for _, name := range []string{ProfileDefault, ProfileNull, ProfileOwn} {
		x := profiled(t, name)
		if got := banks(x); !slices.Equal(got, []string{"sha1+", "sha256+", "sha384+", "sha512+"}) {
			t.Errorf("%s: %v", name, got)
		}
		// What is not allocated can still be found, and put back.
		allocate(x, "0004"+no, "000d"+no)
		if got := banks(x); !slices.Equal(got, []string{"sha1-", "sha256+", "sha384+", "sha512-"}) {
			t.Errorf("%s without two: %v", name, got)
		}
	}
	x := profiled(t, ProfileOwn)
	allocate(x, "0004"+no, "0027"+yes, "0028"+yes)
	if got := banks(x); !slices.Equal(got, []string{"sha256+", "sha384+", "sha512+", "sha3-256+", "sha3-384+"}) {
		t.Errorf("five banks: %v", got)
	}
	allocate(x, "0004"+yes, "0029"+yes)
	if got := banks(x); len(got) != numHashes {
		t.Errorf("all banks are allocated, listed are %v", got)
	}
	x = profiled(t, ProfileDefault)
	x.want(x.cmdS(TPM_CC_PCR_Allocate, handles(TPM_RH_PLATFORM), pw(""), u32(1), hx("0027"+yes)), TPM_RC_HASH.Param(1))
}

// TestListsFit: no list of any profile is longer than the arrays of clients: those of tpm2-tss, which
// follow from MAX_CAP_BUFFER and the size of an element there, and EDK2's.
func TestListsFit(t *testing.T) {
	for _, name := range ProfileNames() {
		x := profiled(t, name)
		for _, l := range []struct {
			capability, property uint32
			limit                uint32
		}{
			{TPM_CAP_ALGS, 0, 127}, {TPM_CAP_COMMANDS, 0, 254}, {TPM_CAP_PP_COMMANDS, 0, 254}, {TPM_CAP_AUDIT_COMMANDS, 0, 254},
			{TPM_CAP_HANDLES, 0, 254}, {TPM_CAP_HANDLES, 0x40000000, 254}, {TPM_CAP_PCRS, 0, 5}, {TPM_CAP_TPM_PROPERTIES, 0x100, 127},
			{TPM_CAP_TPM_PROPERTIES, 0x200, 127}, {TPM_CAP_PCR_PROPERTIES, 0, 127}, {TPM_CAP_ECC_CURVES, 0, 508},
			{TPM_CAP_AUTH_POLICIES, 0x40000000, 14}, {TPM_CAP_ACT, uint32(TPM_RH_ACT_0), 84},
		} {
			r := x.ok(x.cmd(TPM_CC_GetCapability, u32(l.capability), u32(l.property), u32(1000))).reader()
			r.bytes(5)
			if n := r.u32(); n > l.limit {
				t.Errorf("%s: capability %d has %d entries, clients take %d", name, l.capability, n, l.limit)
			}
		}
	}
}

// TestProfileStays: a TPM keeps its profile over restarts, whatever the program is told then.
func TestProfileStays(t *testing.T) {
	custom, err := CustomProfile("custom:mine", 4, "", "")
	if err != nil {
		t.Fatal(err)
	}
	own, _ := ProfileNamed(ProfileOwn)
	null, _ := ProfileNamed(ProfileNull)
	for _, p := range []*Profile{DefaultProfile(), DefaultProfile().WithoutRSA1024(), null, own, custom} {
		x := newTestTPM(t, func(c *Config) { c.Profile = p })
		if !bytes.Equal(x.blob[6:8], u16(4)) {
			t.Errorf("%s: version %x", p.Name(), x.blob[6:8])
		}
		cfg := x.testConfig("again")
		cfg.Profile = formerProfile()
		n, err := Restore(cfg, x.blob)
		if err != nil {
			t.Fatalf("%s: %v", p.Name(), err)
		}
		if q := n.Profile(); *q != *p {
			t.Errorf("%+v became %+v", p, q)
		}
		cfg.RSA1024 = true
		if n, err = Restore(cfg, x.blob); err != nil || !n.Profile().rsaBits(1024) || n.profile.minRSA != p.minRSA {
			t.Errorf("%s: RSA-1024 by the flag: %v", p.Name(), err)
		}
	}
}

// TestProfileFormer: a state without a profile has what it had, and is saved as it was.
func TestProfileFormer(t *testing.T) {
	b, err := os.ReadFile("testdata/state-v1-running.bin")
	if err != nil {
		t.Fatal(err)
	}
	x := &testTPM{t: t, now: 1, blob: b}
	x.reboot()
	x.ok(x.cmd(TPM_CC_Startup, u16(TPM_SU_CLEAR)))
	if p := x.Profile(); p.Name() != "xenvtpm-v0" || p.rsaBits(1024) {
		t.Errorf("%s, 1024: %v", p.Name(), p.rsaBits(1024))
	}
	if !bytes.Equal(x.blob[6:8], u16(1)) {
		t.Errorf("version %x", x.blob[6:8])
	}
	n, list := x.capability(TPM_CAP_ALGS, 0)
	for _, want := range []string{"0008 0000000c", "001b 00000701", "0025 0000000a", "0027 00000004", "00a2 00000109"} {
		if n != 39 || !bytes.Contains(list, hx(want)) {
			t.Errorf("%d algorithms, without %s", n, want)
		}
	}
	if n, _ := x.capability(TPM_CAP_ECC_CURVES, 0); n != 6 {
		t.Errorf("%d curves", n)
	}
	if n, _ := x.capability(TPM_CAP_COMMANDS, 0); n != 129 {
		t.Errorf("%d commands", n)
	}
	if x.property(TPM_PT_REVISION) != 159 || x.property(TPM_PT_YEAR) != 2019 {
		t.Error("revision")
	}
	if _, list := x.capability(TPM_CAP_PCR_PROPERTIES, TPM_PT_PCR_RESET_L4); !bytes.Equal(list[:8], hx("0000000a 030000ff")) {
		t.Errorf("resets at locality 4: % x", list[:8])
	}
}

// TestGoldenProfile: version 4 of the saved form, which has the profile.
func TestGoldenProfile(t *testing.T) {
	x := newRawTPM(t, func(c *Config) { c.Profile = DefaultProfile() })
	const file = "testdata/state-v4-new.bin"
	if *update {
		if err := os.WriteFile(file, x.blob, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(golden, x.blob) {
		t.Errorf("this program writes %d octets that differ from the golden %d: a changed layout needs a new version", len(x.blob), len(golden))
	}
	x.blob = golden
	x.reboot()
	if p := x.Profile(); *p != *DefaultProfile() {
		t.Errorf("%+v", p)
	}
	// A profile that cannot be is damage.
	for _, bad := range []string{"sha257", "sha256", "rsa-min-size=1025"} {
		old := map[string]string{"sha257": "sha256", "sha256": "sha384", "rsa-min-size=1025": "rsa-min-size=1024"}[bad]
		b := bytes.Replace(golden, []byte(old), []byte(bad), 1)
		if _, err := Restore(x.testConfig("bad"), b); !errors.Is(err, ErrState) {
			t.Errorf("%s for %s: %v", bad, old, err)
		}
	}
}

// TestCustomProfile: what custom takes, and by what words it refuses the rest.
func TestCustomProfile(t *testing.T) {
	all := DefaultProfile().Algorithms()
	without := func(verb string) string { return strings.Replace(all, ","+verb+",", ",", 1) }
	for _, tt := range []struct {
		name                 string
		level                int
		algorithms, commands string
		err                  string // "": taken
	}{
		{"custom", 0, "", "", ""},
		{"custom:x", 2, "", "", ""},
		{"custom", 7, all + ",sha3-256", "", "needs StateFormatLevel 100"},
		{"custom", 0, all + ",sha3-256,mlkem", "", ""},
		{"custom", 2, all, libtpmsCommands, ""},
		{"custom", 2, all, libtpmsCommands + ",0x199", "needs StateFormatLevel 3"},
		{"custom", 0, all, libtpmsCommands + ",0x198-0x1aa", "0x1a2 is not implemented"},
		{"custom", 0, all, libtpmsCommands + ",0x1a7-0x1a8", ""},
		{"custom", 0, all, libtpmsCommands + ",0x12f", "0x12f is not implemented"},
		{"custom", 0, all, libtpmsCommands + ",0x20000000", ""},
		{"custom", 0, all, "0x11f-0x122", "cannot be left out"},
		{"custom", 0, all, "0x17a-0x11f", "not a command code"},
		{"custom", 0, all, "0x0-0xffffffff", "not a command code"},
		{"custom", 0, all, ",", "not a command code"},
		{"custom", 0, without("sha1"), "", ""},
		{"custom", 0, without("sha256"), "", "sha256 cannot be left out"},
		{"custom", 0, without("ecc-nist"), "", "cannot be left out"},
		{"custom", 0, without("ecc-nist") + ",ecc-nist-p256,ecc-nist-p384", "", ""},
		{"custom", 0, all + ",", "", `unknown algorithm ""`},
		{"custom", 0, all + ",sha2", "", `unknown algorithm "sha2"`},
		{"custom", 0, all + ",rsa-min-size=1023", "", "not one of"},
		{"custom", 0, all + ",md5-min-size=128", "", "not one of"},
		{"custom", 0, all + ",ecc-min-size=384", "", "not one of"},
		{"custom", -1, "", "", "is not from"},
		{"default-v1", 0, "", "", "only the profile custom"},
		{"custom:" + strings.Repeat("x", 40), 0, "", "", "only the profile custom"},
	} {
		p, err := CustomProfile(tt.name, tt.level, tt.algorithms, tt.commands)
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%+v: %v", tt, err)
		}
		if err != nil {
			continue
		}
		if q, err := parseProfile(p.name, p.level, p.algorithmList, p.commandList); err != nil || *q != *p {
			t.Errorf("%+v: read again it is %+v, %v", p, q, err)
		}
	}
	if _, err := ProfileNamed("default-v2"); err == nil {
		t.Error("there is a profile default-v2")
	}
	old, _ := CustomProfile("custom", 3, "", "")
	if old.symBits(TPM_ALG_AES, 192) || !DefaultProfile().symBits(TPM_ALG_AES, 192) {
		t.Error("192 bits come with StateFormatLevel 4")
	}
}

// FuzzProfile: what is taken is written as it is read.
func FuzzProfile(f *testing.F) {
	f.Add(0, DefaultProfile().Algorithms(), DefaultProfile().Commands())
	f.Add(100, formerProfile().algorithmText(false), formerProfile().Commands())
	f.Add(3, "rsa,null,ecc-nist,rsa-min-size=2048", "0x11f-0x199,0x20000000")
	f.Fuzz(func(t *testing.T, level int, algorithms, commands string) {
		p, err := CustomProfile("custom", level, algorithms, commands)
		if err != nil {
			return
		}
		q, err := parseProfile(p.name, p.level, p.algorithmList, p.commandList)
		if err != nil || *q != *p || len(p.algorithmList) > maxProfileList || len(p.commandList) > maxProfileList {
			t.Errorf("%+v is read as %+v: %v", p, q, err)
		}
	})
}
