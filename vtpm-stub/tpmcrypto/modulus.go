package tpmcrypto

import (
	"crypto/subtle"
	"math/big"
	"math/bits"
)

// Modulus is constant-time arithmetic modulo a public odd number. Values are
// slices of Len limbs, least significant first, always reduced. The running
// time depends on the modulus and never on a value.
type Modulus struct {
	m     []uint64
	n0    uint64   // -m^-1 mod 2^64
	rr    []uint64 // R^2 mod m, R = 2^(64 Len)
	one   []uint64 // R mod m
	bytes int
	bits  int
}

// NewModulus prepares a modulus, which must be odd and at least 3; anything
// else gives ErrValue.
func NewModulus(m *big.Int) (*Modulus, error) {
	if m.Sign() <= 0 || m.Bit(0) == 0 || m.BitLen() < 2 {
		return nil, ErrValue
	}
	n := (m.BitLen() + 63) / 64
	md := &Modulus{bytes: (m.BitLen() + 7) / 8, bits: m.BitLen()}
	md.m = limbs(m, n)
	r := new(big.Int).Lsh(big.NewInt(1), uint(64*n))
	md.one = limbs(new(big.Int).Mod(r, m), n)
	md.rr = limbs(new(big.Int).Mod(new(big.Int).Mul(r, r), m), n)
	// Newton's iteration doubles the correct bits: 3 -> 6 -> ... -> 96.
	inv := md.m[0]
	for range 5 {
		inv *= 2 - md.m[0]*inv
	}
	md.n0 = -inv
	return md, nil
}

// limbs writes a public number as n limbs.
func limbs(x *big.Int, n int) []uint64 {
	out := make([]uint64, n)
	setBytes(out, x.Bytes())
	return out
}

// setBytes reads big-endian bytes; what does not fit is dropped.
func setBytes(out []uint64, b []byte) {
	clear(out)
	for i := range b {
		if l := i / 8; l < len(out) {
			out[l] |= uint64(b[len(b)-1-i]) << (8 * (i % 8))
		}
	}
}

// New returns zero.
func (md *Modulus) New() []uint64 { return make([]uint64, len(md.m)) }

// Size returns the length of the modulus in bytes.
func (md *Modulus) Size() int { return md.bytes }

// BitLen returns the length of the modulus in bits.
func (md *Modulus) BitLen() int { return md.bits }

// SetBytes reads a big-endian number of at most Size bytes that must be less
// than the modulus. Whether it is, becomes public.
func (md *Modulus) SetBytes(b []byte) ([]uint64, error) {
	if len(b) > md.bytes {
		return nil, ErrValue
	}
	x, t := md.New(), md.New()
	setBytes(x, b)
	if sub(t, x, md.m) == 0 {
		return nil, ErrValue
	}
	return x, nil
}

// Reduce reads a big-endian number of any length modulo the modulus.
func (md *Modulus) Reduce(b []byte) []uint64 {
	acc, part := md.New(), md.New()
	step := 8 * len(md.m)
	first := len(b) % step
	for i := 0; i < len(b); {
		n := step
		if i == 0 && first != 0 {
			n = first
		}
		// acc = acc*R + part. A part may exceed the modulus; as a factor of
		// montMul it need only be less than R.
		setBytes(part, b[i:i+n])
		md.toMont(part, part)
		md.fromMont(part, part)
		md.toMont(acc, acc)
		md.Add(acc, acc, part)
		i += n
	}
	return acc
}

// Bytes writes x big-endian with Size bytes.
func (md *Modulus) Bytes(x []uint64) []byte {
	out := make([]byte, md.bytes)
	for i := range out {
		out[len(out)-1-i] = byte(x[i/8] >> (8 * (i % 8)))
	}
	return out
}

// sub sets z = x - y and returns the borrow.
func sub(z, x, y []uint64) uint64 {
	var b uint64
	for i := range z {
		z[i], b = bits.Sub64(x[i], y[i], b)
	}
	return b
}

// choose sets z = x where mask is all ones and leaves it where it is zero.
func choose(z, x []uint64, mask uint64) {
	for i := range z {
		z[i] ^= mask & (z[i] ^ x[i])
	}
}

// maxLimbs is enough for the primes of a 4096-bit RSA modulus and for the
// modulus itself.
const maxLimbs = 64

// Add sets z = x + y. Arguments may be the same slice.
func (md *Modulus) Add(z, x, y []uint64) {
	var buf [maxLimbs]uint64
	t := buf[:len(md.m)]
	var c uint64
	for i := range z {
		z[i], c = bits.Add64(x[i], y[i], c)
	}
	b := sub(t, z, md.m)
	choose(z, t, -(c | (1 ^ b)))
}

// Sub sets z = x - y. Arguments may be the same slice.
func (md *Modulus) Sub(z, x, y []uint64) {
	mask := -sub(z, x, y)
	var c uint64
	for i := range z {
		z[i], c = bits.Add64(z[i], md.m[i]&mask, c)
	}
}

// montMul sets z = x*y/R. Arguments may be the same slice.
func (md *Modulus) montMul(z, x, y []uint64) {
	var buf [2*maxLimbs + 1]uint64
	n := len(md.m)
	x, y, m := x[:n], y[:n], md.m[:n]
	t := buf[:2*n+1]
	var top uint64
	for i := range n {
		c := addMul(t[i:i+n], y, x[i])
		d := addMul(t[i:i+n], m, t[i]*md.n0)
		var carry uint64
		t[i+n], carry = bits.Add64(c, d, 0)
		t[i+n], c = bits.Add64(t[i+n], top, 0)
		top = carry + c
	}
	r := t[n : 2*n]
	b := sub(z, r, m)
	// Keep r where it was smaller than m and nothing was carried out.
	choose(z, r, -(b & (1 ^ top)))
}

// addMul adds y*k to z and returns the carry limb.
func addMul(z, y []uint64, k uint64) uint64 {
	var c uint64
	z = z[:len(y)]
	for i := range y {
		hi, lo := bits.Mul64(y[i], k)
		var cc uint64
		lo, cc = bits.Add64(lo, c, 0)
		hi += cc
		z[i], cc = bits.Add64(z[i], lo, 0)
		c = hi + cc
	}
	return c
}

// toMont and fromMont convert between x and x*R.
func (md *Modulus) toMont(z, x []uint64) { md.montMul(z, x, md.rr) }

func (md *Modulus) fromMont(z, x []uint64) {
	var buf [maxLimbs]uint64
	one := buf[:len(md.m)]
	one[0] = 1
	md.montMul(z, x, one)
}

// Mul sets z = x*y. Arguments may be the same slice.
func (md *Modulus) Mul(z, x, y []uint64) {
	t := md.New()
	md.toMont(t, x)
	md.montMul(z, t, y)
}

// Exp sets z = x^e for a big-endian exponent whose length is public and whose
// value is secret.
func (md *Modulus) Exp(z, x []uint64, e []byte) {
	t := md.New()
	md.toMont(t, x)
	md.expMont(t, t, e)
	md.fromMont(z, t)
}

// expMont is Exp on Montgomery form: fixed windows of four bits, each table
// entry read for each window.
func (md *Modulus) expMont(z, x []uint64, e []byte) {
	var table [16][]uint64
	table[0] = append([]uint64(nil), md.one...)
	for i := 1; i < len(table); i++ {
		table[i] = md.New()
		md.montMul(table[i], table[i-1], x)
	}
	acc, pick := append([]uint64(nil), md.one...), md.New()
	for _, b := range e {
		for _, w := range [...]byte{b >> 4, b & 15} {
			for range 4 {
				md.montMul(acc, acc, acc)
			}
			for i := range table {
				choose(pick, table[i], -uint64(subtle.ConstantTimeByteEq(w, byte(i))))
			}
			md.montMul(acc, acc, pick)
		}
	}
	copy(z, acc)
}

// InvPrime sets z = x^-1 for a prime modulus, by Fermat; 0 gives 0.
func (md *Modulus) InvPrime(z, x []uint64) {
	t := md.New()
	md.toMont(t, x)
	md.invMont(t, t)
	md.fromMont(z, t)
}

func (md *Modulus) invMont(z, x []uint64) { md.expMont(z, x, md.minus(2)) }

// minus returns the modulus less k as big-endian bytes, k < 2^8.
func (md *Modulus) minus(k uint64) []byte {
	t, kk := md.New(), md.New()
	kk[0] = k
	sub(t, md.m, kk)
	return md.Bytes(t)
}

// IsZero returns 1 when x is zero, else 0.
func (md *Modulus) IsZero(x []uint64) int {
	var a uint64
	for _, v := range x {
		a |= v
	}
	return int(1 ^ (a|-a)>>63)
}

// Equal returns 1 when x and y are equal, else 0.
func (md *Modulus) Equal(x, y []uint64) int {
	var a uint64
	for i := range x {
		a |= x[i] ^ y[i]
	}
	return int(1 ^ (a|-a)>>63)
}
