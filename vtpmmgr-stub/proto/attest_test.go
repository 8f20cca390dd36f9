package proto

import (
	"bytes"
	"testing"
)

func FuzzAttest(f *testing.F) {
	q := &DeepQuote{Data: []byte{1}, PCRs: PCRSelection{AlgSHA256, 3}, Values: [][]byte{make([]byte, 32), make([]byte, 32)}, Attest: []byte{2}, Signature: []byte{3}}
	f.Add(q.Append(nil))
	f.Add(DeepQuoteRequest{Data: []byte{1}, PCRs: PCRSelection{AlgSHA256, 3}}.Append(nil))
	f.Add(CertifyKeyBody([]byte{1, 2}, 183))
	f.Add(certifyKeyBody1([]byte{1, 2}))
	f.Add(Certificates{EK: []byte{1}, CA: []byte{2}}.Append(nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		if q, err := ParseDeepQuote(in); err == nil && !bytes.Equal(q.Append(nil), in) {
			t.Fatal("deep quote: encode(decode(x)) differs")
		}
		if q, err := ParseDeepQuoteRequest(in); err == nil && !bytes.Equal(q.Append(nil), in) {
			t.Fatal("request: encode(decode(x)) differs")
		}
		if c, err := ParseCertificates(in); err == nil && !bytes.Equal(c.Append(nil), in) {
			t.Fatal("certificates: encode(decode(x)) differs")
		}
		if p, rev, err := ParseCertifyKey(in); err == nil && !bytes.Equal(CertifyKeyBody(p, rev), in) &&
			(rev != firstRevision || !bytes.Equal(certifyKeyBody1(p), in)) {
			t.Fatal("certify: encode(decode(x)) differs")
		}
	})
}

// Each field of the deep quote is bound by the qualifying data.
func TestQualifyingBindsAll(t *testing.T) {
	base := DeepQuote{Data: []byte{1}}
	seen := map[[32]byte]string{base.Qualifying(): "base"}
	for name, alter := range map[string]func(*DeepQuote){
		"uuid": func(q *DeepQuote) { q.UUID[0]++ }, "group": func(q *DeepQuote) { q.Group[0]++ },
		"authority": func(q *DeepQuote) { q.Authority[0]++ }, "data": func(q *DeepQuote) { q.Data = []byte{2} },
		"no data": func(q *DeepQuote) { q.Data = nil },
	} {
		q := base
		alter(&q)
		if was, dup := seen[q.Qualifying()]; dup {
			t.Errorf("%s gives the same as %s", name, was)
		}
		seen[q.Qualifying()] = name
	}
}
