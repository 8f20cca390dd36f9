// Package tpmif is protocol version 2 of the Xen vTPM device: the one shared
// page, seen from both ends.
//
// Source: xen/include/public/io/tpmif.h and the behaviour of Linux's and
// mini-os's drivers. Where the header's prose and its struct differ (the prose
// puts the packet at 16 + 4n) the struct counts, as it does for both drivers:
// the packet starts at 8 + 4n.
//
//	offset  size  field
//	0       4     length of the request or response in bytes, little-endian
//	4       1     state
//	5       1     locality of the request
//	6       1     pad, zero
//	7       1     nr_extra_pages, n
//	8       4n    extra_pages: grant references
//	8+4n          packet
//
// Deliberately missing: extra pages. No frontend uses them. Their number moves
// the packet, so it is honoured up to MaxExtraPages, but they are never mapped
// and a packet must lie in the first page.
//
// Threat model: the peer writes the page at any time. The header is fetched
// with one 64-bit load, checked in int arithmetic that can't wrap, and packets
// are copied out before anybody looks at them.
package tpmif

import (
	"fmt"

	"xenvtpm/board/xen/shm"
)

// Sizes in bytes.
const (
	HeaderSize = 8
	// MaxPacket is the largest packet: a page less the header.
	MaxPacket = shm.PageSize - HeaderSize
	// MaxExtraPages is the largest nr_extra_pages of a request that is served.
	MaxExtraPages = 8
)

// Nodes and values of the xenstore handshake.
const (
	NodeRingRef      = "ring-ref"
	NodeEventChannel = "event-channel"
	NodeProtocol2    = "feature-protocol-v2"
	// NodeForDomain, ours, is written by the toolstack's side into the backend's
	// directory: the number of the domain that this frontend works for.
	NodeForDomain = "for-domain"
	// NodeBoot, ours, likewise: "new" or "restore".
	NodeBoot = "boot"
)

// Offsets in the page.
const (
	offLength   = 0
	offState    = 4
	offLocality = 5
	offPad      = 6
	offExtra    = 7
)

// State is the page's state byte.
type State uint8

// States of the page.
const (
	Idle   State = 0 // nothing there, or a cancel took effect; written by the backend
	Submit State = 1 // a request is there; written by the frontend
	Finish State = 2 // a response is there; written by the backend
	Cancel State = 3 // the running command shall be dropped; written by the frontend
)

func (s State) String() string {
	switch s {
	case Idle:
		return "idle"
	case Submit:
		return "submit"
	case Finish:
		return "finish"
	case Cancel:
		return "cancel"
	}
	return fmt.Sprintf("State(%#02x)", uint8(s))
}

// header is the page's first eight bytes as fetched by one load.
type header struct {
	length   uint32
	state    State
	locality uint8
	pad      uint8
	extra    uint8
}

func fetch(p *shm.Page) header {
	v := p.Load64(offLength)
	return header{
		length:   uint32(v),
		state:    State(v >> 32),
		locality: uint8(v >> 40),
		pad:      uint8(v >> 48),
		extra:    uint8(v >> 56),
	}
}

// lost is what a page reads as where nothing is mapped any more.
var lost = header{length: 0xFFFFFFFF, state: 0xFF, locality: 0xFF, pad: 0xFF, extra: 0xFF}

// offset is where the packet starts; at most 8 + 4*255, so inside the page.
func (h header) offset() int { return HeaderSize + 4*int(h.extra) }

// room is how many bytes of packet the page has after offset.
func (h header) room() int { return shm.PageSize - h.offset() }
