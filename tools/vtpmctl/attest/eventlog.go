package attest

import (
	"bytes"
	"crypto"
	_ "crypto/sha1"
	_ "crypto/sha256" // hash implementations for crypto.Hash
	_ "crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"

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

var hashes = map[uint16]crypto.Hash{proto.AlgSHA1: crypto.SHA1, proto.AlgSHA256: crypto.SHA256, proto.AlgSHA384: crypto.SHA384, proto.AlgSHA512: crypto.SHA512}

// Replay computes the PCRs that a log leads to, in one bank, and how many events
// each has.
func Replay(log []byte, alg uint16) (pcrs [pcrCount][]byte, events [pcrCount]int, err error) {
	hash, ok := hashes[alg]
	if !ok {
		return pcrs, events, fmt.Errorf("event log: no bank 0x%04x", alg)
	}
	r := &logReader{b: log}
	sizes, err := header(r)
	if err != nil {
		return pcrs, events, err
	}
	if sizes[alg] != uint32(hash.Size()) {
		return pcrs, events, fmt.Errorf("event log: it has no digests of bank %s", bankName(alg))
	}
	for i := range pcrs {
		pcrs[i] = make([]byte, hash.Size())
		if i >= 17 && i <= 22 {
			pcrs[i] = bytes.Repeat([]byte{0xFF}, hash.Size())
		}
	}
	for total := 0; len(r.b) > 0; total++ {
		pcr, kind := r.u32(), r.u32()
		digest, err := digests(r, sizes, alg)
		data := r.take(r.u32())
		if err != nil || r.bad || total > maxEvents || kind != evNoAction && pcr >= pcrCount {
			return pcrs, events, errLog
		}
		if kind == evNoAction {
			if locality, ok := startupLocality(data); ok && events[0] == 0 {
				pcrs[0][hash.Size()-1] = locality
			}
			continue
		}
		h := hash.New()
		h.Write(pcrs[pcr])
		h.Write(digest)
		pcrs[pcr] = h.Sum(nil)
		events[pcr]++
	}
	return pcrs, events, nil
}

// header reads the first event, in the old form: the banks and their digest
// sizes.
func header(r *logReader) (sizes map[uint16]uint32, err error) {
	pcr, kind := r.u32(), r.u32()
	r.take(20)
	ev := &logReader{b: r.take(r.u32())}
	if r.bad || pcr != 0 || kind != evNoAction || string(ev.take(16)) != specIDMagic {
		return nil, errLog
	}
	ev.take(8) // platform class, versions, errata, uintn size
	n := ev.u32()
	if n == 0 || n > maxAlgs {
		return nil, errLog
	}
	sizes = map[uint16]uint32{}
	for range n {
		alg := ev.u16()
		sizes[alg] = uint32(ev.u16())
	}
	ev.take(uint32(ev.u8()))
	if ev.bad || len(ev.b) != 0 {
		return nil, errLog
	}
	return sizes, nil
}

// startupLocality reads the event that says from which locality TPM2_Startup came,
// which is the last octet of PCR 0 at its start (PFP 10.4.5.3).
func startupLocality(data []byte) (locality byte, ok bool) {
	if len(data) != 17 || !bytes.HasPrefix(data, []byte("StartupLocality\x00")) {
		return 0, false
	}
	return data[16], true
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
		d := r.take(size)
		if a != alg {
			continue
		}
		if digest != nil { // two digests of one bank: which one was extended?
			return nil, errLog
		}
		digest = d
	}
	if r.bad || digest == nil {
		return nil, errLog
	}
	return digest, nil
}

// eventLog compares the log with the quoted PCRs.
func (r *Report) eventLog(log []byte, q *proto.DeepQuote, wanted bool) {
	if len(log) == 0 && !wanted {
		r.unproven("which software the hardware PCRs stand for: the bundle has no event log")
		return
	}
	events, err := leads(log, q)
	if r.check(CheckEventLog, err, "the event log (%d events) leads to all quoted PCRs", events) {
		r.unproven("what the event log's descriptions say: only its digests lead to the PCRs")
	}
}

// leads says whether a log ends in the values quoted, and for how many events.
func leads(log []byte, q *proto.DeepQuote) (events int, err error) {
	switch {
	case len(log) == 0:
		return 0, errMissing
	case q == nil || q.PCRs.Mask == 0:
		return 0, errors.New("no hardware PCRs are quoted to compare it with")
	}
	pcrs, counts, err := Replay(log, q.PCRs.Alg)
	if err != nil {
		return 0, err
	}
	var differ uint32
	i := 0
	for pcr := range pcrs {
		if q.PCRs.Mask>>pcr&1 == 0 {
			continue
		}
		events += counts[pcr]
		if !bytes.Equal(pcrs[pcr], q.Values[i]) {
			differ |= 1 << pcr
		}
		i++
	}
	if differ != 0 {
		return events, fmt.Errorf("PCR %s: the log leads to other values", numbers(differ))
	}
	return events, nil
}
