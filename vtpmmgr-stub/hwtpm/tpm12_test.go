package hwtpm

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm"

	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/swtpmtest"
)

var pcrs12 = proto.PCRSelection{Alg: proto.AlgSHA1, Mask: 0xFF}

func open12(t testing.TB, s *swtpmtest.TPM, ownerAuth ...byte) *TPM12 {
	t.Helper()
	d, err := Open12(s, config(t, ownerAuth...))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSeal12(t *testing.T) {
	s := swtpmtest.Start(t, false)
	if _, err := Open(s, config(t)); !errors.Is(err, ErrWrongFamily) {
		t.Fatalf("as a TPM 2.0: %v", err)
	}
	secret := bytes.Repeat([]byte{0xA5}, 81)
	b, err := open12(t, s).Seal(secret, Policy{PCRs: pcrs12})
	if err != nil {
		t.Fatal(err)
	}
	if b, err = ParseBinding(b.Append(nil)); err != nil {
		t.Fatal(err)
	}
	s.PowerCycle()
	d := open12(t, s)
	if got, err := d.Unseal(b); err != nil || !bytes.Equal(got, secret) {
		t.Fatalf("after a power cycle: %x %v", got, err)
	}
	if _, err := tpm.PcrExtend(d.bus, 4, [20]byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Unseal(b); !errors.Is(err, ErrPCRMismatch) {
		t.Errorf("PCR 4 changed: %v", err)
	}
	b.Values, _ = d.PCRs(pcrs12)
	if _, err := d.Unseal(b); !errors.Is(err, ErrPCRMismatch) {
		t.Errorf("the binding lies, the TPM decides: %v", err)
	}
	if _, err := d.Seal(secret, Policy{Authority: &Authority{}}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("approved policy: %v", err)
	}
	if _, err := Open12(s, config(t, bytes.Repeat([]byte{1}, 20)...)); err != nil {
		t.Fatal(err)
	}
	if _, err := open12(t, s, bytes.Repeat([]byte{1}, 20)...).Seal(secret, Policy{PCRs: pcrs12}); !errors.Is(err, ErrOwned) {
		t.Errorf("wrong owner authorisation: %v", err)
	}
	if testing.Short() {
		return // a new TPM makes a new key, which takes seconds
	}
	s.Erase()
	if _, err := open12(t, s).Unseal(b); !errors.Is(err, ErrReplaced) {
		t.Errorf("another TPM: %v", err)
	}
}

func TestCounter12(t *testing.T) {
	s := swtpmtest.Start(t, false)
	d := open12(t, s)
	id := [16]byte{1, 2}
	if a, err := d.Anchor(); err != nil || a.State != AnchorNone {
		t.Fatalf("new TPM: %v %v", a, err)
	}
	if err := d.SetAnchor(Anchor{AnchorMaking, id}); err != nil {
		t.Fatal(err)
	}
	v, err := d.MakeCounter(counterAuth())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := d.Increment(); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.SetAnchor(Anchor{AnchorActive, id}); err != nil {
		t.Fatal(err)
	}
	s.PowerCycle()
	d = open12(t, s)
	if a, err := d.Anchor(); err != nil || a != (Anchor{AnchorActive, id}) {
		t.Errorf("anchor: %v %v", a, err)
	}
	if got, err := d.OpenCounter(counterAuth()); err != nil || got != v+3 {
		t.Errorf("counter %d, want %d: %v", got, v+3, err)
	}
	if _, err := d.OpenCounter([]byte("another")); err != nil {
		t.Errorf("reading needs no authorisation: %v", err)
	}
	if err := d.Increment(); !errors.Is(err, ErrCounterReplaced) {
		t.Errorf("increment with another authorisation: %v", err)
	}
	v2, err := d.MakeCounter(counterAuth())
	if err != nil || v2 < v+3 {
		t.Errorf("a new counter begins at %d after %d: %v", v2, v+3, err)
	}
	for range 10 { // counters are few: each must release the one before
		if _, err := d.MakeCounter(counterAuth()); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.SetAnchor(Anchor{}); err != nil {
		t.Fatal(err)
	}
	if a, err := d.Anchor(); err != nil || a.State != AnchorNone {
		t.Errorf("removed: %v %v", a, err)
	}
}

// A replayed answer does not pass for an increment.
func TestBusInterference12(t *testing.T) {
	s := swtpmtest.Start(t, false)
	d := open12(t, s)
	if _, err := d.MakeCounter(counterAuth()); err != nil {
		t.Fatal(err)
	}
	var old []byte
	s.After = func(cmd, rsp []byte) ([]byte, error) {
		if cmd[9] == ord12Increment {
			old = bytes.Clone(rsp)
		}
		return rsp, nil
	}
	if err := d.Increment(); err != nil {
		t.Fatal(err)
	}
	s.Before = func(cmd []byte) ([]byte, error) {
		if cmd[9] == ord12Increment {
			return old, nil
		}
		return nil, nil
	}
	if err := d.Increment(); !errors.Is(err, ErrMalformed) {
		t.Errorf("a replayed answer: %v", err)
	}
}

func TestOpen12NamesTheTrouble(t *testing.T) {
	always := func(b []byte, err error) sendFunc { return func([]byte) ([]byte, error) { return b, err } }
	for name, c := range map[string]struct {
		tpm  sendFunc
		want error
	}{
		"missing":     {always(nil, errors.New("reads as ones")), ErrNoTPM},
		"self test":   {always(rc(0x00C4, 28), nil), ErrFailureMode},
		"disabled":    {always(rc(0x00C4, 7), nil), ErrInactive},
		"deactivated": {always(rc(0x00C4, 6), nil), ErrInactive},
		"locked out":  {always(rc(0x00C4, 0x803), nil), ErrLockout},
		"busy":        {always(rc(0x00C4, 0x800), nil), ErrBusy},
		"testing":     {always(rc(0x00C4, 0x801), nil), ErrBusy},
		"short":       {always([]byte{0}, nil), ErrMalformed},
	} {
		if _, err := Open12(c.tpm, config(t)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func FuzzAnswers12(f *testing.F) {
	f.Add(rc(0x00C4, 0), uint8(0))
	f.Add(append(rc(0x00C5, 0), make([]byte, 60)...), uint8(3))
	f.Fuzz(func(t *testing.T, answer []byte, at uint8) {
		if len(answer) >= 6 {
			answer[2], answer[3], answer[4], answer[5] = 0, 0, byte(len(answer)>>8), byte(len(answer))
		}
		n := 0
		d := &TPM12{bus: &bus12{t: sendFunc(func([]byte) ([]byte, error) {
			if n++; n > 60 {
				return nil, errors.New("enough")
			}
			return bytes.Clone(answer), nil
		}), sleep: func(time.Duration) {}}, c: Config{Logf: func(string, ...any) {}}}
		switch at % 8 {
		case 0:
			_ = func() (err error) { defer guard(&err); return d.flushLeftovers() }()
		case 1:
			_ = func() (err error) { defer guard(&err); return d.own() }()
		case 2:
			_, _ = d.Anchor()
		case 3:
			_ = d.Increment()
		case 4:
			_, _ = d.PCRs(pcrs12)
		case 5:
			_, _ = d.GetRandom(8)
		case 6:
			_, _ = d.MakeCounter(counterAuth())
		case 7:
			_, _ = d.Seal([]byte("x"), Policy{PCRs: pcrs12})
		}
	})
}
