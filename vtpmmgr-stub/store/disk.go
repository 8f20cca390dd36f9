// Package store is the manager's on-disk store: a copy-on-write B+tree of
// encrypted, authenticated 4096-byte sectors under two superblocks.
//
//	sector 0..7, 8..15   key area, two copies: plain, checksummed, opaque to this
//	                     package (sealed objects; what is needed before the root key is)
//	sector 16, 17        superblock slot A, two copies
//	sector 18, 19        superblock slot B, two copies
//	sector 20..          tree nodes
//
// Every encrypted sector is XAES-256-GCM under a key derived from the root key,
// with a fresh 192-bit random nonce; the additional data binds it to the store's
// identity, to its location and to the generation that wrote it. A parent holds
// its child's location, generation and authentication tag, so the superblock
// pins the whole tree: no sector can be moved, replayed or mixed.
//
// A commit writes all changed nodes to free sectors, flushes, writes both copies
// of the older superblock slot, and flushes. A crash at any point leaves the old
// tree or the new one. What is free is found at Open by walking the inner nodes;
// leaves are read only when they are asked for. Where many nodes are wanted, a disk
// that can read several at once is asked for several.
//
// The superblock carries a counter that the caller ties to a hardware counter.
// The store itself cannot tell an old disk from a new one.
//
// Whoever controls the disk may do anything to it. The worst that it can achieve
// is an error; nothing read is believed before it is authenticated, save the
// checksummed key area, whose content the caller authenticates by unsealing and
// this package by the hash of it that each superblock carries.
package store

import (
	"bytes"
	"errors"
	"fmt"
)

// SectorSize is the unit of the store, in bytes.
const SectorSize = 4096

// Disk is what a store lives on. Offsets and lengths are multiples of 512.
// WriteAt may be reordered by the disk up to the next Flush.
type Disk interface {
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	Flush() error
	Size() int64
}

// A ManyReader is a Disk that reads from several places at once sooner than one after the other: bufs[i] at offs[i].
// After an error the content of none is known.
type ManyReader interface {
	ReadMany(bufs [][]byte, offs []int64) error
}

// Sector numbers of the fixed areas.
const (
	keyAreaSectors = 8
	sectorKeyA     = 0
	sectorKeyB     = sectorKeyA + keyAreaSectors
	sectorSuper    = sectorKeyB + keyAreaSectors // slot s, copy c at sectorSuper + 2s + c
	firstNode      = sectorSuper + 4

	// MinSize is the smallest disk that a store is made on, in bytes.
	MinSize = 1 << 20
	// maxSectors bounds the bitmap; space above 16 GiB is not used.
	maxSectors = 1 << 22
)

// Errors of the store. Each is wrapped with the place where it happened.
var (
	ErrBlank      = errors.New("store: disk is blank")
	ErrTooSmall   = errors.New("store: disk is smaller than 1 MiB")
	ErrForeign    = errors.New("store: disk is not blank and holds no store of this kind; it is left alone")
	ErrNewer      = errors.New("store: disk was written by a newer version of this program")
	ErrKeyArea    = errors.New("store: no copy of the key area is readable")
	ErrNoSuper    = errors.New("store: no superblock authenticates under this key")
	ErrOtherStore = errors.New("store: superblock and key area belong to different stores")
	ErrDamaged    = errors.New("store: sector does not authenticate")
	ErrShrunk     = errors.New("store: disk is smaller than when the store was made")
	ErrFull       = errors.New("store: no free sectors left")
	ErrTooBig     = errors.New("store: value too long")
	ErrIO         = errors.New("store: disk error")
	ErrBroken     = errors.New("store: an earlier disk error left the store in doubt; restart to go on")
	ErrReadOnly   = errors.New("store: damaged inner node, free space unknown; read-only")
)

func sectors(d Disk) uint32 {
	n := d.Size() / SectorSize
	return uint32(min(max(n, 0), maxSectors))
}

func readSector(d Disk, n uint32, buf []byte) error {
	if m, err := d.ReadAt(buf[:SectorSize], int64(n)*SectorSize); err != nil || m != SectorSize {
		return fmt.Errorf("%w: reading sector %d: %v", ErrIO, n, ioErr(err))
	}
	return nil
}

func writeSectors(d Disk, n uint32, buf []byte) error {
	if m, err := d.WriteAt(buf, int64(n)*SectorSize); err != nil || m != len(buf) {
		return fmt.Errorf("%w: writing sector %d: %v", ErrIO, n, ioErr(err))
	}
	return nil
}

func flush(d Disk) error {
	if err := d.Flush(); err != nil {
		return fmt.Errorf("%w: flush: %v", ErrIO, err)
	}
	return nil
}

func ioErr(err error) error {
	if err == nil {
		return errors.New("short transfer")
	}
	return err
}

// blankChunk is how much Blank reads at once: eight block requests of eleven
// segments, for a driver that has several in flight.
const blankChunk = 8 * 11 * SectorSize

// Blank reports whether all of the disk that a store would use is zero. It
// reads until the first byte that is not.
func Blank(d Disk) (bool, error) {
	end := int64(sectors(d)) * SectorSize
	size := min(blankChunk, end)
	buf, zero := make([]byte, size), make([]byte, size)
	for off := int64(0); off < end; off += size {
		n := min(size, end-off)
		if m, err := d.ReadAt(buf[:n], off); err != nil || int64(m) != n {
			return false, fmt.Errorf("%w: reading at byte %d: %v", ErrIO, off, ioErr(err))
		}
		if !bytes.Equal(buf[:n], zero[:n]) {
			return false, nil
		}
	}
	return true, nil
}
