package tpmcrypto

// DRBG is HMAC_DRBG with SHA-512 (90A 10.1.2), without prediction resistance.
// Two instances made from the same values and read in the same way give the
// same bytes: it is the source of Primary Objects (P1 27.6.3).
//
// Primary keys depend on every detail of it, and on the sequence of Read
// lengths. It must never change; golden vectors hold it.
type DRBG struct {
	s    Hasher
	alg  Alg // SHA-512 but in tests
	k, v []byte
}

// maxGenerate is the most bytes one generate call may give (2^19 bits).
const maxGenerate = 1 << 16

// NewDRBG instantiates the generator: entropy input, nonce and personalization
// string of 90A 10.1.2.3. Any of them may be empty.
func NewDRBG(entropy, nonce, personalization []byte) *DRBG {
	return newDRBG(AlgSHA512, entropy, nonce, personalization)
}

func newDRBG(a Alg, entropy, nonce, personalization []byte) *DRBG {
	d := &DRBG{alg: a, k: make([]byte, a.DigestSize()), v: make([]byte, a.DigestSize())}
	for i := range d.v {
		d.v[i] = 1
	}
	d.update(entropy, nonce, personalization)
	return d
}

// PrimaryDRBG is the source of entropy for a Primary Object: entropy input is
// the hierarchy's primary seed, nonce the digest of the input template,
// personalization a string that names the use and keeps this generator apart
// from every other. The same three always give the same bytes.
func PrimaryDRBG(seed, templateDigest []byte, use string) *DRBG {
	return NewDRBG(seed, templateDigest, []byte("xenvtpm primary object\x00"+use))
}

// Reseed adds entropy and additional input (90A 10.1.2.4).
func (d *DRBG) Reseed(entropy, additional []byte) { d.update(entropy, additional, nil) }

// Read fills p with one generate call for each 65536 bytes. It never fails.
func (d *DRBG) Read(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		m := min(len(p), maxGenerate)
		d.generate(p[:m])
		p = p[m:]
	}
	return n, nil
}

// generate is 90A 10.1.2.5 with empty additional input.
func (d *DRBG) generate(p []byte) {
	for len(p) > 0 {
		d.s.HMAC(d.alg, d.v[:0], d.k, d.v)
		p = p[copy(p, d.v):]
	}
	d.update(nil, nil, nil)
}

// update is HMAC_DRBG_Update (90A 10.1.2.2).
func (d *DRBG) update(a, b, c []byte) {
	for _, sep := range [...]byte{0, 1} {
		d.s.HMAC(d.alg, d.k[:0], d.k, d.v, []byte{sep}, a, b, c)
		d.s.HMAC(d.alg, d.v[:0], d.k, d.v)
		if len(a)+len(b)+len(c) == 0 {
			return
		}
	}
}

// kdfSourceBits is the length that a derivation declares (P1 28.4).
const kdfSourceBits = 8192

// KDFSource is the source of entropy for Derived Objects (P1 28.4):
// KDFa(hashAlg, sensitive, label, context, 0, 8192) read from its most
// significant byte on, no byte skipped. After 1024 bytes Read fails with
// ErrExhausted.
type KDFSource struct{ rest []byte }

// NewKDFSource starts a derivation: a is the nameAlg of the derivation parent,
// sensitive its sensitive value.
func NewKDFSource(a Alg, sensitive, label, context []byte) *KDFSource {
	return &KDFSource{KDFa(a, sensitive, string(label), context, nil, kdfSourceBits)}
}

// Read fills p with the next bytes, or takes nothing and fails.
func (s *KDFSource) Read(p []byte) (int, error) {
	if len(p) > len(s.rest) {
		return 0, ErrExhausted
	}
	copy(p, s.rest)
	s.rest = s.rest[len(p):]
	return len(p), nil
}
