package xenstore

import (
	"encoding/binary"
	"fmt"

	"xenvtpm/board/xen/abi"
)

// A Packet is one xenstore message (io/xs_wire.h, struct xsd_sockmsg).
type Packet struct {
	Type    uint32 // abi.XS_*
	ReqID   uint32
	TxID    uint32
	Payload []byte
}

// Append encodes the packet at the end of b.
func (p Packet) Append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, p.Type)
	b = le.AppendUint32(b, p.ReqID)
	b = le.AppendUint32(b, p.TxID)
	b = le.AppendUint32(b, uint32(len(p.Payload)))
	return append(b, p.Payload...)
}

// A Parser cuts a byte stream into packets, whatever the pieces it comes in.
// It holds at most one packet, so memory is bounded. After an error the stream
// has no known boundary any more and the Parser stays in error.
type Parser struct {
	head [abi.XSHeaderSize]byte
	have int // bytes of head and body so far
	body []byte
	err  error
}

// Feed consumes bytes of b up to the end of one packet, and returns how many.
// ok means that pkt is complete; its Payload belongs to the caller.
func (p *Parser) Feed(b []byte) (n int, pkt Packet, ok bool, err error) {
	if p.err != nil {
		return 0, Packet{}, false, p.err
	}
	if p.have < len(p.head) {
		n = copy(p.head[p.have:], b)
		p.have += n
		if p.have < len(p.head) {
			return n, Packet{}, false, nil
		}
		if err := p.startBody(); err != nil {
			return n, Packet{}, false, err
		}
	}
	m := copy(p.body[p.have-len(p.head):], b[n:])
	p.have += m
	n += m
	if p.have < len(p.head)+len(p.body) {
		return n, Packet{}, false, nil
	}
	return n, p.finish(), true, nil
}

// startBody checks the header before anything is allocated for the body.
func (p *Parser) startBody() error {
	size := binary.LittleEndian.Uint32(p.head[abi.XSLen:])
	if size > abi.XENSTORE_PAYLOAD_MAX {
		p.err = fmt.Errorf("xenstore: %w: a message of %d bytes, at most %d allowed", ErrCorrupt, size, abi.XENSTORE_PAYLOAD_MAX)
		return p.err
	}
	p.body = make([]byte, size)
	return nil
}

func (p *Parser) finish() Packet {
	le := binary.LittleEndian
	pkt := Packet{
		Type:    le.Uint32(p.head[abi.XSType:]),
		ReqID:   le.Uint32(p.head[abi.XSReqID:]),
		TxID:    le.Uint32(p.head[abi.XSTxID:]),
		Payload: p.body,
	}
	p.have, p.body = 0, nil
	return pkt
}
