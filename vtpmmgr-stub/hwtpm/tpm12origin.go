package hwtpm

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"fmt"

	"xenvtpm/vtpmmgr-stub/proto"
)

// Origin compares the PCRs at which a blob was sealed, which a TPM 1.2 notes in it
// by itself (TPM_PCR_INFO_LONG, digestAtCreation), with the present ones. That the
// note is the TPM's own is for Unseal to find out: the blob's encrypted part holds
// a digest over it and the TPM's secret proof (TPM 1.2 part 3, 10.1). There is no
// text of the maker's; the sealed secret names its manager.
func (d *TPM12) Origin(b *Binding, _ []byte) (o Origin, err error) {
	defer guard(&err)
	if b.Kind != KindTPM12 {
		return o, fmt.Errorf("%w (it was a TPM 2.0)", ErrReplaced)
	}
	noted, err := notedAtCreation(b.Private)
	if err != nil {
		return o, err
	}
	o.PCRs = noted.pcrs
	now, err := d.PCRs(o.PCRs)
	if err != nil {
		return o, err
	}
	present := compositeHash(o.PCRs, now)
	o.Present = bytes.Equal(present[:], noted.digest)
	return o, nil
}

// noted12 is the part of a TPM_PCR_INFO_LONG that is about the making.
type noted12 struct {
	pcrs   proto.PCRSelection
	digest []byte
}

// notedAtCreation reads a TPM_STORED_DATA12: tag, entity type, sealInfo, encData;
// sealInfo is tag 0x0006 | localities at creation and release | PCR selections
// of both | digests of both.
func notedAtCreation(blob []byte) (n noted12, err error) {
	r := proto.NewReader(blob)
	_ = r.U32()
	info := proto.NewReader(r.Bytes(int(r.U32())))
	tag := info.U16()
	_ = info.U16()
	if info.U16() != 3 || tag != 0x0006 || r.Err() != nil {
		return n, fmt.Errorf("%w: sealed blob malformed", ErrForged)
	}
	mask := info.Bytes(3)
	_ = info.Bytes(int(info.U16()))
	n.digest = bytes.Clone(info.Bytes(20))
	if _ = info.Bytes(20); info.Done() != nil {
		return n, fmt.Errorf("%w: sealed blob malformed", ErrForged)
	}
	n.pcrs = proto.PCRSelection{Alg: proto.AlgSHA1, Mask: uint32(mask[0]) | uint32(mask[1])<<8 | uint32(mask[2])<<16}
	return n, nil
}

// compositeHash is TPM_COMPOSITE_HASH of a selection of three octets.
func compositeHash(s proto.PCRSelection, values [][]byte) [20]byte {
	b := []byte{0, 3, byte(s.Mask), byte(s.Mask >> 8), byte(s.Mask >> 16)}
	all := bytes.Join(values, nil)
	b = binary.BigEndian.AppendUint32(b, uint32(len(all)))
	return sha1.Sum(append(b, all...))
}
