package tpm2

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// testTPM is a TPM with everything around it under the test's control. It is a
// transport of go-tpm (Send).
type testTPM struct {
	*TPM
	t        testing.TB
	now      int64  // milliseconds
	loc      uint8  // locality of Send
	blob     []byte // last persisted state
	saves    int    // how often it was persisted
	saveErr  error  // what Persist answers
	cancel   bool   // what Cancelled answers
	buf      [maxResponseSize]byte
	keepFail bool // failure mode is expected
	daMoved  bool // failedTries changed in the last fuzzed command
}

// testConfig is the Config of newTestTPM, with entropy that is the same in
// every run.
func (x *testTPM) testConfig(seed string) Config {
	return Config{
		Clock:     func() int64 { return x.now },
		Entropy:   tpmcrypto.NewDRBG([]byte(seed), nil, nil),
		Cancelled: func() bool { return x.cancel },
		Persist: func(b []byte) error {
			if x.saveErr != nil {
				return x.saveErr
			}
			x.blob = append([]byte(nil), b...)
			x.saves++
			return nil
		},
		Logf: x.t.Logf,
		// All that the engine has, and states of the lowest version.
		Profile: formerProfile(),
	}
}

// newRawTPM returns a TPM that has not seen Startup.
func newRawTPM(t testing.TB, change ...func(*Config)) *testTPM {
	t.Helper()
	x := &testTPM{t: t, now: 1_000_000}
	cfg := x.testConfig("newTestTPM")
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if x.TPM, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return x
}

// newTestTPM returns a TPM after Startup(CLEAR).
func newTestTPM(t testing.TB, change ...func(*Config)) *testTPM {
	t.Helper()
	x := newRawTPM(t, change...)
	x.ok(x.cmd(TPM_CC_Startup, u16(TPM_SU_CLEAR)))
	return x
}

// Send is go-tpm's transport.TPM.
func (x *testTPM) Send(cmd []byte) ([]byte, error) {
	rsp := x.Execute(x.loc, cmd, x.buf[:])
	if x.Failed() && !x.keepFail {
		x.t.Errorf("failure mode after % x", cmd)
	}
	return append([]byte(nil), rsp...), nil
}

// reboot is a power cut and a start from what was persisted.
func (x *testTPM) reboot() {
	x.t.Helper()
	cfg := x.testConfig("reboot")
	n, err := Restore(cfg, x.blob)
	if err != nil {
		x.t.Fatal(err)
	}
	x.TPM = n
}

// start is Startup(su) and returns the code.
func (x *testTPM) start(su uint16) RC {
	return x.cmd(TPM_CC_Startup, u16(su)).rc
}

// response is a parsed response: handle is only valid where the command has
// one; params are without parameterSize.
type response struct {
	rc     RC
	handle Handle
	params []byte
	raw    []byte
}

func u16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
func u64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }
func b2(b []byte) []byte  { return append(u16(uint16(len(b))), b...) }

func hx(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// pw is an authorization area of password sessions.
func pw(passwords ...string) []byte {
	var area []byte
	for _, p := range passwords {
		area = append(area, join(u32(uint32(TPM_RS_PW)), u16(0), []byte{0}, b2([]byte(p)))...)
	}
	return append(u32(uint32(len(area))), area...)
}

// cmd runs a command without sessions: handles and parameters are given as
// octets.
func (x *testTPM) cmd(cc CC, body ...[]byte) response {
	return x.run(TPM_ST_NO_SESSIONS, cc, join(body...))
}

// cmdS runs a command with an authorization area, see pw.
func (x *testTPM) cmdS(cc CC, handles []byte, area []byte, params ...[]byte) response {
	return x.run(TPM_ST_SESSIONS, cc, join(handles, area, join(params...)))
}

func handles(hs ...Handle) []byte {
	var b []byte
	for _, h := range hs {
		b = append(b, u32(uint32(h))...)
	}
	return b
}

func frame(tag ST, cc CC, body []byte) []byte {
	return join(u16(uint16(tag)), u32(uint32(headerSize+len(body))), u32(uint32(cc)), body)
}

func (x *testTPM) run(tag ST, cc CC, body []byte) response {
	x.t.Helper()
	raw, _ := x.Send(frame(tag, cc, body))
	return x.parse(tag, cc, raw)
}

func (x *testTPM) parse(tag ST, cc CC, raw []byte) response {
	x.t.Helper()
	if len(raw) < headerSize || binary.BigEndian.Uint32(raw[2:]) != uint32(len(raw)) {
		x.t.Fatalf("malformed response % x", raw)
	}
	r := response{rc: RC(binary.BigEndian.Uint32(raw[6:])), raw: raw}
	if r.rc != TPM_RC_SUCCESS {
		if len(raw) != headerSize {
			x.t.Fatalf("error response of %d octets", len(raw))
		}
		return r
	}
	b := raw[headerSize:]
	if x.commands[commandSlot(cc)].flags&fRspHandle != 0 {
		r.handle, b = Handle(binary.BigEndian.Uint32(b)), b[4:]
	}
	if tag == TPM_ST_SESSIONS {
		n := binary.BigEndian.Uint32(b)
		b = b[4 : 4+n]
	}
	r.params = b
	return r
}

// ok fails the test unless the response is a success.
func (x *testTPM) ok(r response) response {
	x.t.Helper()
	if r.rc != TPM_RC_SUCCESS {
		x.t.Fatalf("response: %v", r.rc)
	}
	return r
}

// want fails the test unless the response has the code.
func (x *testTPM) want(r response, rc RC) {
	x.t.Helper()
	if r.rc != rc {
		x.t.Errorf("response: %v, want %v", r.rc, rc)
	}
}

// unchanged runs f and fails the test if it changed the TPM's state.
func (x *testTPM) unchanged(f func()) {
	x.t.Helper()
	before, saves := x.snapshot(), x.saves
	f()
	if !bytes.Equal(before, x.snapshot()) {
		x.t.Error("state was changed")
	}
	if x.saves != saves {
		x.t.Error("permanent state was written")
	}
}

// snapshot returns the whole state, without the random generator.
func (x *testTPM) snapshot() []byte {
	x.t.Helper()
	p, err := x.encodePermanent()
	if err != nil {
		x.t.Fatal(err)
	}
	p = append([]byte(nil), p...)
	v, err := x.SaveVolatile()
	if err != nil {
		x.t.Fatal(err)
	}
	return append(p, v...)
}

// reader returns a reader of the response parameters.
func (r response) reader() *reader { return &reader{b: r.params} }

var errTest = errors.New("test error")

// Templates for tests.

// eccTemplate returns a TPMT_PUBLIC for an ECC P-256 key.
func eccTemplate(attrs TPMA_OBJECT) TPMT_PUBLIC {
	p := TPMT_PUBLIC{Type: TPM_ALG_ECC, NameAlg: TPM_ALG_SHA256, Attributes: attrs,
		Sym: TPMT_SYM_DEF{Algorithm: TPM_ALG_NULL}, Scheme: nullScheme, KDF: nullScheme, Curve: TPM_ECC_NIST_P256}
	if p.isParent() {
		p.Sym = TPMT_SYM_DEF{Algorithm: TPM_ALG_AES, KeyBits: 128, Mode: TPM_ALG_CFB}
	}
	return p
}

const (
	attrsStorage = objFixedTPM | objFixedParent | objSensitiveDataOrigin | objUserWithAuth | objNoDA | objRestricted | objDecrypt
	attrsSign    = objFixedTPM | objFixedParent | objSensitiveDataOrigin | objUserWithAuth | objSign
)

// createParams returns the parameters of Create and CreatePrimary.
func createParams(auth string, data []byte, pub TPMT_PUBLIC) []byte {
	return join(b2(join(b2([]byte(auth)), b2(data))),
		marshal(maxPublic, func(w *writer) { w.public2B(&pub) }), u16(0), u32(0))
}

// createPrimaryKey creates a primary key in a hierarchy with an empty auth.
func (x *testTPM) createPrimaryKey(h Handle, auth string, pub TPMT_PUBLIC) response {
	x.t.Helper()
	return x.ok(x.cmdS(TPM_CC_CreatePrimary, handles(h), pw(""), createParams(auth, nil, pub)))
}
