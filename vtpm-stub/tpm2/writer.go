package tpm2

import (
	"bytes"
	"encoding/binary"
	"sync"
)

// writer appends to a buffer of fixed capacity. What does not fit is dropped
// and remembered in full; the buffer never grows.
type writer struct {
	b    []byte
	full bool
}

func (w *writer) room(n int) bool {
	if n > cap(w.b)-len(w.b) {
		w.full = true
	}
	return !w.full
}

func (w *writer) u8(v uint8) {
	if w.room(1) {
		w.b = append(w.b, v)
	}
}

func (w *writer) u16(v uint16) {
	if w.room(2) {
		w.b = binary.BigEndian.AppendUint16(w.b, v)
	}
}

func (w *writer) u32(v uint32) {
	if w.room(4) {
		w.b = binary.BigEndian.AppendUint32(w.b, v)
	}
}

func (w *writer) u64(v uint64) {
	if w.room(8) {
		w.b = binary.BigEndian.AppendUint64(w.b, v)
	}
}

// raw appends b without a size.
func (w *writer) raw(b []byte) {
	if w.room(len(b)) {
		w.b = append(w.b, b...)
	}
}

// b2 appends a TPM2B.
func (w *writer) b2(b []byte) {
	w.u16(uint16(len(b)))
	w.raw(b)
}

func (w *writer) yesNo(v bool) {
	if v {
		w.u8(1)
	} else {
		w.u8(0)
	}
}

func (w *writer) alg(a AlgID)     { w.u16(uint16(a)) }
func (w *writer) handle(h Handle) { w.u32(uint32(h)) }

// begin2B starts a TPM2B whose size is filled in by end2B.
func (w *writer) begin2B() (mark int) {
	w.u16(0)
	return len(w.b)
}

func (w *writer) end2B(mark int) {
	if !w.full {
		binary.BigEndian.PutUint16(w.b[mark-2:], uint16(len(w.b)-mark))
	}
}

// grow returns the next n octets of the buffer for the caller to fill, or nil.
func (w *writer) grow(n int) []byte {
	if !w.room(n) {
		return nil
	}
	w.b = w.b[:len(w.b)+n]
	return w.b[len(w.b)-n:]
}

// maxMarshal is above the size of every structure.
const maxMarshal = 4096

// marshalBuffers keeps what marshal writes into: most structures are a small part of what
// they may be, and a new buffer for each costs more than the copy.
var marshalBuffers = sync.Pool{New: func() any { return new([maxMarshal]byte) }}

// marshal runs f over an empty buffer of max octets, which are no more than maxMarshal,
// and returns a copy of what it wrote. It is for structures that are hashed, encrypted or
// stored; an overflow is a bug of ours.
func marshal(max int, f func(w *writer)) []byte {
	buf := marshalBuffers.Get().(*[maxMarshal]byte)
	w := writer{b: buf[:0:max]}
	f(&w)
	if w.full {
		panic("internal error: tpm2: structure larger than its buffer")
	}
	out := bytes.Clone(w.b)
	clear(w.b) // it may hold a secret
	marshalBuffers.Put(buf)
	return out
}
