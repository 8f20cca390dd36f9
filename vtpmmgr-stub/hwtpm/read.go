package hwtpm

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/vtpmmgr-stub/proto"
)

// GetRandom returns between 1 and n bytes of the TPM's generator, n at most 64.
func (t *TPM) GetRandom(n int) (b []byte, err error) {
	defer t.done(&err)
	rsp, err := tpm2.GetRandom{BytesRequested: uint16(min(max(n, 1), 64))}.Execute(t.t)
	if err != nil {
		return nil, classify("get random", err)
	}
	got := rsp.RandomBytes.Buffer
	if len(got) == 0 || len(got) > n {
		return nil, fmt.Errorf("%w: %d random bytes", ErrMalformed, len(got))
	}
	return bytes.Clone(got), nil
}

// PCRs reads the selected PCRs, in rising order. Error ErrPCRBank if the TPM
// does not have one of them.
func (t *TPM) PCRs(s proto.PCRSelection) (values [][]byte, err error) {
	defer t.done(&err)
	for rest := s.Mask; rest != 0; { // a TPM gives at most 8 at a time, in order
		rsp, err := tpm2.PCRRead{PCRSelectionIn: pcrList(proto.PCRSelection{Alg: s.Alg, Mask: rest})}.Execute(t.t)
		if errors.Is(err, tpm2.TPMRCHash) {
			return nil, fmt.Errorf("%w: bank 0x%04x", ErrPCRBank, s.Alg)
		}
		if err != nil {
			return nil, classify("read PCRs", err)
		}
		got, err := gotMask(s.Alg, rsp.PCRSelectionOut)
		if err != nil || got == 0 || got&^rest != 0 || len(rsp.PCRValues.Digests) != (proto.PCRSelection{Mask: got}).Count() {
			return nil, fmt.Errorf("%w: bank 0x%04x, PCRs 0x%06x", ErrPCRBank, s.Alg, rest)
		}
		for _, d := range rsp.PCRValues.Digests {
			if len(d.Buffer) != proto.DigestSize(s.Alg) {
				return nil, fmt.Errorf("%w: PCR of %d bytes", ErrMalformed, len(d.Buffer))
			}
			values = append(values, bytes.Clone(d.Buffer))
		}
		// The lowest bits come first, or the order of values would not be that of PCRs.
		if low := rest & -rest; got&low == 0 {
			return nil, fmt.Errorf("%w: PCRs out of order", ErrMalformed)
		}
		rest &^= got
	}
	return values, nil
}

func gotMask(alg uint16, l tpm2.TPMLPCRSelection) (mask uint32, err error) {
	for _, s := range l.PCRSelections {
		if uint16(s.Hash) != alg || len(s.PCRSelect) > 4 {
			return 0, ErrMalformed
		}
		for i, b := range s.PCRSelect {
			mask |= uint32(b) << (8 * i)
		}
	}
	return mask, nil
}
