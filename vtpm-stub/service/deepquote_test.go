package service

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"testing"

	"xenvtpm/drivers/tpmwire"
	"xenvtpm/vtpm-stub/tpm2"
	"xenvtpm/vtpmmgr-stub/proto"
)

// quoterFunc is a manager that quotes.
type quoterFunc func(proto.DeepQuoteRequest) (*proto.DeepQuote, error)

func (f quoterFunc) DeepQuote(r proto.DeepQuoteRequest) (*proto.DeepQuote, error) { return f(r) }

// deepCommand is the vendor command around an inner one.
func deepCommand(tag tpmwire.Tag, version, bank uint16, mask uint32, inner []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, version)
	b = binary.BigEndian.AppendUint16(b, bank)
	b = binary.BigEndian.AppendUint32(b, mask)
	return frame(tag, CCDeepQuote, append(b, inner...)...)
}

// quoteResponse is a response of TPM2_Quote with a given TPMS_ATTEST.
func quoteResponse(attest []byte, rest int) []byte {
	p := binary.BigEndian.AppendUint16(nil, uint16(len(attest)))
	p = append(p, attest...)
	p = append(p, make([]byte, rest)...)
	return frame(tpmwire.TagSessions, 0, append(be32(uint32(len(p))), p...)...)
}

var innerQuote = frame(tpmwire.TagSessions, ccQuote, 0x80, 0, 0, 0, 1, 2, 3)

// The vTPM's quote and the manager's evidence come back together, and the
// evidence is over the digest of the quote.
func TestDeepQuote(t *testing.T) {
	attest := append([]byte(attestMagic), "\x80\x18 what a TPM says"...)
	engine := &fakeEngine{rsp: quoteResponse(attest, 80)}
	s := New(engine, LocalityPolicy{}, t.Logf)
	want := &proto.DeepQuote{UUID: proto.UUID{1}, Group: proto.UUID{2}, PCRs: proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 3},
		Values: [][]byte{make([]byte, 32), bytes.Repeat([]byte{1}, 32)}, Attest: []byte("hardware"), Signature: []byte("AK")}
	s.quoter = quoterFunc(func(r proto.DeepQuoteRequest) (*proto.DeepQuote, error) {
		sum := sha256.Sum256(attest)
		if !bytes.Equal(r.Data, sum[:]) || r.PCRs != want.PCRs {
			t.Errorf("the manager was asked for %+v", r)
		}
		want.Data = r.Data
		return want, nil
	})
	h, body := run(t, s, deepCommand(tpmwire.TagNoSessions, 1, proto.AlgSHA256, 3, innerQuote))
	if h.Code != 0 || h.Tag != tpmwire.TagNoSessions {
		t.Fatalf("answer %+v", h)
	}
	if len(engine.executed) != 1 || !bytes.Equal(engine.executed[0], innerQuote) {
		t.Errorf("the engine saw %x", engine.executed)
	}
	r := proto.NewReader(body)
	version, result := r.U16(), r.U32()
	evidence := r.Sized(MaxPacket)
	quote := r.Bytes(len(engine.rsp))
	if r.Done() != nil || version != 1 || result != 0 || !bytes.Equal(quote, engine.rsp) {
		t.Fatalf("answer %x", body)
	}
	got, err := proto.ParseDeepQuote(evidence)
	if err != nil || got.Qualifying() != want.Qualifying() || !bytes.Equal(got.Attest, want.Attest) {
		t.Errorf("evidence %+v, %v", got, err)
	}
}

// When the manager cannot, the guest still gets the response of its TPM2_Quote,
// whose sessions have moved on, and the manager's word.
func TestDeepQuoteWithoutEvidence(t *testing.T) {
	attest := []byte(attestMagic + "x")
	big := &proto.DeepQuote{PCRs: proto.PCRSelection{Alg: proto.AlgSHA512, Mask: 1<<24 - 1}, Attest: make([]byte, 1000), Signature: make([]byte, 500)}
	for range 24 {
		big.Values = append(big.Values, make([]byte, 64))
	}
	for _, c := range []struct {
		name string
		rsp  []byte
		q    *proto.DeepQuote
		err  error
		want proto.Result
	}{
		{"a manager that does not know it", quoteResponse(attest, 70), nil, proto.BadOrdinal, proto.BadOrdinal},
		{"hardware that is busy", quoteResponse(attest, 70), nil, proto.Unavailable, proto.Unavailable},
		{"a manager that is gone", quoteResponse(attest, 70), nil, errors.New("no answer"), proto.Unavailable},
		{"an encrypted quote", quoteResponse([]byte("xyzxyz"), 70), big, nil, proto.BadParameter},
		{"an empty quote", quoteResponse(nil, 0), big, nil, proto.BadParameter},
		{"more than fits", quoteResponse(attest, 1200), big, nil, proto.Size},
	} {
		s := New(&fakeEngine{rsp: c.rsp}, LocalityPolicy{}, t.Logf)
		s.quoter = quoterFunc(func(proto.DeepQuoteRequest) (*proto.DeepQuote, error) { return c.q, c.err })
		h, body := run(t, s, deepCommand(tpmwire.TagNoSessions, 1, proto.AlgSHA512, 1, innerQuote))
		want := append([]byte{0, 1}, be32(uint32(c.want))...)
		want = append(append(want, 0, 0), c.rsp...)
		if h.Code != 0 || !bytes.Equal(body, want) {
			t.Errorf("%s: %+v %x", c.name, h, body)
		}
	}
}

func TestDeepQuoteErrors(t *testing.T) {
	quote := innerQuote
	short := bytes.Clone(quote)
	short[5]++
	for _, c := range []struct {
		name string
		cmd  []byte
		want tpm2.RC
	}{
		{"sessions outside", deepCommand(tpmwire.TagSessions, 1, 0xB, 1, quote), tpm2.TPM_RC_AUTH_CONTEXT},
		{"nothing", frame(tpmwire.TagNoSessions, CCDeepQuote), tpm2.TPM_RC_INSUFFICIENT.Param(4)},
		{"no quote", deepCommand(tpmwire.TagNoSessions, 1, 0xB, 1, quote[:9]), tpm2.TPM_RC_INSUFFICIENT.Param(4)},
		{"version", deepCommand(tpmwire.TagNoSessions, 2, 0xB, 1, quote), tpm2.TPM_RC_VALUE.Param(1)},
		{"bank", deepCommand(tpmwire.TagNoSessions, 1, 0x10, 1, quote), tpm2.TPM_RC_HASH.Param(2)},
		{"no PCR", deepCommand(tpmwire.TagNoSessions, 1, 0xB, 0, quote), tpm2.TPM_RC_VALUE.Param(3)},
		{"PCR 24", deepCommand(tpmwire.TagNoSessions, 1, 0xB, 1<<24, quote), tpm2.TPM_RC_VALUE.Param(3)},
		{"inner size", deepCommand(tpmwire.TagNoSessions, 1, 0xB, 1, short), tpm2.TPM_RC_SIZE.Param(4)},
		{"other inner command", deepCommand(tpmwire.TagNoSessions, 1, 0xB, 1, frame(tpmwire.TagSessions, 0x12A)), tpm2.TPM_RC_COMMAND_CODE},
		{"itself", deepCommand(tpmwire.TagNoSessions, 1, 0xB, 1, deepCommand(tpmwire.TagNoSessions, 1, 0xB, 1, quote)), tpm2.TPM_RC_COMMAND_CODE},
		{"for the manager", deepCommand(tpmwire.TagNoSessions, 1, 0xB, 1, frame(tpmwire.TagVTPMRequest, ccQuote)), tpm2.TPM_RC_COMMAND_CODE},
	} {
		e := &fakeEngine{}
		s := New(e, LocalityPolicy{}, t.Logf)
		s.quoter = quoterFunc(func(proto.DeepQuoteRequest) (*proto.DeepQuote, error) {
			t.Errorf("%s: the manager was asked", c.name)
			return nil, proto.Fail
		})
		if h, _ := run(t, s, c.cmd); h.Code != uint32(c.want) || len(e.executed) != 0 {
			t.Errorf("%s: %+v, want %#x; the engine saw %x", c.name, h, uint32(c.want), e.executed)
		}
	}
	// What TPM2_Quote says is the answer.
	refused := frame(tpmwire.TagNoSessions, uint32(tpm2.TPM_RC_VALUE.Handle(1)))
	s := New(&fakeEngine{rsp: refused}, LocalityPolicy{}, t.Logf)
	s.quoter = quoterFunc(func(proto.DeepQuoteRequest) (*proto.DeepQuote, error) {
		t.Error("the manager was asked without a quote")
		return nil, proto.Fail
	})
	if rsp := s.Handle(&Request{Command: deepCommand(tpmwire.TagNoSessions, 1, 0xB, 1, quote)}); !bytes.Equal(rsp, refused) {
		t.Errorf("answer %x", rsp)
	}
}

// Neither the command nor its answer goes past the locality policy or failure mode.
func TestDeepQuoteGates(t *testing.T) {
	cmd := deepCommand(tpmwire.TagNoSessions, 1, 0xB, 1, innerQuote)
	asked := quoterFunc(func(proto.DeepQuoteRequest) (*proto.DeepQuote, error) {
		t.Error("the manager was asked")
		return nil, proto.Fail
	})
	policy, err := ParseLocality([]string{"2"})
	if err != nil {
		t.Fatal(err)
	}
	s := New(&fakeEngine{}, policy, t.Logf)
	s.quoter = asked
	if h, _ := run(t, s, cmd); h.Code != tpmwire.RCLocality {
		t.Errorf("locality: %+v", h)
	}
	s = New(nil, LocalityPolicy{}, t.Logf)
	s.quoter = asked
	if h, _ := run(t, s, cmd); h.Code != tpmwire.RCFailure {
		t.Errorf("failure mode: %+v", h)
	}
	// deepquote=0: the engine does not know the command.
	e := &fakeEngine{}
	if run(t, New(e, LocalityPolicy{}, t.Logf), cmd); len(e.executed) != 1 {
		t.Error("switched off, it did not go to the engine")
	}
}

func FuzzDeepQuote(f *testing.F) {
	f.Add(deepCommand(tpmwire.TagNoSessions, 1, 0xB, 1, innerQuote), quoteResponse([]byte(attestMagic), 60))
	f.Add(deepCommand(tpmwire.TagNoSessions, 1, 0xC, 7, innerQuote[:12]), []byte{})
	f.Fuzz(func(t *testing.T, cmd, rsp []byte) {
		s := New(&fakeEngine{rsp: rsp}, LocalityPolicy{}, nil)
		s.quoter = quoterFunc(func(r proto.DeepQuoteRequest) (*proto.DeepQuote, error) {
			return &proto.DeepQuote{Data: r.Data, PCRs: r.PCRs, Attest: make([]byte, 1000), Signature: make([]byte, 600)}, nil
		})
		if _, err := tpmwire.ParsePacket(rsp); err != nil || len(rsp) > MaxPacket {
			return // no engine answers so
		}
		before := bytes.Clone(cmd)
		out := s.Handle(&Request{From: "f", Command: cmd})
		if _, err := tpmwire.ParsePacket(out); err != nil || len(out) > MaxPacket {
			t.Fatalf("answer %x: %v", out, err)
		}
		if !bytes.Equal(before, cmd) {
			t.Fatal("the command was changed")
		}
	})
}
