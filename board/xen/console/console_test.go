package console

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/ring"
	"xenvtpm/board/xen/shm"
)

// reader is xenconsoled: it takes up to rate bytes for each Wait.
type reader struct {
	r        *ring.Reader
	rate     int
	now      int64
	waited   time.Duration
	got      strings.Builder
	notified int
}

func newConsole(rate int) (*shm.Page, *reader, *Writer) {
	page := shm.New()
	r := &reader{rate: rate, r: ring.NewReader(page, ring.Layout{
		Buf: abi.ConsoleOut, Size: abi.ConsoleOutSize, Cons: abi.ConsoleOutCons, Prod: abi.ConsoleOutProd,
	})}
	return page, r, New(page, r)
}

func (r *reader) Notify() { r.notified++ }

func (r *reader) Wait(deadline int64) {
	r.waited += time.Duration(deadline - r.now)
	r.now = deadline
	r.take(r.rate)
}

func (r *reader) Now() int64 { return r.now }

func (r *reader) take(n int) {
	b := make([]byte, n)
	n, _ = r.r.Read(b)
	r.got.Write(b[:n])
}

func TestLines(t *testing.T) {
	_, r, w := newConsole(0)
	fmt.Fprint(w, "one\ntw")
	r.take(100)
	if r.got.String() != "one\r\n" {
		t.Errorf("%q: half a line was shown, or the ends are wrong", r.got.String())
	}
	fmt.Fprint(w, "o\r\n\nthree")
	r.take(100)
	if r.got.String() != "one\r\ntwo\r\n\r\n" {
		t.Errorf("%q", r.got.String())
	}
	if r.notified == 0 {
		t.Error("nobody was notified")
	}
	r.rate = 100
	if !w.Flush(time.Second) || r.got.String() != "one\r\ntwo\r\n\r\nthree\r\n" {
		t.Errorf("after Flush: %q", r.got.String())
	}
	if w.Flush(time.Second); r.got.Len() != len("one\r\ntwo\r\n\r\nthree\r\n") {
		t.Error("a second Flush wrote something")
	}
}

func TestLongLineIsCut(t *testing.T) {
	_, r, w := newConsole(0)
	fmt.Fprint(w, strings.Repeat("x", MaxLine+5)+"\n")
	r.take(4096)
	want := strings.Repeat("x", MaxLine) + "\r\nxxxxx\r\n"
	if r.got.String() != want {
		t.Errorf("%d bytes, want %d", r.got.Len(), len(want))
	}
}

// TestSlowReader: a reader that takes a little at a time gets everything.
func TestSlowReader(t *testing.T) {
	_, r, w := newConsole(200)
	var want strings.Builder
	for i := range 500 {
		fmt.Fprintf(w, "line %d\n", i)
		fmt.Fprintf(&want, "line %d\r\n", i)
	}
	if !w.Flush(10*time.Second) || r.got.String() != want.String() {
		t.Errorf("lost something: %d bytes of %d, %d lines", r.got.Len(), want.Len(), w.Lost())
	}
}

// TestNobodyReads: a full ring costs a bounded wait once, later lines are
// dropped at once, and when the reader comes back it is told how many.
func TestNobodyReads(t *testing.T) {
	_, r, w := newConsole(0)
	line := strings.Repeat("y", 98)
	for range 100 {
		fmt.Fprintln(w, line)
	}
	if r.waited != Patience {
		t.Errorf("waited %v in all, want %v", r.waited, Patience)
	}
	if w.Lost() != 80 { // 20 lines of 100 bytes fit 2048
		t.Errorf("%d lost", w.Lost())
	}
	r.take(4096)
	fmt.Fprintln(w, "back")
	r.take(4096)
	if !strings.HasSuffix(r.got.String(), "y\r\n[80 lines lost]\r\nback\r\n") || w.Lost() != 0 {
		t.Errorf("%q", r.got.String()[2000:])
	}
	before := r.waited
	for range 100 {
		fmt.Fprintln(w, line)
	}
	if w.Flush(50 * time.Millisecond) {
		t.Error("Flush claims that everything was taken")
	}
	if d := r.waited - before; d > Patience+110*time.Millisecond {
		t.Errorf("waited %v", d)
	}
	// At the end the loss is reported if the reader moves at all.
	r.rate = 4096
	if !w.Flush(time.Second) || !strings.HasSuffix(r.got.String(), "lines lost]\r\n") {
		t.Errorf("%q", r.got.String()[r.got.Len()-40:])
	}
}

func TestCorruptRing(t *testing.T) {
	page, r, w := newConsole(0)
	page.Store32(abi.ConsoleOutCons, 0x80000000)
	fmt.Fprintln(w, "x")
	if w.Flush(time.Second) || r.waited != 0 {
		t.Errorf("waited %v for a reader that is mad", r.waited)
	}
}

// TestNoAllocation: the runtime prints when it cannot allocate.
func TestNoAllocation(t *testing.T) {
	_, r, w := newConsole(0)
	msg := []byte("panic: something\n")
	n := testing.AllocsPerRun(50, func() { // fills the ring, loses lines, reports them
		for range 200 {
			_, _ = w.Write(msg)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
	if w.Lost() == 0 {
		t.Error("the test did not get to losing lines")
	}
	_ = r
}
