package store

// bitmap counts the bits set in it.
type bitmap struct {
	words []uint64
	size  uint32
	count uint32
}

func newBitmap(n uint32) bitmap { return bitmap{words: make([]uint64, (n+63)/64), size: n} }

func (b *bitmap) has(i uint32) bool { return b.words[i/64]>>(i%64)&1 != 0 }

// set sets bit i; false if it was set or is out of range.
func (b *bitmap) set(i uint32) bool {
	if i >= b.size || b.has(i) {
		return false
	}
	b.words[i/64] |= 1 << (i % 64)
	b.count++
	return true
}

func (b *bitmap) clear(i uint32) {
	if b.has(i) {
		b.words[i/64] &^= 1 << (i % 64)
		b.count--
	}
}
