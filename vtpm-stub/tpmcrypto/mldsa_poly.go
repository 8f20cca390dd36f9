package tpmcrypto

import "sync"

// Arithmetic in Z_q[X]/(X^256+1) for the verification of ML-DSA signatures. All
// of it is about public values: it need not run in constant time. What has
// secrets, key generation and signing, is filippo.io/mldsa's.

// mlQ is the prime q of 204.
const mlQ = 8380417

// mlPoly holds coefficients in [0, q).
type mlPoly [256]uint32

func mlMul(a, b uint32) uint32 { return uint32(uint64(a) * uint64(b) % mlQ) }
func mlAdd(a, b uint32) uint32 { return (a + b) % mlQ }
func mlSub(a, b uint32) uint32 { return (a + mlQ - b) % mlQ }

// mlZetas is 1753^BitRev8(i) mod q (204 appendix B).
var mlZetas = sync.OnceValue(func() *mlPoly {
	var z mlPoly
	power := uint32(1)
	for i := range 256 {
		rev := 0
		for b := range 8 {
			rev |= i >> b & 1 << (7 - b)
		}
		z[rev] = power
		power = mlMul(power, 1753)
	}
	return &z
})

// ntt is 204 algorithm 41.
func (p *mlPoly) ntt() {
	zetas, m := mlZetas(), 0
	for n := 128; n >= 1; n /= 2 {
		for start := 0; start < 256; start += 2 * n {
			m++
			for j := start; j < start+n; j++ {
				t := mlMul(zetas[m], p[j+n])
				p[j], p[j+n] = mlAdd(p[j], t), mlSub(p[j], t)
			}
		}
	}
}

// inverseNTT is 204 algorithm 42.
func (p *mlPoly) inverseNTT() {
	zetas, m := mlZetas(), 256
	for n := 1; n < 256; n *= 2 {
		for start := 0; start < 256; start += 2 * n {
			m--
			for j := start; j < start+n; j++ {
				t := p[j]
				p[j] = mlAdd(t, p[j+n])
				p[j+n] = mlMul(mlQ-zetas[m], mlSub(t, p[j+n]))
			}
		}
	}
	for j := range p {
		p[j] = mlMul(p[j], 8347681) // 256^-1
	}
}

// addProduct adds a*b, all in the domain of the NTT.
func (p *mlPoly) addProduct(a, b *mlPoly) {
	for j := range p {
		p[j] = mlAdd(p[j], mlMul(a[j], b[j]))
	}
}

// subProduct subtracts a*b, all in the domain of the NTT.
func (p *mlPoly) subProduct(a, b *mlPoly) {
	for j := range p {
		p[j] = mlSub(p[j], mlMul(a[j], b[j]))
	}
}

// unpackBits reads 256 integers of some bits each, least significant bit first.
func unpackBits(b []byte, bits uint) (p mlPoly) {
	var buf uint64
	var have uint
	for j := range p {
		for ; have < bits; have += 8 {
			buf |= uint64(b[0]) << have
			b = b[1:]
		}
		p[j] = uint32(buf & (1<<bits - 1))
		buf >>= bits
		have -= bits
	}
	return p
}

// packBits reverses unpackBits and appends.
func packBits(dst []byte, p *mlPoly, bits uint) []byte {
	var buf uint64
	var have uint
	for _, v := range p {
		buf |= uint64(v) << have
		for have += bits; have >= 8; have -= 8 {
			dst = append(dst, byte(buf))
			buf >>= 8
		}
	}
	return dst
}
