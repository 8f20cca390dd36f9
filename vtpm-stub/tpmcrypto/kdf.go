package tpmcrypto

import "encoding/binary"

// maxKDFBits bounds one derivation. The longest that the specification asks
// for is 8192 bits (P1 28.4).
const maxKDFBits = 1 << 16

func checkKDFBits(bits int) {
	if bits < 0 || bits > maxKDFBits {
		panic("tpmcrypto: internal error: KDF length")
	}
}

// KDFa is P1 11.4.10.2, the counter mode of 108 with HMAC. The result has
// (bits+7)/8 bytes; when bits is not a multiple of 8 the unused high bits of
// the first byte are clear. A zero byte follows the label unless it ends with
// one. It panics when a is not a supported hash or bits exceeds 65536.
func KDFa(a Alg, key []byte, label string, contextU, contextV []byte, bits int) []byte {
	var s Hasher
	return s.KDFa(a, nil, key, label, contextU, contextV, bits)
}

// KDFa appends the derived bytes to dst; see the function KDFa.
func (s *Hasher) KDFa(a Alg, dst, key []byte, label string, contextU, contextV []byte, bits int) []byte {
	checkKDFBits(bits)
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(bits))
	return s.counterKDF(a, dst, key, bits, terminated(label), contextU, contextV, length[:])
}

// counterKDF is 108 4.1 with a 32-bit counter before the fixed input data, in
// four parts.
func (s *Hasher) counterKDF(a Alg, dst, key []byte, bits int, f1, f2, f3, f4 []byte) []byte {
	start := len(dst)
	var ctr [4]byte
	for i := uint32(1); len(dst)-start < (bits+7)/8; i++ {
		binary.BigEndian.PutUint32(ctr[:], i)
		dst = s.HMAC(a, dst, key, ctr[:], f1, f2, f3, f4)
	}
	return trimKDF(dst, start, bits)
}

// KDFe is P1 11.4.10.3, the concatenation KDF of 56A: z is the x-coordinate of
// the shared point, padded to the curve's size, partyU that of the ephemeral
// and partyV that of the static public key. The use string is terminated with
// a zero byte. It panics as KDFa does.
func KDFe(a Alg, z []byte, use string, partyU, partyV []byte, bits int) []byte {
	checkKDFBits(bits)
	var s Hasher
	var dst []byte
	lab := terminated(use)
	for i := uint32(1); len(dst) < (bits+7)/8; i++ {
		ctr := binary.BigEndian.AppendUint32(nil, i)
		dst = s.Sum(a, dst, ctr, z, lab, partyU, partyV)
	}
	return trimKDF(dst, 0, bits)
}

func terminated(label string) []byte {
	if label == "" || label[len(label)-1] != 0 {
		label += "\x00"
	}
	return []byte(label)
}

// trimKDF cuts dst to bits behind start and clears the unused high bits.
func trimKDF(dst []byte, start, bits int) []byte {
	dst = dst[:start+(bits+7)/8]
	if r := bits % 8; r != 0 {
		dst[start] &= 1<<r - 1
	}
	return dst
}

// MGF1 XORs the mask generation function of 8017 B.2.1 over seed into out.
func MGF1(a Alg, out, seed []byte) {
	var s Hasher
	var buf [MaxDigestSize]byte
	var ctr [4]byte
	for i := uint32(0); len(out) > 0; i++ {
		binary.BigEndian.PutUint32(ctr[:], i)
		out = out[xorBytes(out, s.Sum(a, buf[:0], seed, ctr[:])):]
	}
}

// XORObfuscate is P1 11.4.7.3: it XORs KDFa(key, "XOR", contextU, contextV)
// into data. Applied twice it restores data.
func XORObfuscate(a Alg, data, key, contextU, contextV []byte) {
	xorBytes(data, KDFa(a, key, "XOR", contextU, contextV, len(data)*8))
}

// xorBytes XORs src into dst and returns how many bytes it did.
func xorBytes(dst, src []byte) int {
	n := min(len(dst), len(src))
	for i := range n {
		dst[i] ^= src[i]
	}
	return n
}
