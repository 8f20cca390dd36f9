package tpmcrypto

import (
	"crypto/rsa"
	"errors"
	"math/big"
	"sync"

	"filippo.io/bigmod"
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
type RSAPublicKey struct {
	std rsa.PublicKey
	n   func() *bigmod.Modulus // made at the first use
}

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
	k := &RSAPublicKey{std: rsa.PublicKey{N: new(big.Int).SetBytes(n), E: exp}}
	k.n = sync.OnceValue(func() *bigmod.Modulus {
		m, err := bigmod.NewModulus(k.Modulus())
		if err != nil {
			panic("tpmcrypto: internal error: a modulus of one or less")
		}
		return m
	})
	return k, nil
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
	pub    RSAPublicKey
	std    *rsa.PrivateKey
	p, q   *bigmod.Modulus
	dp, dq []byte      // d modulo p-1 and q-1
	qInv   *bigmod.Nat // q^-1 modulo p
	qn     *bigmod.Nat // q modulo n
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
	size := (p.BitLen() + 7) / 8
	k.dp, k.dq = std.Precomputed.Dp.FillBytes(make([]byte, size)), std.Precomputed.Dq.FillBytes(make([]byte, size))
	var errs [3]error
	if k.p, errs[0] = bigmod.NewModulus(p.Bytes()); errs[0] == nil {
		k.qInv, errs[1] = bigmod.NewNat().SetBytes(qInv.FillBytes(make([]byte, size)), k.p)
	}
	if k.q, errs[2] = bigmod.NewModulus(q.Bytes()); errors.Join(errs[:]...) != nil {
		return nil, ErrKey
	}
	k.qn = bigmod.NewNat().Mod(k.q.Nat(), pub.n())
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
	x, err := bigmod.NewNat().SetBytes(m, k.n())
	if err != nil {
		return nil, ErrValue
	}
	return k.power(x).Bytes(k.n()), nil
}

// power returns x^e mod n.
func (k *RSAPublicKey) power(x *bigmod.Nat) *bigmod.Nat {
	return bigmod.NewNat().ExpShortVarTime(x, uint(k.std.E), k.n())
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
	n := k.pub.n()
	x, err := bigmod.NewNat().SetBytes(c, n)
	if err != nil {
		return nil, ErrValue
	}
	m, m2 := bigmod.NewNat(), bigmod.NewNat()
	both(func() { m.Exp(bigmod.NewNat().Mod(x, k.p), k.dp, k.p) },
		func() { m2.Exp(bigmod.NewNat().Mod(x, k.q), k.dq, k.q) })
	// m = m2 + q * (qInv * (m1 - m2) mod p), which is below n.
	m.Sub(bigmod.NewNat().Mod(m2, k.p), k.p).Mul(k.qInv, k.p)
	m.ExpandFor(n).Mul(k.qn, n).Add(m2.ExpandFor(n), n)
	if k.pub.power(m).Equal(x) != 1 {
		return nil, ErrDecrypt
	}
	return m.Bytes(n), nil
}
