// Package drbg is the images' random generator: ChaCha20 with fast key
// erasure. Every output comes from a key that is overwritten before the output
// is returned, so that a later look at the state tells nothing about earlier
// output.
//
// It keeps all of its state in one struct, allocates nothing and imports
// nothing, because the Go runtime asks for random numbers before package
// initialisation has run. Where the entropy comes from is the caller's matter;
// it must Mix at least 256 bits in before the first Read.
//
// Reference: RFC 8439 (ChaCha20); D. J. Bernstein, "Fast-key-erasure
// random-number generators" (2017).
package drbg

// SeedSize is the size of what Mix takes, in bytes.
const SeedSize = 32

// DRBG is a generator. One goroutine uses it at a time.
type DRBG struct {
	key [8]uint32
}

// Mix stirs a seed into the state. A seed of poor quality does no harm: the
// new state depends on the old one as well.
func (d *DRBG) Mix(seed *[SeedSize]byte) {
	for i := range d.key {
		d.key[i] ^= le32(seed[4*i:])
	}
	var block [16]uint32
	chacha20(&block, &d.key, 0, [3]uint32{})
	copy(d.key[:], block[:8])
}

// Read fills b. Block 0 under the present key is the next key; the blocks
// after it are output.
func (d *DRBG) Read(b []byte) {
	var block [16]uint32
	old := d.key
	chacha20(&block, &old, 0, [3]uint32{})
	copy(d.key[:], block[:8])
	// The second half of block 0 serves short requests.
	b = put(b, block[8:])
	for counter := uint32(1); len(b) > 0; counter++ {
		if counter == 0 { // 256 GB in one call: start over with the next key
			d.Read(b)
			break
		}
		chacha20(&block, &old, counter, [3]uint32{})
		b = put(b, block[:])
	}
	clear(block[:])
	clear(old[:])
}

// put writes words to b, as far as it goes, and returns the rest of b.
func put(b []byte, words []uint32) []byte {
	for _, w := range words {
		for range 4 {
			if len(b) == 0 {
				return b
			}
			b[0] = byte(w)
			b, w = b[1:], w>>8
		}
	}
	return b
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// chacha20 is the block function (RFC 8439 section 2.3).
func chacha20(out *[16]uint32, key *[8]uint32, counter uint32, nonce [3]uint32) {
	in := [16]uint32{
		0x61707865, 0x3320646E, 0x79622D32, 0x6B206574,
		key[0], key[1], key[2], key[3], key[4], key[5], key[6], key[7],
		counter, nonce[0], nonce[1], nonce[2],
	}
	x := in
	for range 10 {
		quarter(&x, 0, 4, 8, 12)
		quarter(&x, 1, 5, 9, 13)
		quarter(&x, 2, 6, 10, 14)
		quarter(&x, 3, 7, 11, 15)
		quarter(&x, 0, 5, 10, 15)
		quarter(&x, 1, 6, 11, 12)
		quarter(&x, 2, 7, 8, 13)
		quarter(&x, 3, 4, 9, 14)
	}
	for i := range out {
		out[i] = x[i] + in[i]
	}
}

// quarter is the quarter round (RFC 8439 section 2.1).
func quarter(x *[16]uint32, a, b, c, d int) {
	x[a] += x[b]
	x[d] = rotl(x[d]^x[a], 16)
	x[c] += x[d]
	x[b] = rotl(x[b]^x[c], 12)
	x[a] += x[b]
	x[d] = rotl(x[d]^x[a], 8)
	x[c] += x[d]
	x[b] = rotl(x[b]^x[c], 7)
}

func rotl(v uint32, n uint) uint32 { return v<<n | v>>(32-n) }
