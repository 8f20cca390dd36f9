package proto

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
)

// Version of the ordinals that are this project's own.
const Version = 1

// UUID names a vTPM or a group, in the order in which its text is written.
type UUID [16]byte

// ParseUUID reads the 8-4-4-4-12 text form, in either case.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, errors.New("proto: a uuid is 32 hex digits in groups of 8-4-4-4-12")
	}
	digits := strings.ReplaceAll(s, "-", "")
	if n, err := hex.Decode(u[:], []byte(digits)); err != nil || n != len(u) || len(digits) != 32 {
		return UUID{}, errors.New("proto: a uuid is 32 hex digits in groups of 8-4-4-4-12")
	}
	return u, nil
}

func (u UUID) String() string {
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Record is what a vTPM keeps at the manager: the hash and the key of its
// state. Upstream's vTPM uses 52 bytes (SHA-1, AES-256 key), ours all 64
// (SHA-256, AES-256 key). Shorter records are zero-padded.
type Record [64]byte

// Limits of a record on the wire.
const (
	MinRecord = 52
	MaxRecord = 64
)

// ParseSave reads the body of SAVEHASHKEY: 52 to 64 bytes.
func ParseSave(body []byte) (Record, error) {
	var r Record
	if len(body) < MinRecord || len(body) > MaxRecord {
		return r, ErrBody
	}
	copy(r[:], body)
	return r, nil
}

// LoadBody is the body of LOADHASHKEY's answer: 52 bytes, or 64 if any of the
// last 12 is not zero. The result aliases nothing.
func LoadBody(r Record) []byte {
	n := MinRecord
	for _, b := range r[MinRecord:] {
		if b != 0 {
			n = MaxRecord
		}
	}
	return append([]byte(nil), r[:n]...)
}

// BootHashSize is the size of GET_BOOT_HASH's answer.
const BootHashSize = 20

// Hello is the answer to OrdHello (whose body is empty).
type Hello struct {
	Version uint16 // of the manager; a client uses the lower of both
	Flags   uint16 // HelloDegraded ...
	Manager UUID   // zero if the store is not open
}

// Flags of Hello.
const (
	HelloDegraded    uint16 = 1 << 0 // the manager answers FAIL to loads and saves
	HelloProvisioned uint16 = 1 << 1 // the root is sealed under an approved policy
	HelloNoRollback  uint16 = 1 << 2 // rollback=off
	HelloTPM12       uint16 = 1 << 3 // hardware is a TPM 1.2
)

// Append appends the body.
func (h Hello) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, h.Version)
	dst = binary.BigEndian.AppendUint16(dst, h.Flags)
	return append(dst, h.Manager[:]...)
}

// ParseHello reads the body.
func ParseHello(body []byte) (Hello, error) {
	r := NewReader(body)
	h := Hello{Version: r.U16(), Flags: r.U16(), Manager: r.UUID()}
	return h, r.Done()
}

// Hash algorithms of hardware PCR banks, by their TPM_ALG_ID.
const (
	AlgSHA1   uint16 = 0x0004
	AlgSHA256 uint16 = 0x000B
	AlgSHA384 uint16 = 0x000C
	AlgSHA512 uint16 = 0x000D
)

// DigestSize is the size of a digest of alg, 0 if unknown.
func DigestSize(alg uint16) int {
	switch alg {
	case AlgSHA1:
		return 20
	case AlgSHA256:
		return 32
	case AlgSHA384:
		return 48
	case AlgSHA512:
		return 64
	}
	return 0
}

// PCRSelection is a set of PCRs 0 to 23 of one bank.
type PCRSelection struct {
	Alg  uint16
	Mask uint32 // bit n = PCR n
}

// Count is the number of PCRs selected.
func (s PCRSelection) Count() int {
	n := 0
	for m := s.Mask; m != 0; m &= m - 1 {
		n++
	}
	return n
}

// Append appends u16 alg, u32 mask.
func (s PCRSelection) Append(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(dst, s.Alg), s.Mask)
}

// ReadPCRSelection takes a selection; an unknown bank or a PCR above 23 makes
// the reader bad.
func ReadPCRSelection(r *Reader) PCRSelection {
	s := PCRSelection{Alg: r.U16(), Mask: r.U32()}
	if DigestSize(s.Alg) == 0 || s.Mask>>24 != 0 {
		r.bad = true
	}
	return s
}

// ParseHwPCRRead reads the body of OrdHwPCRRead: u16 version, then a
// selection. The answer is the values in rising order of PCR.
func ParseHwPCRRead(body []byte) (PCRSelection, error) {
	r := NewReader(body)
	v := r.U16()
	s := ReadPCRSelection(r)
	if err := r.Done(); err != nil {
		return PCRSelection{}, err
	}
	if v != Version {
		return PCRSelection{}, BadVersion
	}
	return s, nil
}

// ParseGetRandom reads the body of a plain TPM_GetRandom: u32 count.
func ParseGetRandom(body []byte) (uint32, error) {
	r := NewReader(body)
	n := r.U32()
	return n, r.Done()
}

// ParsePcrRead reads the body of a plain TPM_PcrRead: u32 index.
func ParsePcrRead(body []byte) (uint32, error) { return ParseGetRandom(body) }
