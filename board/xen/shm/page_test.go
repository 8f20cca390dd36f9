package shm

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
)

func TestAccess(t *testing.T) {
	p := New()
	if p.Addr()%PageSize != 0 {
		t.Errorf("New gave an unaligned page at %#x", p.Addr())
	}
	p.Store8(1, 0xAB)
	p.Store16(2, 0x1234)
	p.Store32(4, 0xDEADBEEF)
	p.Store64(8, 0x0123456789ABCDEF)
	p.Store8(4095, 0x77)
	want := []byte{0, 0xAB, 0x34, 0x12, 0xEF, 0xBE, 0xAD, 0xDE, 0xEF, 0xCD, 0xAB, 0x89, 0x67, 0x45, 0x23, 0x01}
	got := make([]byte, 16)
	if !p.CopyOut(got, 0) || !bytes.Equal(got, want) {
		t.Errorf("bytes %x, want %x", got, want)
	}
	if p.Load8(1) != 0xAB || p.Load16(2) != 0x1234 || p.Load32(4) != 0xDEADBEEF ||
		p.Load64(8) != 0x0123456789ABCDEF || p.Load8(4095) != 0x77 {
		t.Error("loads")
	}
	if p.CompareAndSwap16(2, 1, 2) || !p.CompareAndSwap16(2, 0x1234, 0x8001) || p.Load16(2) != 0x8001 {
		t.Error("CompareAndSwap16")
	}
	if p.Load8(1) != 0xAB || p.Load32(4) != 0xDEADBEEF {
		t.Error("CompareAndSwap16 touched its neighbours")
	}
	if p.CompareAndSwap32(4, 1, 2) || !p.CompareAndSwap32(4, 0xDEADBEEF, 5) || p.Load32(4) != 5 {
		t.Error("CompareAndSwap32")
	}
	if p.Swap64(8, 0xF0) != 0x0123456789ABCDEF || p.Or64(8, 0x0F) != 0xF0 || p.And64(8, 0x3C) != 0xFF || p.Load64(8) != 0x3C {
		t.Error("Swap64, Or64, And64")
	}
	p.Zero()
	if p.Load64(8) != 0 || p.Load8(4095) != 0 {
		t.Error("Zero")
	}
}

// TestCopyBounds compares copies with a plain model at every edge.
func TestCopyBounds(t *testing.T) {
	p := New()
	model := make([]byte, PageSize)
	rng := rand.New(rand.NewPCG(3, 4))
	offs := []int{-1 << 62, -1, 0, 1, 7, 8, 9, 4080, 4087, 4088, 4089, 4095, 4096, 4097, 1 << 62}
	sizes := []int{0, 1, 2, 7, 8, 9, 15, 16, 17, 4095, 4096, 4097}
	for _, off := range offs {
		for _, n := range sizes {
			src := make([]byte, n)
			for i := range src {
				src[i] = byte(rng.Uint32())
			}
			fits := off >= 0 && off <= PageSize && n <= PageSize-off
			if p.CopyIn(off, src) != fits {
				t.Errorf("CopyIn(%d, %d bytes) is not %v", off, n, fits)
			}
			if fits {
				copy(model[off:], src)
			}
			dst := bytes.Repeat([]byte{0x5A}, n)
			if p.CopyOut(dst, off) != fits {
				t.Errorf("CopyOut(%d bytes, %d) is not %v", n, off, fits)
			}
			if fits && !bytes.Equal(dst, src) || !fits && !bytes.Equal(dst, bytes.Repeat([]byte{0x5A}, n)) {
				t.Errorf("CopyOut(%d bytes, %d) gave the wrong bytes", n, off)
			}
		}
	}
	all := make([]byte, PageSize)
	if p.CopyOut(all, 0); !bytes.Equal(all, model) {
		t.Error("page differs from the model")
	}
}

func TestFixedOffsetsPanic(t *testing.T) {
	p := New()
	for name, f := range map[string]func(){
		"Load8 4096":       func() { p.Load8(4096) },
		"Load8 -1":         func() { p.Load8(-1) },
		"Load16 4095":      func() { p.Load16(4095) },
		"Load16 1":         func() { p.Load16(1) },
		"Load32 4094":      func() { p.Load32(4094) },
		"Store32 2":        func() { p.Store32(2, 0) },
		"Load64 4":         func() { p.Load64(4) },
		"Store64 4096":     func() { p.Store64(4096, 0) },
		"CAS16 3":          func() { p.CompareAndSwap16(3, 0, 0) },
		"Or64 -8":          func() { p.Or64(-8, 0) },
		"FromBytes 4095":   func() { FromBytes(make([]byte, 4095)) },
		"FromBytes skewed": func() { FromBytes(make([]byte, 4100)[1:4097]) },
		"At 0":             func() { At(0) },
		"At skewed":        func() { At(0x1001) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			f()
		}()
	}
}

func TestAtAndDetach(t *testing.T) {
	owner := New()
	view := At(owner.Addr())
	view.Store32(8, 7)
	if owner.Load32(8) != 7 || view.Addr() != owner.Addr() {
		t.Error("At is another page")
	}
	view.Detach()
	if view.Load32(8) != 0xFFFFFFFF {
		t.Error("a detached page shows data")
	}
	view.Store32(8, 9)
	if owner.Load32(8) != 7 {
		t.Error("a detached page is still connected")
	}
}

// TestConcurrent has two sides hammer one page: 16-bit exchanges lose nothing,
// and neighbouring bytes do not disturb each other.
func TestConcurrent(t *testing.T) {
	p := New()
	var wg sync.WaitGroup
	for side := range 2 {
		wg.Go(func() {
			for i := range 20000 {
				for {
					old := p.Load16(16)
					if p.CompareAndSwap16(16, old, old+1) {
						break
					}
				}
				p.Store8(20+side, byte(i))
				if p.Load8(20+side) != byte(i) {
					t.Error("a neighbour's store was seen")
					return
				}
			}
		})
	}
	wg.Wait()
	if p.Load16(16) != 40000 {
		t.Errorf("%d increments", p.Load16(16))
	}
}

// TestStoreOrder: whoever sees the flag sees the data, both ways round. Store8
// and Load8 are all that the tpmif page has for this.
func TestStoreOrder(t *testing.T) {
	p := New()
	const rounds = 20000
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range uint32(rounds) {
			for p.Load8(4) != 0 {
				runtime.Gosched()
			}
			p.CopyIn(8, []byte{byte(i), byte(i >> 8), 1, 2, 3, 4, 5, 6})
			p.Store8(4, 1)
		}
	})
	var b [8]byte
	for i := range uint32(rounds) {
		for p.Load8(4) != 1 {
			runtime.Gosched()
		}
		p.CopyOut(b[:], 8)
		if b != [8]byte{byte(i), byte(i >> 8), 1, 2, 3, 4, 5, 6} {
			t.Fatalf("round %d: %v", i, b)
		}
		p.Store8(4, 0)
	}
	wg.Wait()
}

func BenchmarkCopyOut4088(b *testing.B) {
	p, dst := New(), make([]byte, 4088)
	b.SetBytes(4088)
	for b.Loop() {
		p.CopyOut(dst, 8)
	}
}

func BenchmarkCopyIn4088(b *testing.B) {
	p, src := New(), make([]byte, 4088)
	b.SetBytes(4088)
	for b.Loop() {
		p.CopyIn(8, src)
	}
}
