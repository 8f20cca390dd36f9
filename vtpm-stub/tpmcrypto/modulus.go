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

// NewModulus prepares a modulus, which must be odd, at least 3 and below
// 2^2048; anything else gives ErrValue.
func NewModulus(m *big.Int) (*Modulus, error) {
	if m.Sign() <= 0 || m.Bit(0) == 0 || m.BitLen() < 2 || m.BitLen() > 64*maxLimbs {
		return nil, ErrValue
	}
	n := (m.BitLen() + 63) / 64
	md := &Modulus{bytes: (m.BitLen() + 7) / 8, bits: m.BitLen()}
	md.m = limbs(m, n)
	r := new(big.Int).Lsh(big.NewInt(1), uint(64*n))
	md.one = limbs(new(big.Int).Mod(r, m), n)
	md.rr = limbs(new(big.Int).Mod(new(big.Int).Mul(r, r), m), n)
	md.n0 = negInverse(md.m[0])
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
	x = x[:len(z)]
	for i := range z {
		z[i] ^= mask & (z[i] ^ x[i])
	}
}

// maxLimbs is enough for the primes of a 4096-bit RSA modulus.
const maxLimbs = 32

// Add sets z = x + y. Arguments may be the same slice.
func (md *Modulus) Add(z, x, y []uint64) {
	if len(md.m) == 4 {
		md.add4((*[4]uint64)(z), (*[4]uint64)(x), (*[4]uint64)(y))
		return
	}
	var buf [maxLimbs]uint64
	t := buf[:len(md.m)]
	var c uint64
	for i := range z {
		z[i], c = bits.Add64(x[i], y[i], c)
	}
	b := sub(t, z, md.m)
	choose(z, t, -(c | (1 ^ b)))
}

// add4 is Add for four limbs.
func (md *Modulus) add4(z, x, y *[4]uint64) {
	t0, c := bits.Add64(x[0], y[0], 0)
	t1, c := bits.Add64(x[1], y[1], c)
	t2, c := bits.Add64(x[2], y[2], c)
	t3, c := bits.Add64(x[3], y[3], c)
	md.subOnce(z, t0, t1, t2, t3, c)
}

// subOnce sets z to the five limbs t, which are less than twice the modulus, less
// the modulus where they are not smaller.
func (md *Modulus) subOnce(z *[4]uint64, t0, t1, t2, t3, t4 uint64) {
	m := (*[4]uint64)(md.m)
	r0, b := bits.Sub64(t0, m[0], 0)
	r1, b := bits.Sub64(t1, m[1], b)
	r2, b := bits.Sub64(t2, m[2], b)
	r3, b := bits.Sub64(t3, m[3], b)
	_, b = bits.Sub64(t4, 0, b)
	keep := -b // all ones where t was smaller
	z[0] = r0 ^ keep&(r0^t0)
	z[1] = r1 ^ keep&(r1^t1)
	z[2] = r2 ^ keep&(r2^t2)
	z[3] = r3 ^ keep&(r3^t3)
}

// Sub sets z = x - y. Arguments may be the same slice.
func (md *Modulus) Sub(z, x, y []uint64) {
	if len(md.m) == 4 {
		md.sub4((*[4]uint64)(z), (*[4]uint64)(x), (*[4]uint64)(y))
		return
	}
	mask := -sub(z, x, y)
	var c uint64
	for i := range z {
		z[i], c = bits.Add64(z[i], md.m[i]&mask, c)
	}
}

// sub4 is Sub for four limbs.
func (md *Modulus) sub4(z, x, y *[4]uint64) {
	m := (*[4]uint64)(md.m)
	t0, b := bits.Sub64(x[0], y[0], 0)
	t1, b := bits.Sub64(x[1], y[1], b)
	t2, b := bits.Sub64(x[2], y[2], b)
	t3, b := bits.Sub64(x[3], y[3], b)
	mask := -b // all ones where x was smaller
	t0, c := bits.Add64(t0, m[0]&mask, 0)
	t1, c = bits.Add64(t1, m[1]&mask, c)
	t2, c = bits.Add64(t2, m[2]&mask, c)
	t3, _ = bits.Add64(t3, m[3]&mask, c)
	z[0], z[1], z[2], z[3] = t0, t1, t2, t3
}

// montMul sets z = x*y/R. Arguments may be the same slice.
func (md *Modulus) montMul(z, x, y []uint64) {
	switch len(md.m) {
	case 4:
		md.montMul4((*[4]uint64)(z), (*[4]uint64)(x), (*[4]uint64)(y))
		return
	case 16:
		md.montMul16(z, (*[16]uint64)(x), (*[16]uint64)(y))
		return
	}
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

// montMul4 is montMul for four limbs, the size of most curves, in registers.
func (md *Modulus) montMul4(z, x, y *[4]uint64) {
	m := (*[4]uint64)(md.m)
	var t0, t1, t2, t3, t4 uint64
	for _, v := range x {
		var c, q, over, top uint64
		t0, c = mulAdd(y[0], v, t0, 0)
		t1, c = mulAdd(y[1], v, t1, c)
		t2, c = mulAdd(y[2], v, t2, c)
		t3, c = mulAdd(y[3], v, t3, c)
		t4, top = bits.Add64(t4, c, 0)
		q = t0 * md.n0
		_, c = mulAdd(m[0], q, t0, 0)
		t0, c = mulAdd(m[1], q, t1, c)
		t1, c = mulAdd(m[2], q, t2, c)
		t2, c = mulAdd(m[3], q, t3, c)
		t3, over = bits.Add64(t4, c, 0)
		t4 = top + over
	}
	md.subOnce(z, t0, t1, t2, t3, t4)
}

// montMul16 is montMul for 16 limbs, the size of the primes of 2048-bit keys.
func (md *Modulus) montMul16(z []uint64, x, y *[16]uint64) {
	var t [17]uint64
	m := (*[16]uint64)(md.m)
	for _, k := range x {
		montRow16(&t, y, m, k, md.n0)
	}
	b := sub(z, t[:16], md.m)
	// Keep t where it was smaller than m and nothing was carried out.
	choose(z, t[:16], -(b & (1 ^ t[16])))
}

// montRow16 sets t = (t + x*k + m*q)/2^64, q being what makes it divisible.
func montRow16(t *[17]uint64, x, m *[16]uint64, k, n0 uint64) {
	lo, c := mulAdd(x[0], k, t[0], 0)
	q := lo * n0
	_, d := mulAdd(m[0], q, lo, 0)
	lo, c = mulAdd(x[1], k, t[1], c)
	t[0], d = mulAdd(m[1], q, lo, d)
	lo, c = mulAdd(x[2], k, t[2], c)
	t[1], d = mulAdd(m[2], q, lo, d)
	lo, c = mulAdd(x[3], k, t[3], c)
	t[2], d = mulAdd(m[3], q, lo, d)
	lo, c = mulAdd(x[4], k, t[4], c)
	t[3], d = mulAdd(m[4], q, lo, d)
	lo, c = mulAdd(x[5], k, t[5], c)
	t[4], d = mulAdd(m[5], q, lo, d)
	lo, c = mulAdd(x[6], k, t[6], c)
	t[5], d = mulAdd(m[6], q, lo, d)
	lo, c = mulAdd(x[7], k, t[7], c)
	t[6], d = mulAdd(m[7], q, lo, d)
	lo, c = mulAdd(x[8], k, t[8], c)
	t[7], d = mulAdd(m[8], q, lo, d)
	lo, c = mulAdd(x[9], k, t[9], c)
	t[8], d = mulAdd(m[9], q, lo, d)
	lo, c = mulAdd(x[10], k, t[10], c)
	t[9], d = mulAdd(m[10], q, lo, d)
	lo, c = mulAdd(x[11], k, t[11], c)
	t[10], d = mulAdd(m[11], q, lo, d)
	lo, c = mulAdd(x[12], k, t[12], c)
	t[11], d = mulAdd(m[12], q, lo, d)
	lo, c = mulAdd(x[13], k, t[13], c)
	t[12], d = mulAdd(m[13], q, lo, d)
	lo, c = mulAdd(x[14], k, t[14], c)
	t[13], d = mulAdd(m[14], q, lo, d)
	lo, c = mulAdd(x[15], k, t[15], c)
	t[14], d = mulAdd(m[15], q, lo, d)
	t[15], lo = bits.Add64(t[16], c, 0)
	t[15], c = bits.Add64(t[15], d, 0)
	t[16] = lo + c
}

// mulAdd returns x*y + a + c, which fits two limbs.
func mulAdd(x, y, a, c uint64) (lo, hi uint64) {
	var carry uint64
	hi, lo = bits.Mul64(x, y)
	lo, carry = bits.Add64(lo, a, 0)
	hi, _ = bits.Add64(hi, 0, carry)
	lo, carry = bits.Add64(lo, c, 0)
	hi, _ = bits.Add64(hi, 0, carry)
	return lo, hi
}

// addMul adds y*k to z and returns the carry limb.
func addMul(z, y []uint64, k uint64) (c uint64) {
	for len(y) >= 8 && len(z) >= 8 {
		c = addMul8((*[8]uint64)(z), (*[8]uint64)(y), k, c)
		z, y = z[8:], y[8:]
	}
	z = z[:len(y)]
	for i := range y {
		z[i], c = mulAdd(y[i], k, z[i], c)
	}
	return c
}

// addMul8 adds y*k + c to z and returns the carry limb.
func addMul8(z, y *[8]uint64, k, c uint64) uint64 {
	z[0], c = mulAdd(y[0], k, z[0], c)
	z[1], c = mulAdd(y[1], k, z[1], c)
	z[2], c = mulAdd(y[2], k, z[2], c)
	z[3], c = mulAdd(y[3], k, z[3], c)
	z[4], c = mulAdd(y[4], k, z[4], c)
	z[5], c = mulAdd(y[5], k, z[5], c)
	z[6], c = mulAdd(y[6], k, z[6], c)
	z[7], c = mulAdd(y[7], k, z[7], c)
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

// expMont sets z = x^e in Montgomery form, for a big-endian exponent whose length is
// public and whose value is secret: fixed windows of four bits, each table
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
