package hwtpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	mrand "math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/vtpmmgr-stub/swtpmtest"
)

// sendFunc is a scripted TPM.
type sendFunc func(cmd []byte) ([]byte, error)

func (f sendFunc) Send(cmd []byte) ([]byte, error) { return f(cmd) }

// rc is an answer without parameters.
func rc(tag uint16, code uint32) []byte {
	b := binary.BigEndian.AppendUint16(nil, tag)
	b = binary.BigEndian.AppendUint32(b, 10)
	return binary.BigEndian.AppendUint32(b, code)
}

func TestOpenNamesTheTrouble(t *testing.T) {
	always := func(b []byte, err error) sendFunc { return func([]byte) ([]byte, error) { return b, err } }
	for name, c := range map[string]struct {
		tpm  sendFunc
		want error
	}{
		"missing":          {always(nil, errors.New("reads as ones")), ErrNoTPM},
		"failure mode":     {always(rc(0x8001, 0x101), nil), ErrFailureMode},
		"TPM 1.2":          {always(rc(0x00C4, 30), nil), ErrWrongFamily},
		"always retry":     {always(rc(0x8001, 0x922), nil), ErrBusy},
		"always testing":   {always(rc(0x8001, 0x90A), nil), ErrBusy},
		"no bytes":         {always(nil, nil), ErrMalformed},
		"nine bytes":       {always(make([]byte, 9), nil), ErrMalformed},
		"wrong size":       {always([]byte{0x80, 1, 0, 0, 0, 11, 0, 0, 0, 0}, nil), ErrMalformed},
		"success, but bad": {always(rc(0x8001, 0), nil), nil},
	} {
		_, err := Open(c.tpm, config(t))
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// Every command is asked for again, with the same bytes, until the TPM takes it.
func TestRetries(t *testing.T) {
	s := swtpmtest.Start(t, true)
	codes := []tpm2.TPMRC{tpm2.TPMRCRetry, tpm2.TPMRCYielded, tpm2.TPMRCTesting}
	var last []byte
	refused, n := 0, 0
	s.Before = func(cmd []byte) ([]byte, error) {
		if refused > 0 && !bytes.Equal(cmd, last) {
			t.Error("a repeated command differs")
		}
		if refused < 3 {
			last = bytes.Clone(cmd)
			refused++
			n++
			return rc(0x8001, uint32(codes[n%3])), nil
		}
		refused = 0
		return nil, nil
	}
	tpm := open(t, s)
	b, err := tpm.Seal([]byte("x"), Policy{PCRs: pcrs07})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tpm.Unseal(b); err != nil {
		t.Fatal(err)
	}
	v, err := tpm.MakeCounter(counterAuth())
	if err != nil {
		t.Fatal(err)
	}
	if err := tpm.Increment(); err != nil {
		t.Fatal(err)
	}
	if got, err := tpm.Counter(); err != nil || got != v+1 {
		t.Errorf("a retried increment counted %d times: %v", got-v, err)
	}
}

// TestSpoiledAnswers flips bits in the TPM's answers while a key is sealed and
// opened: an error, or the right secret, but never another one, nor a panic.
func TestSpoiledAnswers(t *testing.T) {
	s := swtpmtest.Start(t, true)
	r := mrand.New(mrand.NewPCG(1, 2))
	secret := []byte("the secret")
	good, err := open(t, s).Seal(secret, Policy{PCRs: pcrs07})
	if err != nil {
		t.Fatal(err)
	}
	opened, failed := 0, 0
	for range 300 {
		left := r.IntN(20)
		s.After = func(_, rsp []byte) ([]byte, error) {
			if left--; left == 0 {
				rsp[r.IntN(len(rsp))] ^= 1 << r.IntN(8)
			}
			return rsp, nil
		}
		tpm, err := Open(s, Config{Sleep: func(time.Duration) {}})
		var got []byte
		if err == nil {
			got, err = tpm.Unseal(good)
		}
		switch {
		case err != nil:
			failed++
		case !bytes.Equal(got, secret):
			t.Fatalf("opened to %q", got)
		default:
			opened++
		}
	}
	s.After = nil
	t.Logf("%d opened, %d failed", opened, failed)
	if opened == 0 || failed == 0 {
		t.Error("one branch was never taken")
	}
	if got, err := open(t, s).Unseal(good); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("afterwards: %q %v", got, err)
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add(rc(0x8001, 0), uint8(0))
	f.Add(rc(0x8002, 0), uint8(3))
	f.Add([]byte{0x80, 1, 0, 0, 0, 27, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 0}, uint8(1))
	f.Fuzz(func(t *testing.T, answer []byte, at uint8) {
		if len(answer) >= 6 {
			binary.BigEndian.PutUint32(answer[2:], uint32(len(answer)))
		}
		n := uint8(0)
		tpm := &TPM{t: &retrier{t: sendFunc(func(cmd []byte) ([]byte, error) {
			if n++; n > 60 {
				return nil, errors.New("enough")
			}
			return bytes.Clone(answer), nil
		}), sleep: func(time.Duration) {}}, c: Config{Index: DefaultIndex, Logf: func(string, ...any) {}}}
		switch at % 8 {
		case 0:
			_ = func() (err error) { defer tpm.done(&err); return tpm.start() }()
		case 1:
			_ = func() (err error) { defer tpm.done(&err); return tpm.flushLeftovers() }()
		case 2:
			_, _ = tpm.Anchor()
		case 3:
			_, _ = tpm.OpenCounter(counterAuth())
		case 4:
			_, _ = tpm.PCRs(pcrs07)
		case 5:
			_, _ = tpm.GetRandom(8)
		case 6:
			_, _, _ = tpm.Endorsement()
		case 7:
			_, _ = tpm.Seal([]byte("x"), Policy{PCRs: pcrs07})
		}
	})
}

func FuzzAttestation(f *testing.F) {
	f.Add([]byte("\xffTCG\x80\x18\x00\x00"), []byte{0, 0x18, 0, 0x0B}, []byte{0, 0x23, 0, 0x0B})
	f.Fuzz(func(t *testing.T, attest, signature, public []byte) {
		_, _ = ParseQuote(attest)
		_, _, _ = CertifiedName(attest)
		_ = VerifyAttest(public, attest, signature)
		_, _, _ = ECCPoint(public)
		_ = IsAK(public)
		_, _ = KeyName(public)
		_ = AuthorityName(public)
	})
}
