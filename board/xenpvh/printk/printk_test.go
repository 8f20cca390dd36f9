package printk

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"xenvtpm/board/xen/abi"
)

// reader plays xenconsoled: it reads at most speed bytes at each pause.
type reader struct {
	mem      [abi.PageSize / 8]uint64
	con      Console
	speed    int
	now      int64
	pauses   int
	notified int
	got      []byte
	fallback []byte
}

func newReader(speed int, start uint32) *reader {
	r := &reader{speed: speed}
	atomic.StoreUint32(r.at(abi.ConsoleOutProd), start)
	atomic.StoreUint32(r.at(abi.ConsoleOutCons), start)
	r.con.Hooks = Hooks{
		Notify:   func() { r.notified++ },
		Pause:    func() { r.pauses++; r.now += 1e6; r.read(r.speed) },
		Now:      func() int64 { return r.now },
		Fallback: func(c byte) { r.fallback = append(r.fallback, c) },
	}
	r.con.Attach(unsafe.Pointer(&r.mem))
	return r
}

func (r *reader) at(off uintptr) *uint32 {
	return (*uint32)(unsafe.Add(unsafe.Pointer(&r.mem), off))
}

func (r *reader) read(n int) {
	cons, prod := *r.at(abi.ConsoleOutCons), *r.at(abi.ConsoleOutProd)
	for ; n > 0 && cons != prod; n-- {
		b := *(*byte)(unsafe.Add(unsafe.Pointer(&r.mem), abi.ConsoleOut+cons%abi.ConsoleOutSize))
		r.got = append(r.got, b)
		cons++
	}
	atomic.StoreUint32(r.at(abi.ConsoleOutCons), cons)
}

func (r *reader) print(s string) {
	for i := 0; i < len(s); i++ {
		r.con.Put(s[i])
	}
}

func TestLineIsPublishedAtItsEnd(t *testing.T) {
	r := newReader(4096, 0)
	r.print("hello")
	if r.notified != 0 || *r.at(abi.ConsoleOutProd) != 0 {
		t.Error("an unfinished line was published")
	}
	r.print("\n")
	r.read(4096)
	if string(r.got) != "hello\r\n" || r.notified != 1 {
		t.Errorf("got %q with %d notifications", r.got, r.notified)
	}
}

func TestLongOutputArrivesWhole(t *testing.T) {
	for _, start := range []uint32{0, 1000, 1<<32 - 100} {
		r := newReader(100, start)
		var want strings.Builder
		for i := range 500 {
			line := fmt.Sprintf("line %d of a long output, %s", i, strings.Repeat("x", i%300))
			r.print(line + "\n")
			want.WriteString(line + "\r\n")
		}
		r.print("no line end")
		want.WriteString("no line end")
		if !r.con.Flush(1e9) {
			t.Error("Flush failed")
		}
		if string(r.got) != want.String() {
			t.Errorf("start %d: output differs (%d bytes, want %d)", start, len(r.got), want.Len())
		}
	}
}

func TestAbsentReader(t *testing.T) {
	r := newReader(0, 0)
	for range 1000 {
		r.print("nobody reads this line\n")
	}
	if r.now > 2*Patience {
		t.Errorf("waited %d ms in all for a reader that is not there", r.now/1e6)
	}
	if r.con.Flush(5e6) {
		t.Error("Flush claims that everything was read")
	}
	// The reader comes back: whole lines, then the number of those lost.
	r.speed = 4096
	r.read(4096)
	r.print("and on it goes\n")
	r.con.Flush(1e9)
	kept := strings.Count(string(r.got), "nobody reads this line\r\n")
	tail := fmt.Sprintf("[%d console lines lost]\r\nand on it goes\r\n", 1000-kept)
	if kept == 0 || !strings.HasSuffix(string(r.got), tail) {
		t.Errorf("kept %d lines, output ends in %q, want %q", kept, r.got[max(0, len(r.got)-80):], tail)
	}
}

func TestHostileReader(t *testing.T) {
	for _, cons := range []uint32{1, 5000, 1 << 31, 1<<32 - 2049} {
		r := newReader(4096, 0)
		atomic.StoreUint32(r.at(abi.ConsoleOutCons), cons)
		r.print("text\nmore\n")
		if !strings.HasSuffix(string(r.fallback), "more\n") {
			t.Errorf("reader index %d: fallback got %q", cons, r.fallback)
		}
		if r.con.Flush(1e9) {
			t.Errorf("reader index %d: Flush succeeded", cons)
		}
	}
}

func TestBeforeAttach(t *testing.T) {
	var got []byte
	c := Console{Hooks: Hooks{Fallback: func(b byte) { got = append(got, b) }}}
	c.Put('a')
	c.Put('\n')
	if c.Flush(1) || string(got) != "a\n" {
		t.Errorf("got %q", got)
	}
}

func TestNoAllocation(t *testing.T) {
	r := newReader(4096, 0)
	r.con.Hooks.Pause = func() { *r.at(abi.ConsoleOutCons) = *r.at(abi.ConsoleOutProd) }
	n := testing.AllocsPerRun(100, func() { r.print("a line like any other, of no interest whatsoever\n") })
	if n != 0 {
		t.Errorf("Put allocates %v times a line", n)
	}
}

// The reader's index is foreign data: whatever it is, Put and Flush end, in
// bounded time, and write only into the ring.
func FuzzReaderIndex(f *testing.F) {
	f.Add(uint32(0), uint32(0), uint16(10))
	f.Add(uint32(1<<32-5), uint32(7), uint16(3000))
	f.Add(uint32(100), uint32(99), uint16(2100))
	f.Fuzz(func(t *testing.T, prod, cons uint32, n uint16) {
		r := newReader(0, prod)
		atomic.StoreUint32(r.at(abi.ConsoleOutCons), cons)
		r.con.Attach(unsafe.Pointer(&r.mem))
		for i := range int(n) {
			if r.con.Put(byte(i)); i%97 == 0 {
				r.con.Put('\n')
			}
		}
		r.con.Flush(3e6)
		if r.now > 2*Patience {
			t.Errorf("waited %d ms", r.now/1e6)
		}
		for i, w := range r.mem {
			off := 8 * i
			inRing := off >= abi.ConsoleOut && off < abi.ConsoleOut+abi.ConsoleOutSize
			if !inRing && off != abi.ConsoleOutCons && w != 0 {
				t.Fatalf("wrote at offset %d outside the ring", off)
			}
		}
	})
}
