package tpmcrypto

import (
	"encoding"
	"hash"
)

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
	// inner and outer hold the states of fill; an object that a call made for them
	// would be garbage each time.
	inner, outer [stateSize]byte
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
	if len(p) > 2*len(d.v) {
		d.fill(p)
	} else {
		d.step(p)
	}
	d.update(nil, nil, nil)
}

func (d *DRBG) step(p []byte) {
	for len(p) > 0 {
		d.s.HMAC(d.alg, d.v[:0], d.k, d.v)
		p = p[copy(p, d.v):]
	}
}

// hashState is what the standard library's hashes can do: give their state and take
// it back.
type hashState interface {
	hash.Hash
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

// stateSize is enough for the state of each hash.
const stateSize = 256

// fill is step for many blocks: the key is hashed twice for all of them and not twice
// for each, which is half the work.
func (d *DRBG) fill(p []byte) {
	h, ok := d.s.get(d.alg).(hashState)
	if !ok {
		d.step(p)
		return
	}
	inner, err1 := d.padState(h, 0x36, d.inner[:0])
	outer, err2 := d.padState(h, 0x5c, d.outer[:0])
	for len(p) > 0 && err1 == nil && err2 == nil {
		err1 = h.UnmarshalBinary(inner)
		h.Write(d.v)
		sum := h.Sum(d.s.sum[:0])
		err2 = h.UnmarshalBinary(outer)
		h.Write(sum)
		h.Sum(d.v[:0])
		p = p[copy(p, d.v):]
	}
	if err1 != nil || err2 != nil {
		panic("tpmcrypto: internal error: a hash does not take its own state")
	}
	clear(d.inner[:])
	clear(d.outer[:])
}

// padState appends the state of the hash after the key, XORed with a pad.
func (d *DRBG) padState(h hashState, pad byte, dst []byte) ([]byte, error) {
	block := d.s.pad[:d.alg.BlockSize()]
	clear(block)
	copy(block, d.k) // a digest is never longer than a block
	for i := range block {
		block[i] ^= pad
	}
	h.Reset()
	h.Write(block)
	clear(block)
	return h.AppendBinary(dst)
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
