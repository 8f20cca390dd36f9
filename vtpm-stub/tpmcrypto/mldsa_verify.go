package tpmcrypto

import (
	"bytes"
	"crypto/sha3"
	"encoding/binary"
)

// VerifyMu checks a signature over a message representative (204 algorithm 8
// from line 8 on). The library that signs verifies whole messages only, which
// is neither enough for TPM2_VerifyDigestSignature nor for a sequence.
// ErrSignature for a wrong signature, ErrSize for a mu of another size.
func (k *MLDSAPublicKey) VerifyMu(mu, sig []byte) error {
	p := k.p
	if len(mu) != MLDSAMuSize {
		return ErrSize
	}
	challenge, z, hint, ok := p.decodeSignature(sig)
	if !ok {
		return ErrSignature
	}
	c := p.sampleInBall(challenge)
	c.ntt()
	for i := range z {
		z[i].ntt()
	}
	h := sha3.NewSHAKE256()
	_, _ = h.Write(mu) // never fails
	rho, t1 := k.raw[:32], k.raw[32:]
	for row := range p.k {
		var w mlPoly
		for column := range p.l {
			a := expandA(rho, row, column)
			w.addProduct(&a, &z[column])
		}
		t := unpackBits(t1[row*320:], 10)
		for j := range t {
			t[j] <<= 13 // d; stays below q
		}
		t.ntt()
		w.subProduct(&c, &t)
		w.inverseNTT()
		for j := range w {
			w[j] = p.useHint(hint[row][j], w[j])
		}
		_, _ = h.Write(packBits(nil, &w, p.w1Bits)) // never fails
	}
	again := make([]byte, p.challenge)
	_, _ = h.Read(again) // never fails
	if !bytes.Equal(again, challenge) {
		return ErrSignature
	}
	return nil
}

// decodeSignature is sigDecode (204 algorithm 27) with the check of the norm of
// z. ok is false for what no signer makes.
func (p *mldsaParams) decodeSignature(sig []byte) (challenge []byte, z []mlPoly, hint [][256]bool, ok bool) {
	if len(sig) != p.lib.SignatureSize() {
		return nil, nil, nil, false
	}
	challenge, sig = sig[:p.challenge], sig[p.challenge:]
	z = make([]mlPoly, p.l)
	for i := range z {
		z[i] = unpackBits(sig, p.zBits)
		sig = sig[32*p.zBits:]
		for j, v := range z[i] {
			z[i][j] = mlSub(p.gamma1, v)
			if norm := min(z[i][j], mlQ-z[i][j]); norm >= p.gamma1-p.beta {
				return nil, nil, nil, false
			}
		}
	}
	hint, ok = p.decodeHint(sig)
	return challenge, z, hint, ok
}

// decodeHint is HintBitUnpack (204 algorithm 21): positions ascend within each
// polynomial, and what is not used is zero.
func (p *mldsaParams) decodeHint(b []byte) ([][256]bool, bool) {
	hint := make([][256]bool, p.k)
	n := 0
	for i := range hint {
		end := int(b[p.omega+i])
		if end < n || end > p.omega {
			return nil, false
		}
		for first := n; n < end; n++ {
			if n > first && b[n-1] >= b[n] {
				return nil, false
			}
			hint[i][b[n]] = true
		}
	}
	for ; n < p.omega; n++ {
		if b[n] != 0 {
			return nil, false
		}
	}
	return hint, true
}

// sampleInBall is 204 algorithm 29.
func (p *mldsaParams) sampleInBall(seed []byte) (c mlPoly) {
	h := sha3.NewSHAKE256()
	_, _ = h.Write(seed) // never fails
	var b [8]byte
	_, _ = h.Read(b[:]) // never fails
	signs := binary.LittleEndian.Uint64(b[:])
	for i := 256 - p.tau; i < 256; i++ {
		_, _ = h.Read(b[:1]) // never fails
		for int(b[0]) > i {
			_, _ = h.Read(b[:1]) // never fails
		}
		j := b[0]
		c[i] = c[j]
		c[j] = 1
		if signs&1 != 0 {
			c[j] = mlQ - 1
		}
		signs >>= 1
	}
	return c
}

// useHint is 204 algorithm 40, with Decompose (36) in it.
func (p *mldsaParams) useHint(hint bool, r uint32) uint32 {
	m := (mlQ - 1) / (2 * p.gamma2)
	low := r % (2 * p.gamma2)
	negative := low > p.gamma2 // r0 = low - 2*gamma2
	high := r / (2 * p.gamma2)
	if negative {
		high++
	}
	if high == m { // r - r0 = q - 1: r1 = 0, and r0 one less
		high, negative = 0, true
	}
	switch {
	case !hint:
		return high
	case low == 0 || negative:
		return (high + m - 1) % m
	}
	return (high + 1) % m
}
