package service

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"xenvtpm/boot/startinfo"
	"xenvtpm/drivers/tpmwire"
	"xenvtpm/vtpm-stub/tpm2"
	"xenvtpm/vtpm-stub/tpmcrypto"
)

// fakeEngine is a TPM 2.0 of which only the edges matter.
type fakeEngine struct {
	failed   bool
	noSHA1   bool
	locality uint8
	executed [][]byte
	rsp      []byte
	pcr      [24][20]byte
}

func (e *fakeEngine) Execute(l uint8, cmd, buf []byte) []byte {
	e.locality = l
	e.executed = append(e.executed, bytes.Clone(cmd))
	if e.rsp != nil {
		return e.rsp
	}
	return tpmwire.Header{Tag: tpmwire.TagNoSessions, Size: tpmwire.HeaderSize}.Append(buf[:0])
}

func (e *fakeEngine) ReadPCR(bank tpmcrypto.Alg, n int) []byte {
	if e.noSHA1 || bank != tpmcrypto.AlgSHA1 {
		return nil
	}
	return e.pcr[n][:]
}

func (e *fakeEngine) ExtendPCRs(l uint8, n int, digest []byte) error {
	if e.failed || n >= 17 && n <= 22 && l == 0 {
		return errors.New("refused")
	}
	var h tpmcrypto.Hasher
	h.Extend(tpmcrypto.AlgSHA1, e.pcr[n][:], digest)
	return nil
}

func (e *fakeEngine) Random(p []byte) error {
	for i := range p {
		p[i] = byte(i)
	}
	return nil
}

func (e *fakeEngine) Failed() bool { return e.failed }

func frame(tag tpmwire.Tag, code uint32, body ...byte) []byte {
	h := tpmwire.Header{Tag: tag, Size: uint32(tpmwire.HeaderSize + len(body)), Code: code}
	return append(h.Append(nil), body...)
}

func be32(v ...uint32) (b []byte) {
	for _, x := range v {
		b = binary.BigEndian.AppendUint32(b, x)
	}
	return b
}

// run sends a packet at locality 0 and splits the answer.
func run(t testing.TB, s *Service, cmd []byte) (tpmwire.Header, []byte) {
	t.Helper()
	rsp := s.Handle(&Request{From: "1/0", Command: cmd})
	h, err := tpmwire.ParsePacket(rsp)
	if err != nil || len(rsp) > MaxPacket {
		t.Fatalf("answer %x: %v", rsp, err)
	}
	return h, rsp[tpmwire.HeaderSize:]
}

func TestDispatch(t *testing.T) {
	long := frame(tpmwire.TagNoSessions, 1, make([]byte, MaxPacket)...)
	bad := frame(tpmwire.TagNoSessions, 1, 0)
	bad[5]++
	bad12 := frame(tpmwire.TagRquCommand, 70, 0)
	bad12[5]--
	for _, c := range []struct {
		name string
		cmd  []byte
		tag  tpmwire.Tag
		code uint32
	}{
		{"2.0", frame(tpmwire.TagNoSessions, 0x144), tpmwire.TagNoSessions, 0},
		{"2.0 with sessions", frame(tpmwire.TagSessions, 0x144), tpmwire.TagNoSessions, 0},
		{"2.0, size field", bad, tpmwire.TagNoSessions, tpmwire.RCCommandSize},
		{"2.0, too long", long, tpmwire.TagNoSessions, tpmwire.RCCommandSize},
		{"1.2, size field", bad12, tpmwire.TagRspCommand, tpmwire.Result12BadParamSize},
		{"empty", nil, tpmwire.TagRspCommand, tpmwire.RCBadTag},
		{"short", []byte{0x80, 1, 0}, tpmwire.TagRspCommand, tpmwire.RCBadTag},
		{"response as request", frame(tpmwire.TagRspCommand, 0), tpmwire.TagRspCommand, tpmwire.RCBadTag},
		{"unknown tag", frame(0x8003, 0), tpmwire.TagRspCommand, tpmwire.RCBadTag},
		{"manager", frame(tpmwire.TagVTPMRequest, 2), tpmwire.TagVTPMRequest + 3, tpmwire.Result12BadTag},
		{"administration", frame(tpmwire.TagVTPMManage, 2), tpmwire.TagVTPMManage + 3, tpmwire.Result12BadTag},
		{"EDK2's probe", frame(tpmwire.TagRquCommand, 0xF1), tpmwire.TagNoSessions, tpmwire.RCBadTag},
		{"1.2 of Linux that only a 1.2 can do", frame(tpmwire.TagRquCommand, 124), tpmwire.TagRspCommand, tpmwire.Result12BadOrdinal},
		{"1.2 unknown", frame(tpmwire.TagRquCommand, 123), tpmwire.TagNoSessions, tpmwire.RCBadTag},
		{"1.2 with auth", frame(tpmwire.TagRquAuth1Command, 70, 0, 0, 0, 1), tpmwire.TagNoSessions, tpmwire.RCBadTag},
		{"1.2 with two", frame(tpmwire.TagRquAuth2Command, 21), tpmwire.TagNoSessions, tpmwire.RCBadTag},
	} {
		e := &fakeEngine{}
		h, _ := run(t, New(e, LocalityPolicy{}, nil), c.cmd)
		if h.Tag != c.tag || h.Code != c.code {
			t.Errorf("%s: %+v", c.name, h)
		}
		if want := c.code == 0; want != (len(e.executed) == 1) {
			t.Errorf("%s: the engine saw %x", c.name, e.executed)
		}
	}
}

// An engine that answers nonsense is a bug of ours, and still no guest gets it.
func TestEngineNonsense(t *testing.T) {
	for _, rsp := range [][]byte{{}, {1}, make([]byte, MaxPacket+1)} {
		h, _ := run(t, New(&fakeEngine{rsp: rsp}, LocalityPolicy{}, nil), frame(tpmwire.TagNoSessions, 1))
		if h.Code != tpmwire.RCFailure {
			t.Errorf("%d bytes: %+v", len(rsp), h)
		}
	}
}

func TestLegacyCommands(t *testing.T) {
	e := &fakeEngine{}
	e.pcr[3][0] = 0xAB
	s := New(e, LocalityPolicy{}, nil)
	digest := bytes.Repeat([]byte{5}, 20)
	for _, c := range []struct {
		name string
		ord  uint32
		body []byte
		code uint32
		out  []byte // nil: not compared
	}{
		{"Startup", ordStartup, []byte{0, 1}, tpmwire.Result12InvalidPostIn, []byte{}},
		{"Startup, length", ordStartup, []byte{1}, tpmwire.Result12BadParamSize, []byte{}},
		{"SelfTestFull", ordSelfTestFull, nil, 0, []byte{}},
		{"ContinueSelfTest", ordContinueSelfTest, nil, 0, []byte{}},
		{"ContinueSelfTest, length", ordContinueSelfTest, []byte{0}, tpmwire.Result12BadParamSize, []byte{}},
		{"GetTestResult", ordGetTestResult, nil, 0, be32(0)},
		{"PCRRead", ordPcrRead, be32(3), 0, append([]byte{0xAB}, make([]byte, 19)...)},
		{"PCRRead 23", ordPcrRead, be32(23), 0, make([]byte, 20)},
		{"PCRRead 24", ordPcrRead, be32(24), tpmwire.Result12BadIndex, []byte{}},
		{"PCRRead -1", ordPcrRead, be32(0xFFFFFFFF), tpmwire.Result12BadIndex, []byte{}},
		{"PCRRead, length", ordPcrRead, []byte{0, 0, 0}, tpmwire.Result12BadParamSize, []byte{}},
		{"Extend 24", ordExtend, append(be32(24), digest...), tpmwire.Result12BadIndex, []byte{}},
		{"Extend 17 at locality 0", ordExtend, append(be32(17), digest...), result12BadLocality, []byte{}},
		{"Extend, length", ordExtend, append(be32(1), digest[1:]...), tpmwire.Result12BadParamSize, []byte{}},
		{"Extend", ordExtend, append(be32(1), digest...), 0, tpmcrypto.Sum(tpmcrypto.AlgSHA1, make([]byte, 20), digest)},
		{"GetRandom 4", ordGetRandom, be32(4), 0, append(be32(4), 0, 1, 2, 3)},
		{"GetRandom 0", ordGetRandom, be32(0), 0, be32(0)},
		{"GetRandom, all", ordGetRandom, be32(0xFFFFFFFF), 0, nil},
		{"GetRandom, length", ordGetRandom, nil, tpmwire.Result12BadParamSize, []byte{}},
	} {
		h, out := run(t, s, frame(tpmwire.TagRquCommand, c.ord, c.body...))
		if h.Tag != tpmwire.TagRspCommand || h.Code != c.code || c.out != nil && !bytes.Equal(out, c.out) {
			t.Errorf("%s: %+v %x", c.name, h, out)
		}
	}
	e.noSHA1 = true
	if h, _ := run(t, s, frame(tpmwire.TagRquCommand, ordPcrRead, be32(0)...)); h.Code != tpmwire.Result12Fail {
		t.Errorf("PCRRead without a SHA-1 bank: %+v", h)
	}
	if h, out := run(t, s, frame(tpmwire.TagRquCommand, ordExtend, append(be32(1), digest...)...)); h.Code != 0 || !bytes.Equal(out, make([]byte, 20)) {
		t.Errorf("Extend without a SHA-1 bank: %+v %x", h, out)
	}
}

// The structures that Linux's sysfs reads have exactly these sizes
// (drivers/char/tpm/tpm.h: permanent_flags_t 22, stclear_flags_t 7,
// tpm1_version 4, cap_version_1_2 at least 4 behind the tag).
func TestCapabilities12(t *testing.T) {
	s := New(&fakeEngine{}, LocalityPolicy{}, nil)
	for _, c := range []struct {
		name string
		area uint32
		sub  []byte
		want string // hex; "-": refused
	}{
		{"timeouts", 5, be32(0x115), "001e8480001e8480001e8480001e8480"},
		{"durations", 5, be32(0x120), "002dc6c0002dc6c023c34600"},
		{"PCR count", 5, be32(0x101), "00000018"},
		{"manufacturer", 5, be32(0x103), "58454e00"},
		{"owner", 5, be32(0x111), "00"},
		{"input buffer", 5, be32(0x124), "00000ff8"},
		{"unknown property", 5, be32(0x199), "-"},
		{"permanent flags", 4, be32(0x108), "001f00000000010001" + strings.Repeat("00", 13)},
		{"volatile flags", 4, be32(0x109), "00200000000100"},
		{"unknown flags", 4, be32(0x10A), "-"},
		{"version 1.1", 6, nil, "01010000"},
		{"version 1.2", 0x1A, nil, "003001020100000203" + "58454e00" + "0000"},
		{"ordinal that is served", 1, be32(ordExtend), "01"},
		{"ordinal that is not", 1, be32(ordExtend + 2), "00"},
		{"no sub-capability", 5, nil, "-"},
		{"long sub-capability", 5, append(be32(0x115), 0), "-"},
		{"unknown area", 99, be32(1), "-"},
	} {
		body := append(be32(c.area, uint32(len(c.sub))), c.sub...)
		h, out := run(t, s, frame(tpmwire.TagRquCommand, ordGetCapability, body...))
		if c.want == "-" {
			if h.Code != result12BadMode || len(out) != 0 {
				t.Errorf("%s: %+v", c.name, h)
			}
			continue
		}
		want := unhex(t, c.want)
		if h.Code != 0 || !bytes.Equal(out, append(be32(uint32(len(want))), want...)) {
			t.Errorf("%s: %+v %x", c.name, h, out)
		}
	}
	for _, body := range [][]byte{nil, be32(5), be32(5, 5, 0x115), be32(5, 0xFFFFFFFF, 0x115), be32(5, 3, 0x115)} {
		if h, _ := run(t, s, frame(tpmwire.TagRquCommand, ordGetCapability, body...)); h.Code != tpmwire.Result12BadParamSize {
			t.Errorf("body %x: %+v", body, h)
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var b []byte
	if _, err := fmt.Sscanf(s, "%x", &b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFailureMode(t *testing.T) {
	s := New(nil, LocalityPolicy{}, nil)
	if !s.Failed() {
		t.Fatal("not failed")
	}
	for _, code := range []uint32{0x144, 0x17B, 0x131, 0x17E, 0, 0xFFFFFFFF} {
		if h, out := run(t, s, frame(tpmwire.TagNoSessions, code, 0, 0)); h.Tag != tpmwire.TagNoSessions || h.Code != tpmwire.RCFailure || len(out) != 0 {
			t.Errorf("%#x: %+v", code, h)
		}
	}
	if h, out := run(t, s, frame(tpmwire.TagNoSessions, ccGetTestResult)); h.Code != 0 || !bytes.Equal(out, unhex(t, "000000000101")) {
		t.Errorf("GetTestResult: %+v %x", h, out)
	}
	if h, _ := run(t, s, frame(tpmwire.TagSessions, ccGetTestResult)); h.Code != tpmwire.RCFailure {
		t.Errorf("GetTestResult with sessions: %+v", h)
	}
	for _, ord := range []uint32{ordGetCapability, ordGetRandom, ordPcrRead, ordStartup} {
		if h, _ := run(t, s, frame(tpmwire.TagRquCommand, ord)); h.Tag != tpmwire.TagRspCommand || h.Code != tpmwire.Result12Fail {
			t.Errorf("1.2 ordinal %#x: %+v", ord, h)
		}
	}
	if h, _ := run(t, s, frame(tpmwire.TagRquCommand, 0xF1)); h.Tag != tpmwire.TagNoSessions {
		t.Errorf("EDK2's probe: %+v", h)
	}
	for _, c := range []struct {
		property, count uint32
		n               int
		first           uint32
		more            byte
	}{
		{0x100, 100, 8, 0x105, 0}, {0x105, 1, 1, 0x105, 1}, {0x10C, 1, 1, 0x10C, 0},
		{0x10D, 5, 0, 0, 0}, {0, 0, 0, 0, 1}, {0x106, 3, 3, 0x106, 1},
	} {
		h, out := run(t, s, frame(tpmwire.TagNoSessions, ccGetCapability, be32(6, c.property, c.count)...))
		if h.Code != 0 || out[0] != c.more || binary.BigEndian.Uint32(out[5:]) != uint32(c.n) || len(out) != 9+8*c.n {
			t.Errorf("properties %#x/%d: %+v %x", c.property, c.count, h, out)
			continue
		}
		if c.n > 0 && binary.BigEndian.Uint32(out[9:]) != c.first {
			t.Errorf("properties %#x/%d: first is %x", c.property, c.count, out[9:13])
		}
	}
	if h, _ := run(t, s, frame(tpmwire.TagNoSessions, ccGetCapability, be32(5, 0, 1)...)); h.Code != tpmwire.RCFailure {
		t.Errorf("PCR capability: %+v", h)
	}
}

// The engine's own answers must agree with those of a TPM that has no engine.
func TestFailurePropertiesAgree(t *testing.T) {
	tpm, err := tpm2.New(tpm2.Config{Clock: func() int64 { return 0 }, Entropy: NewEntropy(nil, nil)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := startup(tpm, false, t.Logf); err != nil {
		t.Fatal(err)
	}
	cmd := frame(tpmwire.TagNoSessions, ccGetCapability, be32(6, 0x105, 8)...)
	healthy := tpm.Execute(0, cmd, nil)
	h, failed := run(t, New(nil, LocalityPolicy{}, nil), cmd)
	if h.Code != 0 || !bytes.Equal(healthy[tpmwire.HeaderSize+1:], failed[1:]) {
		t.Errorf("engine:  %x\nfailure: %x", healthy[tpmwire.HeaderSize:], failed)
	}
}

func TestLocalityPolicy(t *testing.T) {
	const uuid = "01020304-0506-0708-090a-0b0c0d0e0f10"
	named := [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	other := [16]byte{9}
	for _, c := range []struct {
		options      []string
		named, other string // allowed localities
	}{
		{nil, "01234", "01234"},
		{[]string{"0"}, "0", "0"},
		{[]string{"0-2,4"}, "0124", "0124"},
		{[]string{uuid + "=3"}, "3", ""},
		{[]string{uuid + "=0-4", "0"}, "01234", "0"},
		{[]string{"0", "1", uuid + "=2", uuid + "=3"}, "23", "01"},
	} {
		p, err := ParseLocality(c.options)
		if err != nil {
			t.Fatal(c.options, err)
		}
		for uuid, want := range map[[16]byte]string{named: c.named, other: c.other} {
			got := ""
			for l := range 256 {
				if p.Allows(uuid, uint8(l)) {
					got += fmt.Sprint(l)
				}
			}
			if got != want {
				t.Errorf("%q: %x may use %q, not %q", c.options, uuid[:2], got, want)
			}
		}
	}
	for _, bad := range []string{"", "5", "0-5", "2-1", "x", "-", "0,", uuid, uuid + "=", "label=0", "=0"} {
		if _, err := ParseLocality([]string{bad}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	for _, l := range []uint8{5, 31, 32, 255} {
		e := &fakeEngine{}
		s := New(e, LocalityPolicy{}, nil)
		rsp := s.Handle(&Request{Locality: l, Command: frame(tpmwire.TagNoSessions, 0x144)})
		if h, _ := tpmwire.ParseHeader(rsp); h.Code != tpmwire.RCLocality || len(e.executed) != 0 {
			t.Errorf("locality %d: %+v", l, h)
		}
	}
}

func TestParseOptions(t *testing.T) {
	parse := func(s string) (Options, error) {
		list, err := startinfo.ParseCmdline(s)
		if err != nil {
			t.Fatal(err)
		}
		return ParseOptions(list)
	}
	for s, want := range map[string]uint32{
		"":                         0,
		"hwinitpcr=none":           0,
		"hwinitpcr=all":            0xFFFFFF,
		"hwinitpcr=7":              1 << 7,
		"hwinitpcr=12-16":          0x1F000,
		"hwinitpcr=0,2-3,23":       1 | 0xC | 1<<23,
		"hwinitpcrs=1 hwinitpcr=2": 4,
	} {
		if o, err := parse(s); err != nil || o.HWPCRs != want {
			t.Errorf("%q: %#x, %v", s, o.HWPCRs, err)
		}
	}
	o, err := parse("loglevel=debug save rsa1024=1 maintcmds=0 locality=0")
	if err != nil || !o.Debug || o.Quiet || !o.Resume || !o.RSA1024 || o.Locality.Allows([16]byte{}, 1) {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := parse("save clear loglevel=debug loglevel=error"); err != nil || o.Resume || o.Debug || !o.Quiet {
		t.Errorf("%+v, %v", o, err)
	}
	for _, s := range []string{
		"hwinitpcr=24", "hwinitpcr=", "hwinitpcr=3-1", "hwinitpcr=a", "hwinitpcr", "hwinitpcr=1-", "hwinitpcr=-1",
		"loglevel=loud", "loglevel", "deactivated", "localty=0", "locality", "locality=9", "rsa1024=maybe",
		"maintcmds=1", "clear=1", "save=0", "x", "hwinitpcr=4294967296",
	} {
		if _, err := parse(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

// A guest that is refused again and again fills neither the log nor memory.
func TestRefusalsAreLoggedOnce(t *testing.T) {
	n := 0
	s := New(&fakeEngine{}, LocalityPolicy{}, func(string, ...any) { n++ })
	for i := range 3000 {
		s.Handle(&Request{From: fmt.Sprint(i % 300), Locality: uint8(i), Command: frame(tpmwire.TagNoSessions, 1)})
		s.Handle(&Request{From: "1/0", Command: frame(tpmwire.TagVTPMManage, 1)})
	}
	if n != maxRefusals || len(s.refused) != maxRefusals {
		t.Errorf("%d lines, %d entries", n, len(s.refused))
	}
}

func TestCancelled(t *testing.T) {
	s := New(&fakeEngine{}, LocalityPolicy{}, nil)
	if s.Cancelled() {
		t.Error("cancelled without a request")
	}
	s.now = &Request{Cancelled: func() bool { return true }}
	if !s.Cancelled() {
		t.Error("the request's wish is not seen")
	}
	run(t, s, frame(tpmwire.TagNoSessions, 1))
	if s.Cancelled() {
		t.Error("cancelled after the request")
	}
}

func TestEntropy(t *testing.T) {
	e := NewEntropy(nil, t.Logf)
	a, b := make([]byte, 100), make([]byte, 100)
	for _, p := range [][]byte{a, b} {
		if n, err := e.Read(p); n != 100 || err != nil {
			t.Fatal(n, err)
		}
	}
	if bytes.Equal(a, b) || bytes.Equal(a[:50], a[50:]) {
		t.Fatal("repeats itself")
	}
	if n, err := e.Read(nil); n != 0 || err != nil {
		t.Fatal(n, err)
	}
}

// A live engine behind the fuzzed packets.
func FuzzHandle(f *testing.F) {
	tpm, err := tpm2.New(tpm2.Config{Clock: func() int64 { return 0 }, Entropy: NewEntropy(nil, nil), MaxCommand: MaxPacket})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := startup(tpm, false, f.Logf); err != nil {
		f.Fatal(err)
	}
	for _, ord := range []uint32{ordExtend, ordPcrRead, ordGetRandom, ordStartup, ordSelfTestFull, ordGetTestResult} {
		f.Add(uint8(0), frame(tpmwire.TagRquCommand, ord, append(be32(1), make([]byte, 20)...)...))
	}
	f.Add(uint8(0), frame(tpmwire.TagRquCommand, ordGetCapability, be32(5, 4, 0x115)...))
	f.Add(uint8(4), frame(tpmwire.TagNoSessions, ccGetCapability, be32(6, 0x105, 8)...))
	f.Add(uint8(9), frame(tpmwire.TagVTPMManage, 1))
	f.Add(uint8(0), []byte{})
	services := []*Service{New(tpm, LocalityPolicy{}, nil), New(nil, LocalityPolicy{}, nil)}
	f.Fuzz(func(t *testing.T, locality uint8, cmd []byte) {
		for _, s := range services {
			before := bytes.Clone(cmd)
			rsp := s.Handle(&Request{From: "f", Locality: locality, Command: cmd})
			if _, err := tpmwire.ParsePacket(rsp); err != nil || len(rsp) > MaxPacket {
				t.Fatalf("answer %x: %v", rsp, err)
			}
			if !bytes.Equal(before, cmd) {
				t.Fatal("the command was changed")
			}
		}
	})
}
