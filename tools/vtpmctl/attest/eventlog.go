package attest

import (
	"bytes"
	"crypto"
	_ "crypto/sha256" // hash implementations for crypto.Hash
	_ "crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// The platform's event log: TCG PC Client Platform Firmware Profile 1.05 (PFP),
// section 10: one TCG_PCR_EVENT that describes the rest, then TCG_PCR_EVENT2s,
// all little-endian.

const (
	evNoAction  = 3
	maxEvents   = 100_000
	maxAlgs     = 16
	specIDMagic = "Spec ID Event03\x00"
)

var errLog = errors.New("event log malformed")

type logReader struct {
	b   []byte
	bad bool
}

func (r *logReader) take(n uint32) []byte {
	if r.bad || uint64(n) > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *logReader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *logReader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *logReader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

var hashes = map[uint16]crypto.Hash{proto.AlgSHA256: crypto.SHA256, proto.AlgSHA384: crypto.SHA384, proto.AlgSHA512: crypto.SHA512}

// Replay computes the PCRs that a log leads to, in one bank.
func Replay(log []byte, alg uint16) (pcrs [24][]byte, events int, err error) {
	hash, ok := hashes[alg]
	if !ok {
		return pcrs, 0, fmt.Errorf("event log: no bank 0x%04x", alg)
	}
	r := &logReader{b: log}
	sizes, locality, err := header(r)
	if err != nil {
		return pcrs, 0, err
	}
	if sizes[alg] != uint32(hash.Size()) {
		return pcrs, 0, fmt.Errorf("event log: it has no digests of bank 0x%04x", alg)
	}
	for i := range pcrs {
		pcrs[i] = make([]byte, hash.Size())
		if i >= 17 && i <= 22 {
			pcrs[i] = bytes.Repeat([]byte{0xFF}, hash.Size())
		}
	}
	pcrs[0][hash.Size()-1] = locality
	for ; len(r.b) > 0; events++ {
		pcr, kind := r.u32(), r.u32()
		digest, err := digests(r, sizes, alg)
		r.take(r.u32())
		if err != nil || r.bad || events > maxEvents || kind != evNoAction && pcr > 23 {
			return pcrs, events, errLog
		}
		if kind != evNoAction {
			h := hash.New()
			h.Write(pcrs[pcr])
			h.Write(digest)
			pcrs[pcr] = h.Sum(nil)
		}
	}
	return pcrs, events, nil
}

// header reads the first event, in the old form: the banks and their digest
// sizes. The start-up locality (PFP 10.4.5.3) stays 0: a log that begins with
// another one has a later event for it, read here too.
func header(r *logReader) (sizes map[uint16]uint32, locality byte, err error) {
	pcr, kind := r.u32(), r.u32()
	r.take(20)
	ev := &logReader{b: r.take(r.u32())}
	if r.bad || pcr != 0 || kind != evNoAction || string(ev.take(16)) != specIDMagic {
		return nil, 0, errLog
	}
	ev.take(8) // platform class, versions, errata, uintn size
	n := ev.u32()
	if n == 0 || n > maxAlgs {
		return nil, 0, errLog
	}
	sizes = map[uint16]uint32{}
	for range n {
		alg := ev.u16()
		sizes[alg] = uint32(ev.u16())
	}
	ev.take(uint32(ev.u8()))
	if ev.bad || len(ev.b) != 0 {
		return nil, 0, errLog
	}
	return sizes, startupLocality(*r, sizes), nil
}

// startupLocality looks one event ahead for "StartupLocality".
func startupLocality(r logReader, sizes map[uint16]uint32) byte {
	_, kind := r.u32(), r.u32()
	if _, err := digests(&r, sizes, 0); err != nil || kind != evNoAction {
		return 0
	}
	data := r.take(r.u32())
	if len(data) == 17 && bytes.HasPrefix(data, []byte("StartupLocality\x00")) {
		return data[16]
	}
	return 0
}

func digests(r *logReader, sizes map[uint16]uint32, alg uint16) (digest []byte, err error) {
	n := r.u32()
	if n > maxAlgs {
		return nil, errLog
	}
	for range n {
		a := r.u16()
		size, ok := sizes[a]
		if !ok {
			return nil, errLog
		}
		if d := r.take(size); a == alg {
			digest = d
		}
	}
	if r.bad || alg != 0 && digest == nil {
		return nil, errLog
	}
	return digest, nil
}

// log compares the log with the quoted PCRs.
func (r *Report) log(log []byte, q *proto.DeepQuote) {
	pcrs, events, err := Replay(log, q.PCRs.Alg)
	if !r.check(err, "event log can be read") {
		return
	}
	i := 0
	var values [][]byte
	for pcr := range pcrs {
		if q.PCRs.Mask>>pcr&1 == 0 {
			continue
		}
		if !bytes.Equal(pcrs[pcr], q.Values[i]) {
			r.check(errors.New("they differ"), "PCR %d is what the event log leads to", pcr)
		}
		values = append(values, pcrs[pcr])
		i++
	}
	if hwtpm.PCRDigest(values) == hwtpm.PCRDigest(q.Values) {
		r.note("the event log (%d events) leads to all quoted PCRs", events)
	}
}
