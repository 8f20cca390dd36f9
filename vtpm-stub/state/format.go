package state

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// header is the first 64 bytes of a slot, big-endian:
//
//	0   8  magic "xvtpmsta"
//	8   2  version, 2
//	10  2  flags: bit 0 initial copy of a new TPM
//	12  4  zero
//	16  8  generation: counts saves; for people who look at a disk
//	24  8  length of the state in bytes
//	32  8  place of slot 1: its offset on the disk, and the size of both slots
//	40 24  zero
//
// Version 1 has zero for the place of slot 1, which was the disk's half. It is
// read, and no longer written.
//
// The AES-256-GCM ciphertext of the state follows, then its 16-byte tag, then
// zeros up to a whole sector. The header is the additional data; the nonce is
// zero, as each key encrypts one state only. The hash in the record covers all
// of it, zeros included. What lies behind in the slot is of no meaning.
type header struct {
	flags      uint16
	generation uint64
	length     uint64
	second     int64 // place of slot 1; 0 in version 1
}

const (
	headerSize = 64
	tagSize    = 16
	hashSize   = sha256.Size
	version    = 2

	flagInitial = 1
)

var magic = []byte("xvtpmsta")

// Reasons why a slot is not the current one, for the log.
var (
	errBlank  = errors.New("blank")
	errHeader = errors.New("no header of this program")
	errLength = errors.New("length in the header is impossible")
	errHash   = errors.New("content differs from the record")
	errAuth   = errors.New("content does not authenticate")
	errBeyond = errors.New("beyond the end of the disk")
	errPlace  = errors.New("not where its header says")
)

func (h header) put(b []byte) {
	copy(b, magic)
	binary.BigEndian.PutUint16(b[8:], version)
	binary.BigEndian.PutUint16(b[10:], h.flags)
	binary.BigEndian.PutUint64(b[16:], h.generation)
	binary.BigEndian.PutUint64(b[24:], h.length)
	binary.BigEndian.PutUint64(b[32:], uint64(h.second))
}

// parseHeader reads what lies at the start of a slot; it is not authenticated
// yet.
func parseHeader(b []byte) (header, error) {
	if blank(b[:headerSize]) {
		return header{}, errBlank
	}
	if !bytes.Equal(b[:8], magic) {
		return header{}, errHeader
	}
	v := binary.BigEndian.Uint16(b[8:])
	if v > version {
		return header{}, ErrNewer
	}
	h := header{
		flags:      binary.BigEndian.Uint16(b[10:]),
		generation: binary.BigEndian.Uint64(b[16:]),
		length:     binary.BigEndian.Uint64(b[24:]),
		second:     int64(binary.BigEndian.Uint64(b[32:])),
	}
	if h.flags&^flagInitial != 0 || !blank(b[12:16]) || !blank(b[40:headerSize]) || !h.placed(v) {
		return header{}, errHeader
	}
	return h, nil
}

// placed reports whether the place of slot 1 is one that a version writes.
func (h header) placed(version uint16) bool {
	switch version {
	case 1:
		return h.second == 0
	case 2:
		return h.second >= slotAlign && h.second%slotAlign == 0
	}
	return false
}

// imageSize is the number of bytes on disk for a state of n bytes.
func imageSize(n uint64) uint64 {
	return (headerSize + n + tagSize + SectorSize - 1) / SectorSize * SectorSize
}

// seal builds the content of a slot.
func seal(h header, key, blob []byte) ([]byte, error) {
	h.length = uint64(len(blob))
	image := make([]byte, imageSize(h.length))
	h.put(image)
	gcm, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	gcm.Seal(image[headerSize:headerSize], make([]byte, gcm.NonceSize()), blob, image[:headerSize])
	return image, nil
}

// unseal authenticates and decrypts the content of a slot, in place.
func unseal(image, key []byte, length uint64) ([]byte, error) {
	gcm, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	text := image[headerSize : headerSize+length+tagSize]
	blob, err := gcm.Open(text[:0], make([]byte, gcm.NonceSize()), text, image[:headerSize])
	if err != nil {
		return nil, errAuth
	}
	return blob, nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func hash(image []byte) []byte {
	h := sha256.Sum256(image)
	return h[:]
}

func blank(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
