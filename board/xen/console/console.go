// Package console writes to Xen's paravirtual console: whole lines, with the
// line ends that terminals want, through the shared ring.
//
// The reader is xenconsoled in dom0. It may be slow, absent or hostile: a
// writer never waits longer than its limits, loses whole lines rather than
// time, and says in the log how many were lost.
package console

import (
	"strconv"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/ring"
	"xenvtpm/board/xen/shm"
)

// Wake is how a Writer reaches the reader. evtchn.Channels is one; early in
// the start of an image a bare hypercall does.
type Wake interface {
	// Notify tells the reader that there is something.
	Notify()
	// Wait blocks for a moment, at most until the deadline, for the reader to
	// make room.
	Wait(deadline int64)
	// Now is monotonic nanoseconds.
	Now() int64
}

const (
	// MaxLine is where a line without an end is cut.
	MaxLine = 512

	// Patience is how long one line may wait for room. After a line was lost
	// nobody waits until the reader moves again.
	Patience = 20 * time.Millisecond
)

// A Writer is an io.Writer for the console. It is not safe for concurrent use.
type Writer struct {
	ring *ring.Writer
	wake Wake

	line    []byte // not yet complete, or not yet sent; fixed capacity
	notes   [48]byte
	lost    int  // lines since the last one that got through
	stalled bool // the reader let us wait in vain
	broken  bool // the ring is corrupt; nothing goes there any more
}

// New makes a Writer over the console page.
func New(page *shm.Page, wake Wake) *Writer {
	return &Writer{
		ring: ring.NewWriter(page, ring.Layout{
			Buf: abi.ConsoleOut, Size: abi.ConsoleOutSize,
			Cons: abi.ConsoleOutCons, Prod: abi.ConsoleOutProd,
		}),
		wake: wake,
		line: make([]byte, 0, MaxLine+2),
	}
}

// Write implements io.Writer. It never fails: what cannot be shown is counted.
// Nothing in the path of Write and WriteByte allocates, so that the runtime's
// print hook can use them.
func (w *Writer) Write(p []byte) (int, error) {
	for _, c := range p {
		_ = w.WriteByte(c) // is always nil
	}
	return len(p), nil
}

// WriteByte implements io.ByteWriter.
func (w *Writer) WriteByte(c byte) error {
	switch {
	case c == '\n':
		w.endLine()
	case c == '\r': // line ends are ours to make
	case len(w.line) >= MaxLine:
		w.endLine()
		w.line = append(w.line, c)
	default:
		w.line = append(w.line, c)
	}
	return nil
}

func (w *Writer) endLine() {
	w.line = append(w.line, '\r', '\n')
	w.emit()
	w.line = w.line[:0]
}

// emit sends the line if it fits as a whole within the limits. While lines are
// being lost nobody waits: the reader has shown that it does not read.
func (w *Writer) emit() {
	if w.broken {
		return
	}
	if w.lost > 0 {
		note := w.note()
		if !w.room(len(note)+len(w.line), 0) {
			w.lost++
			return
		}
		w.put(note)
		w.lost = 0
	}
	if !w.room(len(w.line), Patience) {
		w.lost++
		return
	}
	w.put(w.line)
}

// room waits until n bytes are free, at most for the given time.
func (w *Writer) room(n int, patience time.Duration) bool {
	var deadline int64
	for {
		free, err := w.ring.Free()
		if err != nil {
			w.broken = true
			return false
		}
		if free >= n {
			return true
		}
		if patience == 0 {
			return false
		}
		now := w.wake.Now()
		if deadline == 0 {
			deadline = now + int64(patience)
		}
		if now >= deadline {
			return false
		}
		w.wake.Notify()
		w.wake.Wait(min(deadline, now+int64(time.Millisecond)))
	}
}

// note says how many lines were lost, without allocating.
func (w *Writer) note() []byte {
	b := append(w.notes[:0], '[')
	b = strconv.AppendInt(b, int64(w.lost), 10)
	return append(b, " lines lost]\r\n"...)
}

func (w *Writer) put(b []byte) {
	if _, err := w.ring.Write(b); err != nil {
		w.broken = true
		return
	}
	w.wake.Notify()
}

// Flush ends a line that has no end yet and waits until the reader has taken
// everything, at most for the given time. Call it last before the domain ends:
// the page dies with the domain. It reports whether everything was taken.
func (w *Writer) Flush(limit time.Duration) bool {
	if len(w.line) > 0 {
		w.endLine()
	}
	if w.lost > 0 && !w.broken {
		note := w.note()
		if w.room(len(note), limit) {
			w.put(note)
			w.lost = 0
		}
	}
	deadline := w.wake.Now() + int64(limit)
	for !w.broken {
		if w.ring.Drained() {
			return w.lost == 0
		}
		now := w.wake.Now()
		if now >= deadline {
			return false
		}
		w.wake.Notify()
		w.wake.Wait(min(deadline, now+int64(time.Millisecond)))
	}
	return false
}

// Lost is the number of lines that were not shown and not yet reported.
func (w *Writer) Lost() int { return w.lost }
