package shm

// Bodies in access_amd64.s: sync/atomic has no 8- and 16-bit operations, and
// plain Go accesses could be split, repeated or removed by the compiler.

//go:noescape
func load8(p *uint8) uint8

//go:noescape
func load16(p *uint16) uint16

// store8 and store16 use XCHG: a store and a full barrier.
//
//go:noescape
func store8(p *uint8, v uint8)

//go:noescape
func store16(p *uint16, v uint16)

// move copies n bytes, each fetched and stored once, in no promised order;
// Barrier or an atomic store must follow before a peer is told of them.
//
//go:noescape
func move(dst, src *uint8, n int)

//go:noescape
func cas16(p *uint16, old, new uint16) bool

func mfence()
