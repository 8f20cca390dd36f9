package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// ID identifies a store for its whole life: the manager's uuid.
type ID = [16]byte

// The key area holds what must be readable before the root key is known. Two
// copies; each is
//
//	0  magic "XVTPMKEY"
//	8  u32 version
//	12 u64 generation; 0 is the birth mark: a store is being made here
//	20 id
//	36 u32 length of the payload
//	40 SHA-256 of bytes 0..39 and the payload
//	72 payload
const (
	keyMagic      = "XVTPMKEY"
	formatVersion = 1
	keyHeader     = 72
	keyAreaBytes  = keyAreaSectors * SectorSize

	// MaxKeyArea is the largest key area payload, in bytes.
	MaxKeyArea = keyAreaBytes - keyHeader
)

// KeyArea is one readable copy.
type KeyArea struct {
	Generation uint64
	ID         ID
	Payload    []byte
}

func (k KeyArea) hash() [32]byte {
	h := sha256.New()
	h.Write(k.header())
	h.Write(k.Payload)
	return [32]byte(h.Sum(nil))
}

func (k KeyArea) header() []byte {
	b := append(make([]byte, 0, keyHeader), keyMagic...)
	b = binary.BigEndian.AppendUint32(b, formatVersion)
	b = binary.BigEndian.AppendUint64(b, k.Generation)
	b = append(b, k.ID[:]...)
	return binary.BigEndian.AppendUint32(b, uint32(len(k.Payload)))
}

func (k KeyArea) encode() []byte {
	h := k.hash()
	b := append(append(k.header(), h[:]...), k.Payload...)
	n := (len(b) + SectorSize - 1) / SectorSize * SectorSize
	return append(b, make([]byte, n-len(b))...)
}

// keyCopy is what one copy of the key area turned out to be.
type keyCopy int

const (
	keyAbsent keyCopy = iota // no magic
	keyTorn                  // magic, but the checksum is wrong
	keyNewer                 // written by a newer version
	keyGood
)

func decodeKeyArea(b []byte) (KeyArea, keyCopy) {
	if !bytes.HasPrefix(b, []byte(keyMagic)) {
		return KeyArea{}, keyAbsent
	}
	if binary.BigEndian.Uint32(b[8:]) > formatVersion {
		return KeyArea{}, keyNewer
	}
	n := binary.BigEndian.Uint32(b[36:])
	if n > MaxKeyArea || int(n)+keyHeader > len(b) {
		return KeyArea{}, keyTorn
	}
	k := KeyArea{Generation: binary.BigEndian.Uint64(b[12:]), ID: ID(b[20:36]), Payload: bytes.Clone(b[keyHeader : keyHeader+n])}
	if h := k.hash(); !bytes.Equal(h[:], b[40:72]) || binary.BigEndian.Uint32(b[8:]) != formatVersion {
		return KeyArea{}, keyTorn
	}
	return k, keyGood
}

// Probed is what Probe found on a disk that holds a store.
type Probed struct {
	ID    ID
	Blank bool      // all zeros, with ErrBlank
	Birth bool      // a store was being made here and was never finished
	Areas []KeyArea // readable copies, newest first; empty if Birth
	Notes []string  // damage that the other copy makes good, for the log
}

// Probe looks at the parts of a disk that are readable without a key, and reads
// all of it if they are blank. It writes nothing. Errors: ErrTooSmall, ErrBlank, ErrForeign, ErrNewer, ErrKeyArea,
// ErrOtherStore, ErrIO.
func Probe(d Disk) (*Probed, error) {
	if d.Size() < MinSize {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrTooSmall, d.Size())
	}
	p := &Probed{}
	var birth *KeyArea
	found := [keyGood + 1]int{}
	for i, at := range []int64{sectorKeyA, sectorKeyB} {
		b := make([]byte, keyAreaBytes)
		if m, err := d.ReadAt(b, at*SectorSize); err != nil || m != len(b) {
			return nil, fmt.Errorf("%w: reading key area copy %d: %v", ErrIO, i, ioErr(err))
		}
		k, kind := decodeKeyArea(b)
		found[kind]++
		switch {
		case kind == keyGood && k.Generation == 0:
			birth = &k
		case kind == keyGood && len(p.Areas) == 1 && k.Generation > p.Areas[0].Generation:
			p.Areas = []KeyArea{k, p.Areas[0]}
		case kind == keyGood:
			p.Areas = append(p.Areas, k)
		default:
			p.Notes = append(p.Notes, fmt.Sprintf("key area copy %d (sectors %d to %d) is not readable", i, at, at+keyAreaSectors-1))
		}
	}
	if len(p.Areas) == 2 && p.Areas[0].ID != p.Areas[1].ID {
		return nil, fmt.Errorf("%w: its two key areas differ in identity", ErrOtherStore)
	}
	switch {
	case len(p.Areas) > 0:
		p.ID = p.Areas[0].ID
	case birth != nil:
		p.Birth, p.ID, p.Notes = true, birth.ID, nil
	case found[keyNewer] > 0:
		return nil, ErrNewer
	case found[keyTorn] > 0:
		return nil, ErrKeyArea
	default:
		blank, err := Blank(d)
		switch {
		case err != nil:
			return nil, err
		case blank:
			return &Probed{Blank: true}, ErrBlank
		default:
			return nil, ErrForeign
		}
	}
	return p, nil
}
