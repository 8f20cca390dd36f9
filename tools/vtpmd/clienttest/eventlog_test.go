package clienttest

import (
	_ "crypto/sha1" // of logHashes
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// logReader reads a TCG event log (PC Client Platform Firmware Profile, clause 10), whose integers
// are little-endian. After its end everything is zero.
type logReader struct {
	b     []byte
	short bool
}

func (r *logReader) bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.short = true
		n = 0
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *logReader) u16() uint16 {
	if b := r.bytes(2); len(b) == 2 {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *logReader) u32() uint32 {
	if b := r.bytes(4); len(b) == 4 {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// evNoAction is what is in the log and in no PCR.
const evNoAction = 3

// replay computes PCRs from a crypto-agile event log.
func replay(events []byte) (pcrs, error) {
	r := &logReader{b: events}
	// The first event has the old format and names the algorithms of the others.
	r.u32()
	if kind := r.u32(); kind != evNoAction {
		return nil, fmt.Errorf("the first event is of type %d", kind)
	}
	r.bytes(20)
	head := &logReader{b: r.bytes(int(r.u32()))}
	if !strings.HasPrefix(string(head.bytes(16)), "Spec ID Event03") {
		return nil, fmt.Errorf("no crypto-agile log")
	}
	head.bytes(8) // platform, versions, size of UINTN
	found := pcrs{}
	for range min(head.u32(), 16) {
		alg, size := head.u16(), head.u16()
		h, ok := logHashes[alg]
		if !ok || int(size) != h.hash.Size() {
			return nil, fmt.Errorf("algorithm 0x%x with digests of %d octets", alg, size)
		}
		var zero [10][]byte
		for n := range zero {
			zero[n] = make([]byte, size)
		}
		found[h.name] = zero
	}
	for len(r.b) > 0 && !r.short {
		r.event(found)
	}
	if r.short {
		return nil, fmt.Errorf("the log ends in the middle of an event")
	}
	return found, nil
}

// event reads one event and extends what it is about.
func (r *logReader) event(found pcrs) {
	n, kind := r.u32(), r.u32()
	for range min(r.u32(), 16) {
		h, ok := logHashes[r.u16()]
		if !ok {
			r.short = true // what follows cannot be found
			return
		}
		digest := r.bytes(h.hash.Size())
		if bank, ok := found[h.name]; ok && n < 10 && kind != evNoAction {
			sum := h.hash.New()
			sum.Write(bank[n])
			sum.Write(digest)
			bank[n] = sum.Sum(nil)
			found[h.name] = bank
		}
	}
	r.bytes(int(r.u32()))
}

func FuzzReplay(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x03\x00\x00\x00" + strings.Repeat("\x00", 20) + "\x21\x00\x00\x00Spec ID Event03\x00" + "\x00\x00\x00\x00\x00\x02\x00\x02\x01\x00\x00\x00\x0b\x00\x20\x00\x00" +
		"\x07\x00\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00\x0b\x00" + strings.Repeat("\x01", 32) + "\x04\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		found, err := replay(b)
		if err == nil && found == nil {
			t.Error("neither PCRs nor an error")
		}
	})
}
