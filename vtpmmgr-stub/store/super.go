package store

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// superblock is the root of everything that is authenticated.
type superblock struct {
	gen     uint64
	counter uint64 // see Store.Counter
	sectors uint32 // size of the disk, in sectors, that this store uses
	level   uint8  // of the root node
	count   uint64 // entries in the tree
	keyHash [32]byte
	root    ref
}

const superVersion = 1

var errSuper = errors.New("store: superblock malformed")

func (sb superblock) encode() []byte {
	b := make([]byte, 0, nodePlain)
	b = binary.BigEndian.AppendUint32(b, superVersion)
	b = binary.BigEndian.AppendUint64(b, sb.gen)
	b = binary.BigEndian.AppendUint64(b, sb.counter)
	b = binary.BigEndian.AppendUint32(b, sb.sectors)
	b = append(b, sb.level)
	b = binary.BigEndian.AppendUint64(b, sb.count)
	b = append(b, sb.keyHash[:]...)
	b = sb.root.append(b)
	return append(b, make([]byte, nodePlain-len(b))...)
}

func decodeSuper(b []byte) (superblock, error) {
	if len(b) != nodePlain || binary.BigEndian.Uint32(b) > superVersion {
		return superblock{}, ErrNewer
	}
	if binary.BigEndian.Uint32(b) != superVersion {
		return superblock{}, errSuper
	}
	return superblock{gen: binary.BigEndian.Uint64(b[4:]), counter: binary.BigEndian.Uint64(b[12:]),
		sectors: binary.BigEndian.Uint32(b[20:]), level: b[24], count: binary.BigEndian.Uint64(b[25:]),
		keyHash: [32]byte(b[33:65]), root: decodeRef(b[65:])}, nil
}

// superAAD: node generations start at 1, so generation 0 is a superblock.
func superAAD(id ID, sector uint32) []byte { return sectorAAD(id, sector, 0) }

// slotOf is the first sector of the slot that holds generation gen.
func slotOf(gen uint64) uint32 { return sectorSuper + uint32(gen%2)*2 }

// writeSuper writes both copies of sb to its slot, in one transfer.
func writeSuper(d Disk, box *Box, id ID, sb superblock) error {
	at := slotOf(sb.gen)
	var buf []byte
	for c := range uint32(2) {
		var err error
		if buf, err = box.Seal(buf, sb.encode(), superAAD(id, at+c)); err != nil {
			return err
		}
	}
	return writeSectors(d, at, buf)
}

// writeSuperCopy writes one copy only: the other is the last good one.
func writeSuperCopy(d Disk, box *Box, id ID, sb superblock, at uint32) error {
	buf, err := box.Seal(nil, sb.encode(), superAAD(id, at))
	if err != nil {
		return err
	}
	return writeSectors(d, at, buf)
}

// readSupers returns the newest superblock that authenticates, and which of the
// four copies do not (or are of a generation that their slot cannot hold).
func readSupers(d Disk, box *Box, id ID) (newest superblock, bad []uint32, err error) {
	buf := make([]byte, SectorSize)
	found := false
	for n := uint32(sectorSuper); n < firstNode; n++ {
		if err := readSector(d, n, buf); err != nil {
			return superblock{}, nil, err
		}
		plain, err := box.Open(nil, buf, superAAD(id, n))
		if err != nil {
			bad = append(bad, n)
			continue
		}
		sb, err := decodeSuper(plain)
		if err != nil {
			return superblock{}, nil, fmt.Errorf("sector %d: %w", n, err)
		}
		if !found || sb.gen > newest.gen {
			newest, found = sb, true
		}
	}
	if !found {
		return superblock{}, bad, ErrNoSuper
	}
	return newest, bad, nil
}
