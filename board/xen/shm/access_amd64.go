package shm

import "encoding/binary"

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

// put8 and put64 are plain stores, for bulk data that a later barrier orders.
//
//go:noescape
func put8(p *uint8, v uint8)

//go:noescape
func put64(p *uint64, v uint64)

//go:noescape
func cas16(p *uint16, old, new uint16) bool

func mfence()

func le64(b []byte) uint64       { return binary.LittleEndian.Uint64(b) }
func putLE64(b []byte, v uint64) { binary.LittleEndian.PutUint64(b, v) }
