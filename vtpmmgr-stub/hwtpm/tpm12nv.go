package hwtpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"xenvtpm/vtpmmgr-stub/proto"
)

// The anchor of a TPM 1.2 holds the counter's id as well: 24 bytes as on a TPM
// 2.0, then u32.
const anchor12Size = anchorSize + 4

// Anchor reads the anchor.
func (d *TPM12) Anchor() (a Anchor, err error) {
	defer guard(&err)
	body := binary.BigEndian.AppendUint32(nil, nv12Index)
	body = binary.BigEndian.AppendUint32(body, 0)
	rsp, err := d.bus.begin().plain(ord12NVRead, binary.BigEndian.AppendUint32(body, anchor12Size))
	if errors.Is(err, rc12BadIndex) {
		return Anchor{}, nil
	}
	if err != nil {
		return Anchor{}, classify12("read anchor", d.bus.first, err)
	}
	r := proto.NewReader(rsp)
	b := r.Bytes(int(r.U32()))
	if r.Done() != nil {
		return Anchor{}, fmt.Errorf("%w: anchor", ErrMalformed)
	}
	if bytes.Count(b, []byte{0xFF}) == len(b) { // defined, never written
		return Anchor{State: AnchorMaking}, nil
	}
	if len(b) != anchor12Size || !bytes.HasPrefix(b, anchorMagic) || b[4] != anchorVersion || b[5] < byte(AnchorMaking) || b[5] > byte(AnchorActive) {
		return Anchor{}, fmt.Errorf("%w: 0x%08x", ErrIndexInUse, nv12Index)
	}
	d.counter = binary.BigEndian.Uint32(b[anchorSize:])
	return Anchor{State: AnchorState(b[5]), Manager: [16]byte(b[8:])}, nil
}

// SetAnchor writes the anchor, defining it first if need be; AnchorNone removes
// it.
func (d *TPM12) SetAnchor(a Anchor) (err error) {
	defer guard(&err)
	if a.State == AnchorNone {
		return d.defineNV(0)
	}
	b := append(append(bytes.Clone(anchorMagic), anchorVersion, byte(a.State), 0, 0), a.Manager[:]...)
	b = binary.BigEndian.AppendUint32(b, d.counter)
	if err = d.writeNV(b); errors.Is(err, rc12BadIndex) {
		if err := d.defineNV(anchor12Size); err != nil {
			return err
		}
		err = d.writeNV(b)
	}
	if err != nil {
		return classify12("write anchor", d.bus.first, err)
	}
	return nil
}

// defineNV defines the anchor's area: the owner writes it, anyone reads it; of
// size 0: removes it.
func (d *TPM12) defineNV(size uint32) error {
	info := append([]byte{0, 3, 0, 0, 0, 0x1F}, make([]byte, 20)...) // TPM_PCR_INFO_SHORT: no PCRs, any locality
	pub := binary.BigEndian.AppendUint16(nil, 0x0018)                // TPM_TAG_NV_DATA_PUBLIC
	pub = binary.BigEndian.AppendUint32(pub, nv12Index)
	pub = append(append(pub, info...), info...)
	pub = binary.BigEndian.AppendUint16(pub, 0x0017)     // TPM_TAG_NV_ATTRIBUTES
	pub = binary.BigEndian.AppendUint32(pub, 0x00000002) // TPM_NV_PER_OWNERWRITE
	pub = append(pub, 0, 0, 0)
	pub = binary.BigEndian.AppendUint32(pub, size)
	s, err := d.bus.begin().osapOwner(d.owner[:])
	if err == nil {
		_, err = d.bus.auth1(s, ord12NVDefine, append(pub, s.encAuth(make([]byte, 20))...))
	}
	if err != nil {
		return classify12("define NV area", d.bus.first, err)
	}
	return nil
}

func (d *TPM12) writeNV(data []byte) error {
	body := binary.BigEndian.AppendUint32(nil, nv12Index)
	body = binary.BigEndian.AppendUint32(body, 0)
	body = append(binary.BigEndian.AppendUint32(body, uint32(len(data))), data...)
	s, err := d.bus.begin().oiap(d.owner[:])
	if err != nil {
		return err
	}
	_, err = d.bus.auth1(s, ord12NVWrite, body)
	return err
}

// counterAuth12 makes 20 bytes of the 32 that the root secret holds.
func counterAuth12(auth []byte) (a [20]byte) { return [20]byte(sum1(auth)) }

// MakeCounter creates the counter and notes its id in the anchor. One that is
// left of a store that was never finished is released first.
func (d *TPM12) MakeCounter(auth []byte) (value uint64, err error) {
	defer guard(&err)
	anchor, err := d.Anchor()
	if err != nil {
		return 0, err
	}
	if err := d.releaseCounters(); err != nil {
		return 0, err
	}
	d.auth = counterAuth12(auth)
	s, err := d.bus.begin().osapOwner(d.owner[:])
	if err != nil {
		return 0, classify12("create counter", d.bus.first, err)
	}
	out, err := d.bus.auth1(s, ord12CreateCounter, append(s.encAuth(d.auth[:]), counterLabel...))
	if err != nil {
		return 0, classify12("create counter", d.bus.first, err)
	}
	r := proto.NewReader(out)
	id := r.U32()
	if value, err = counterValue(r); err != nil {
		return 0, err
	}
	d.counter = id
	if anchor.State == AnchorNone {
		anchor.State = AnchorMaking
	}
	return value, d.SetAnchor(anchor)
}

// counterValue reads a TPM_COUNTER_VALUE: tag 0x000E, label, u32.
func counterValue(r *proto.Reader) (uint64, error) {
	tag, label, v := r.U16(), string(r.Bytes(4)), r.U32()
	if r.Done() != nil || tag != 0x000E {
		return 0, fmt.Errorf("%w: counter", ErrMalformed)
	}
	if label != counterLabel {
		return 0, ErrCounterReplaced
	}
	return uint64(v), nil
}

// noCounter is TPM_COUNT_ID_NULL.
const noCounter = 0xFFFFFFFF

// maxCounterID bounds the search; TPMs have four to eight counters, numbered
// from 0 or 1.
const maxCounterID = 32

// releaseCounters releases the counters with our label.
func (d *TPM12) releaseCounters() error {
	for id := range uint32(maxCounterID) {
		if _, err := d.readCounter(id); err != nil {
			if errors.Is(err, ErrNoTPM) || errors.Is(err, ErrBusy) {
				return err
			}
			continue // none, or not ours
		}
		s, err := d.bus.begin().oiap(d.owner[:])
		if err == nil {
			_, err = d.bus.auth1(s, ord12ReleaseCounter, binary.BigEndian.AppendUint32(nil, id))
		}
		if err != nil {
			return classify12("release counter", d.bus.first, err)
		}
	}
	return nil
}

func (d *TPM12) readCounter(id uint32) (uint64, error) {
	rsp, err := d.bus.begin().plain(ord12ReadCounter, binary.BigEndian.AppendUint32(nil, id))
	if err != nil {
		return 0, classify12("read rollback counter", d.bus.first, err)
	}
	return counterValue(proto.NewReader(rsp))
}

// OpenCounter finds the counter that the anchor names.
func (d *TPM12) OpenCounter(auth []byte) (value uint64, err error) {
	defer guard(&err)
	if _, err := d.Anchor(); err != nil {
		return 0, err
	}
	d.auth = counterAuth12(auth)
	return d.Counter()
}

// Counter reads the counter. The answer is not authenticated.
func (d *TPM12) Counter() (value uint64, err error) {
	defer guard(&err)
	if d.counter == noCounter {
		return 0, ErrCounterMissing
	}
	return d.readCounter(d.counter)
}

// Increment adds one. The answer proves that this counter did move.
func (d *TPM12) Increment() (err error) {
	defer guard(&err)
	s, err := d.bus.begin().oiap(d.auth[:])
	if err == nil {
		_, err = d.bus.auth1(s, ord12Increment, binary.BigEndian.AppendUint32(nil, d.counter))
	}
	if errors.Is(err, rc12AuthFail) {
		return fmt.Errorf("increment rollback counter: %w", ErrCounterReplaced)
	}
	if err != nil {
		return classify12("increment rollback counter", d.bus.first, err)
	}
	return nil
}
