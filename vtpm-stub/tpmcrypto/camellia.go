package tpmcrypto

import (
	"encoding/binary"
	"math/bits"
)

// camellia is the block cipher of RFC 3713 with 128, 192 and 256-bit keys.
// Substitution reads the whole table for every byte, so that no memory access
// depends on a secret; a block takes a few microseconds.
type camellia struct {
	kw     [4]uint64 // whitening: kw1 to kw4
	k      [24]uint64
	ke     [6]uint64
	rounds int // 18 or 24
}

// newCamellia expands a key, whose length the caller has checked.
func newCamellia(key []byte) *camellia {
	kl := [2]uint64{binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(key[8:])}
	var kr [2]uint64
	switch len(key) {
	case 24:
		kr[0] = binary.BigEndian.Uint64(key[16:])
		kr[1] = ^kr[0]
	case 32:
		kr = [2]uint64{binary.BigEndian.Uint64(key[16:]), binary.BigEndian.Uint64(key[24:])}
	}
	ka, kb := camelliaDerive(kl, kr)
	c := &camellia{rounds: 24}
	if len(key) == 16 {
		c.rounds = 18
		c.schedule128(kl, ka)
	} else {
		c.schedule256(kl, kr, ka, kb)
	}
	return c
}

// camelliaDerive is the computation of KA and KB (RFC 3713, 2.2).
func camelliaDerive(kl, kr [2]uint64) (ka, kb [2]uint64) {
	d1, d2 := kl[0]^kr[0], kl[1]^kr[1]
	d2 ^= camelliaF(d1, 0xA09E667F3BCC908B)
	d1 ^= camelliaF(d2, 0xB67AE8584CAA73B2)
	d1, d2 = d1^kl[0], d2^kl[1]
	d2 ^= camelliaF(d1, 0xC6EF372FE94F82BE)
	d1 ^= camelliaF(d2, 0x54FF53A5F1D36F1C)
	ka = [2]uint64{d1, d2}
	d1, d2 = d1^kr[0], d2^kr[1]
	d2 ^= camelliaF(d1, 0x10E527FADE682D1D)
	d1 ^= camelliaF(d2, 0xB05688C2B3E6C1FD)
	return ka, [2]uint64{d1, d2}
}

// pair writes k <<< n (as 128 bits) into two subkeys; nil drops a half.
func pair(k [2]uint64, n uint, hi, lo *uint64) {
	h, l := k[0], k[1]
	if n >= 64 {
		h, l, n = l, h, n-64
	}
	if hi != nil {
		*hi = h<<n | l>>(64-n)
	}
	if lo != nil {
		*lo = l<<n | h>>(64-n)
	}
}

func (c *camellia) schedule128(kl, ka [2]uint64) {
	pair(kl, 0, &c.kw[0], &c.kw[1])
	pair(ka, 0, &c.k[0], &c.k[1])
	pair(kl, 15, &c.k[2], &c.k[3])
	pair(ka, 15, &c.k[4], &c.k[5])
	pair(ka, 30, &c.ke[0], &c.ke[1])
	pair(kl, 45, &c.k[6], &c.k[7])
	pair(ka, 45, &c.k[8], nil)
	pair(kl, 60, nil, &c.k[9])
	pair(ka, 60, &c.k[10], &c.k[11])
	pair(kl, 77, &c.ke[2], &c.ke[3])
	pair(kl, 94, &c.k[12], &c.k[13])
	pair(ka, 94, &c.k[14], &c.k[15])
	pair(kl, 111, &c.k[16], &c.k[17])
	pair(ka, 111, &c.kw[2], &c.kw[3])
}

func (c *camellia) schedule256(kl, kr, ka, kb [2]uint64) {
	pair(kl, 0, &c.kw[0], &c.kw[1])
	pair(kb, 0, &c.k[0], &c.k[1])
	pair(kr, 15, &c.k[2], &c.k[3])
	pair(ka, 15, &c.k[4], &c.k[5])
	pair(kr, 30, &c.ke[0], &c.ke[1])
	pair(kb, 30, &c.k[6], &c.k[7])
	pair(kl, 45, &c.k[8], &c.k[9])
	pair(ka, 45, &c.k[10], &c.k[11])
	pair(kl, 60, &c.ke[2], &c.ke[3])
	pair(kr, 60, &c.k[12], &c.k[13])
	pair(kb, 60, &c.k[14], &c.k[15])
	pair(kl, 77, &c.k[16], &c.k[17])
	pair(ka, 77, &c.ke[4], &c.ke[5])
	pair(kr, 94, &c.k[18], &c.k[19])
	pair(ka, 94, &c.k[20], &c.k[21])
	pair(kl, 111, &c.k[22], &c.k[23])
	pair(kb, 111, &c.kw[2], &c.kw[3])
}

// BlockSize implements cipher.Block.
func (c *camellia) BlockSize() int { return 16 }

// Encrypt implements cipher.Block.
func (c *camellia) Encrypt(dst, src []byte) {
	d1 := binary.BigEndian.Uint64(src) ^ c.kw[0]
	d2 := binary.BigEndian.Uint64(src[8:]) ^ c.kw[1]
	for i := 0; i < c.rounds; i += 2 {
		if i > 0 && i%6 == 0 {
			d1 = camelliaFL(d1, c.ke[i/3-2])
			d2 = camelliaFLInv(d2, c.ke[i/3-1])
		}
		d2 ^= camelliaF(d1, c.k[i])
		d1 ^= camelliaF(d2, c.k[i+1])
	}
	binary.BigEndian.PutUint64(dst, d2^c.kw[2])
	binary.BigEndian.PutUint64(dst[8:], d1^c.kw[3])
}

// Decrypt implements cipher.Block: the same with all subkeys in reverse.
func (c *camellia) Decrypt(dst, src []byte) {
	d1 := binary.BigEndian.Uint64(src) ^ c.kw[2]
	d2 := binary.BigEndian.Uint64(src[8:]) ^ c.kw[3]
	for i := c.rounds; i > 0; i -= 2 {
		if i < c.rounds && i%6 == 0 {
			d1 = camelliaFL(d1, c.ke[i/3-1])
			d2 = camelliaFLInv(d2, c.ke[i/3-2])
		}
		d2 ^= camelliaF(d1, c.k[i-1])
		d1 ^= camelliaF(d2, c.k[i-2])
	}
	binary.BigEndian.PutUint64(dst, d2^c.kw[0])
	binary.BigEndian.PutUint64(dst[8:], d1^c.kw[1])
}

func camelliaFL(x, k uint64) uint64 {
	x1, x2 := uint32(x>>32), uint32(x)
	x2 ^= bits.RotateLeft32(x1&uint32(k>>32), 1)
	x1 ^= x2 | uint32(k)
	return uint64(x1)<<32 | uint64(x2)
}

func camelliaFLInv(y, k uint64) uint64 {
	y1, y2 := uint32(y>>32), uint32(y)
	y1 ^= y2 | uint32(k)
	y2 ^= bits.RotateLeft32(y1&uint32(k>>32), 1)
	return uint64(y1)<<32 | uint64(y2)
}

// camelliaF is the round function (RFC 3713, 2.4.1).
func camelliaF(x, k uint64) uint64 {
	x ^= k
	t1 := camelliaS1(byte(x >> 56))
	t2 := bits.RotateLeft8(camelliaS1(byte(x>>48)), 1)
	t3 := bits.RotateLeft8(camelliaS1(byte(x>>40)), 7)
	t4 := camelliaS1(bits.RotateLeft8(byte(x>>32), 1))
	t5 := bits.RotateLeft8(camelliaS1(byte(x>>24)), 1)
	t6 := bits.RotateLeft8(camelliaS1(byte(x>>16)), 7)
	t7 := camelliaS1(bits.RotateLeft8(byte(x>>8), 1))
	t8 := camelliaS1(byte(x))
	return uint64(t1^t3^t4^t6^t7^t8)<<56 | uint64(t1^t2^t4^t5^t7^t8)<<48 |
		uint64(t1^t2^t3^t5^t6^t8)<<40 | uint64(t2^t3^t4^t5^t6^t7)<<32 |
		uint64(t1^t2^t6^t7^t8)<<24 | uint64(t2^t3^t5^t7^t8)<<16 |
		uint64(t3^t4^t5^t6^t8)<<8 | uint64(t1^t4^t5^t6^t7)
}

// camelliaS1 is SBOX1[x], read eight entries at a time.
func camelliaS1(x byte) byte {
	var word uint64
	for i := range 32 {
		// All ones where i is the word that holds x.
		diff := uint64(i) ^ uint64(x>>3)
		word |= binary.LittleEndian.Uint64(camelliaSBox[8*i:]) & (((diff - 1) &^ diff) >> 63 * ^uint64(0))
	}
	return byte(word >> (8 * (x & 7)))
}

var camelliaSBox = [256]byte{
	112, 130, 44, 236, 179, 39, 192, 229, 228, 133, 87, 53, 234, 12, 174, 65,
	35, 239, 107, 147, 69, 25, 165, 33, 237, 14, 79, 78, 29, 101, 146, 189,
	134, 184, 175, 143, 124, 235, 31, 206, 62, 48, 220, 95, 94, 197, 11, 26,
	166, 225, 57, 202, 213, 71, 93, 61, 217, 1, 90, 214, 81, 86, 108, 77,
	139, 13, 154, 102, 251, 204, 176, 45, 116, 18, 43, 32, 240, 177, 132, 153,
	223, 76, 203, 194, 52, 126, 118, 5, 109, 183, 169, 49, 209, 23, 4, 215,
	20, 88, 58, 97, 222, 27, 17, 28, 50, 15, 156, 22, 83, 24, 242, 34,
	254, 68, 207, 178, 195, 181, 122, 145, 36, 8, 232, 168, 96, 252, 105, 80,
	170, 208, 160, 125, 161, 137, 98, 151, 84, 91, 30, 149, 224, 255, 100, 210,
	16, 196, 0, 72, 163, 247, 117, 219, 138, 3, 230, 218, 9, 63, 221, 148,
	135, 92, 131, 2, 205, 74, 144, 51, 115, 103, 246, 243, 157, 127, 191, 226,
	82, 155, 216, 38, 200, 55, 198, 59, 129, 150, 111, 75, 19, 190, 99, 46,
	233, 121, 167, 140, 159, 110, 188, 142, 41, 245, 249, 182, 47, 253, 180, 89,
	120, 152, 6, 106, 231, 70, 113, 186, 212, 37, 171, 66, 136, 162, 141, 250,
	114, 7, 185, 85, 248, 238, 172, 10, 54, 73, 42, 104, 60, 56, 241, 164,
	64, 40, 211, 123, 187, 201, 67, 193, 21, 227, 173, 244, 119, 199, 128, 158,
}
