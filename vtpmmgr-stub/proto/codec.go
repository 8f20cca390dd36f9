package proto

import "encoding/binary"

// Reader takes fields off a body. The first field that is not there makes it
// bad, and every later field zero: callers check Done once at the end.
type Reader struct {
	b   []byte
	bad bool
}

// NewReader reads body.
func NewReader(body []byte) *Reader { return &Reader{b: body} }

// Bytes takes n bytes. The result aliases the body.
func (r *Reader) Bytes(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

// U8 takes one byte.
func (r *Reader) U8() uint8 {
	if b := r.Bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// U16 takes a 16-bit number.
func (r *Reader) U16() uint16 {
	if b := r.Bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// U32 takes a 32-bit number.
func (r *Reader) U32() uint32 {
	if b := r.Bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// U64 takes a 64-bit number.
func (r *Reader) U64() uint64 {
	if b := r.Bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// UUID takes 16 bytes.
func (r *Reader) UUID() (u UUID) {
	copy(u[:], r.Bytes(len(u)))
	return u
}

// Sized takes a 16-bit length of at most limit and that many bytes.
func (r *Reader) Sized(limit int) []byte {
	n := int(r.U16())
	if n > limit {
		r.bad = true
	}
	return r.Bytes(n)
}

// Len is the number of bytes left.
func (r *Reader) Len() int { return len(r.b) }

// Err is ErrBody if a field so far was missing or too long.
func (r *Reader) Err() error {
	if r.bad {
		return ErrBody
	}
	return nil
}

// Done is ErrBody if a field was missing or bytes are left over.
func (r *Reader) Done() error {
	if r.bad || len(r.b) != 0 {
		return ErrBody
	}
	return nil
}

// AppendSized appends a 16-bit length and b. b of more than 65535 bytes is a
// bug of the caller.
func AppendSized(dst, b []byte) []byte {
	if len(b) > 0xFFFF {
		panic("proto: internal error: sized field over 65535 bytes")
	}
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(b))), b...)
}
