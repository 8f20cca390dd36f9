// Package ring is the index logic of Xen's shared rings: byte streams (console
// and xenstore) and request/response rings (block devices), over a shm.Page.
//
// Threat model: the peer writes anything anywhere in the page at any time. Our
// own indices are kept privately and only ever written to the page; the
// peer's are loaded once, checked, and then used. An index that cannot be
// right is ErrCorrupt: the peer is to be disconnected. Nothing panics.
package ring

import (
	"errors"
	"fmt"

	"xenvtpm/board/xen/shm"
)

// ErrCorrupt is wrapped by every error about a ring that makes no sense.
var ErrCorrupt = errors.New("ring: corrupt indices")

// Layout locates a byte stream in a page: Size bytes (a power of two) at Buf,
// and the two free-running 32-bit indices.
type Layout struct {
	Buf, Size  int
	Cons, Prod int // offsets of the indices
}

// A Writer is the producing end of a byte stream.
type Writer struct {
	page *shm.Page
	at   Layout
	prod uint32
}

// NewWriter goes on where the page says that the producer is.
func NewWriter(p *shm.Page, l Layout) *Writer {
	return &Writer{page: p, at: l, prod: p.Load32(l.Prod)}
}

// Free is the number of bytes that can be written now.
func (w *Writer) Free() (int, error) {
	used := w.prod - w.page.Load32(w.at.Cons)
	if used > uint32(w.at.Size) {
		return 0, fmt.Errorf("%w: consumer is %d bytes away from the producer, ring has %d", ErrCorrupt, used, w.at.Size)
	}
	return w.at.Size - int(used), nil
}

// Write copies as much of b as fits and publishes it. The caller notifies.
func (w *Writer) Write(b []byte) (int, error) {
	free, err := w.Free()
	if err != nil {
		return 0, err
	}
	n := min(len(b), free)
	at := int(w.prod) & (w.at.Size - 1)
	first := min(n, w.at.Size-at)
	w.page.CopyIn(w.at.Buf+at, b[:first])
	w.page.CopyIn(w.at.Buf, b[first:n])
	shm.Barrier() // data before index
	w.prod += uint32(n)
	w.page.Store32(w.at.Prod, w.prod)
	return n, nil
}

// Drained reports whether the consumer has taken everything.
func (w *Writer) Drained() bool {
	free, err := w.Free()
	return err == nil && free == w.at.Size
}

// A Reader is the consuming end of a byte stream.
type Reader struct {
	page *shm.Page
	at   Layout
	cons uint32
}

// NewReader goes on where the page says that the consumer is.
func NewReader(p *shm.Page, l Layout) *Reader {
	return &Reader{page: p, at: l, cons: p.Load32(l.Cons)}
}

// Buffered is the number of bytes that can be read now.
func (r *Reader) Buffered() (int, error) {
	used := r.page.Load32(r.at.Prod) - r.cons
	if used > uint32(r.at.Size) {
		return 0, fmt.Errorf("%w: producer is %d bytes ahead, ring has %d", ErrCorrupt, used, r.at.Size)
	}
	return int(used), nil
}

// Read moves what has arrived to b, up to its length. The caller notifies.
func (r *Reader) Read(b []byte) (int, error) {
	used, err := r.Buffered()
	if err != nil {
		return 0, err
	}
	n := min(len(b), used)
	at := int(r.cons) & (r.at.Size - 1)
	first := min(n, r.at.Size-at)
	r.page.CopyOut(b[:first], r.at.Buf+at)
	r.page.CopyOut(b[first:n], r.at.Buf)
	shm.Barrier() // data out before the space is given back
	r.cons += uint32(n)
	r.page.Store32(r.at.Cons, r.cons)
	return n, nil
}
