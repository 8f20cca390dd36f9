package tpmcrypto

import (
	"crypto/rsa"
	"crypto/subtle"
	"math/big"
)

// DefaultExponent is the public exponent that a zero in the exponent field of
// TPMS_RSA_PARMS means.
const DefaultExponent = 65537

// maxExponent is the largest that crypto/rsa takes.
const maxExponent = 1<<31 - 1

// RSAKeyBits reports whether a key size in bits is supported.
func RSAKeyBits(bits int) bool {
	return bits == 1024 || bits == 2048 || bits == 3072 || bits == 4096
}

// RSAExponent resolves the exponent field: 0 means 65537. An even exponent,
// one below 3 or one above 2^31-1 gives ErrExponent.
func RSAExponent(e uint32) (int, error) {
	if e == 0 {
		return DefaultExponent, nil
	}
	if e < 3 || e&1 == 0 || e > maxExponent {
		return 0, ErrExponent
	}
	return int(e), nil
}

// RSAPublicKey is a checked public key.
type RSAPublicKey struct{ std rsa.PublicKey }

// NewRSAPublicKey checks a modulus and an exponent field. The modulus must be
// odd, with its top bit set, and of a supported size: ErrKeySize or ErrKey
// otherwise.
func NewRSAPublicKey(n []byte, e uint32) (*RSAPublicKey, error) {
	exp, err := RSAExponent(e)
	if err != nil {
		return nil, err
	}
	if !RSAKeyBits(len(n) * 8) {
		return nil, ErrKeySize
	}
	if n[0] < 0x80 || n[len(n)-1]&1 == 0 {
		return nil, ErrKey
	}
	return &RSAPublicKey{rsa.PublicKey{N: new(big.Int).SetBytes(n), E: exp}}, nil
}

// Size returns the modulus size in bytes.
func (k *RSAPublicKey) Size() int { return k.std.Size() }

// Modulus returns the modulus with Size bytes.
func (k *RSAPublicKey) Modulus() []byte { return k.std.N.FillBytes(make([]byte, k.Size())) }

// Exponent returns the public exponent.
func (k *RSAPublicKey) Exponent() int { return k.std.E }

// RSAPrivateKey is a key pair with its CRT values. It is safe for concurrent
// use.
type RSAPrivateKey struct {
	pub     RSAPublicKey
	std     *rsa.PrivateKey
	p, q, n *Modulus
}

// NewRSAPrivateKey makes a key pair of a modulus, an exponent field and one
// prime, as a TPM stores it. It gives ErrKey when the prime does not divide
// the modulus, when a factor does not have half the modulus' bits (P1 B.1), or
// when no private exponent exists. Whether the factors are prime is not
// checked, as P1 B.1 says; a key with composite factors gives errors or wrong
// results to whoever made it.
func NewRSAPrivateKey(n []byte, e uint32, p []byte) (*RSAPrivateKey, error) {
	pub, err := NewRSAPublicKey(n, e)
	if err != nil {
		return nil, err
	}
	half := len(n) * 4
	pp := new(big.Int).SetBytes(p)
	if pp.BitLen() != half || pp.Bit(0) == 0 {
		return nil, ErrKey
	}
	q, rem := new(big.Int).QuoRem(pub.std.N, pp, new(big.Int))
	if rem.Sign() != 0 || q.BitLen() != half || q.Bit(0) == 0 {
		return nil, ErrKey
	}
	return newRSA(pub, pp, q)
}

// newRSA completes a key from its odd factors.
func newRSA(pub *RSAPublicKey, p, q *big.Int) (*RSAPrivateKey, error) {
	one := big.NewInt(1)
	p1, q1 := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
	lambda := new(big.Int).Mul(p1, q1)
	lambda.Quo(lambda, new(big.Int).GCD(nil, nil, p1, q1))
	d := new(big.Int).ModInverse(big.NewInt(int64(pub.std.E)), lambda)
	qInv := new(big.Int).ModInverse(q, p)
	if d == nil || qInv == nil {
		return nil, ErrKey
	}
	std := &rsa.PrivateKey{PublicKey: pub.std, D: d, Primes: []*big.Int{p, q}}
	std.Precomputed.Dp = new(big.Int).Mod(d, p1)
	std.Precomputed.Dq = new(big.Int).Mod(d, q1)
	std.Precomputed.Qinv = qInv
	std.Precompute()
	if std.Validate() != nil {
		return nil, ErrKey
	}
	k := &RSAPrivateKey{pub: *pub, std: std}
	for _, m := range []struct {
		v   *big.Int
		out **Modulus
	}{{p, &k.p}, {q, &k.q}, {pub.std.N, &k.n}} {
		md, err := NewModulus(m.v)
		if err != nil {
			return nil, ErrKey
		}
		*m.out = md
	}
	return k, nil
}

// Public returns the public half.
func (k *RSAPrivateKey) Public() *RSAPublicKey { return &k.pub }

// Prime returns the prime that a TPM stores as the sensitive value, with half
// the modulus' size.
func (k *RSAPrivateKey) Prime() []byte {
	return k.std.Primes[0].FillBytes(make([]byte, k.pub.Size()/2))
}

// RawEncrypt is RSAEP (P1 B.2): m^e mod n with Size bytes. ErrSize when m is
// longer than the modulus, ErrValue when its value is not below it.
func (k *RSAPublicKey) RawEncrypt(m []byte) ([]byte, error) {
	m, ok := pad(m, k.Size())
	if !ok {
		return nil, ErrSize
	}
	x := new(big.Int).SetBytes(m)
	if x.Cmp(k.std.N) >= 0 {
		return nil, ErrValue
	}
	md, err := NewModulus(k.std.N)
	if err != nil {
		return nil, ErrKey
	}
	z, err := md.SetBytes(m)
	if err != nil {
		return nil, ErrValue
	}
	md.ExpPublic(z, z, uint(k.std.E))
	return md.Bytes(z), nil
}

// RawDecrypt is RSADP (P1 B.3): c^d mod n with Size bytes, by CRT in constant
// time, with the two halves on two processors where there are two. crypto/rsa
// does not offer it. The result is checked with the public exponent, so that a
// miscomputation (a fault, a key with composite factors) does not leave the
// TPM. Errors as RawEncrypt, and ErrDecrypt.
func (k *RSAPrivateKey) RawDecrypt(c []byte) ([]byte, error) {
	c, ok := pad(c, k.pub.Size())
	if !ok {
		return nil, ErrSize
	}
	cn, err := k.n.SetBytes(c)
	if err != nil {
		return nil, ErrValue
	}
	var m1, m2 []uint64
	both(func() { m1 = power(k.p, c, k.std.Precomputed.Dp) }, func() { m2 = power(k.q, c, k.std.Precomputed.Dq) })
	// m = m2 + q * (qInv * (m1 - m2) mod p), which is below n.
	h := k.p.Reduce(k.q.Bytes(m2))
	k.p.Sub(h, m1, h)
	k.p.Mul(h, h, k.p.Reduce(k.std.Precomputed.Qinv.Bytes()))
	m := k.n.Reduce(k.p.Bytes(h))
	k.n.Mul(m, m, k.n.Reduce(k.std.Primes[1].Bytes()))
	k.n.Add(m, m, k.n.Reduce(k.q.Bytes(m2)))
	check := k.n.New()
	k.n.ExpPublic(check, m, uint(k.pub.std.E))
	if subtle.ConstantTimeCompare(k.n.Bytes(check), k.n.Bytes(cn)) != 1 {
		return nil, ErrDecrypt
	}
	return k.n.Bytes(m), nil
}

// power returns c^d modulo a prime of the key.
func power(prime *Modulus, c []byte, d *big.Int) []uint64 {
	x := prime.Reduce(c)
	prime.Exp(x, x, d.FillBytes(make([]byte, prime.Size())))
	return x
}
