package service

import (
	"errors"
	"fmt"

	"xenvtpm/vtpm-stub/state"
	"xenvtpm/vtpm-stub/tpmcrypto"
	"xenvtpm/vtpmmgr-stub/proto"
)

// Keys is the manager as the KeyStore of package state.
type Keys struct{ Client *proto.Client }

// Load implements state.KeyStore. Only the manager's BAD_PARAMETER means that
// there is no record; every other refusal is an error.
func (k Keys) Load() ([]byte, error) {
	r, err := k.Client.LoadHashKey()
	if errors.Is(err, proto.ErrNoRecord) {
		return nil, state.ErrNoRecord
	}
	if err != nil {
		return nil, fmt.Errorf("LOADHASHKEY: %w", err)
	}
	return r[:], nil
}

// Save implements state.KeyStore.
func (k Keys) Save(record []byte) error {
	r, err := proto.ParseSave(record)
	if err != nil {
		return err
	}
	if err := k.Client.SaveHashKey(r); err != nil {
		return fmt.Errorf("SAVEHASHKEY: %w", err)
	}
	return nil
}

// PCRInitializer is an Engine whose PCRs can be given a value before a guest
// uses them.
type PCRInitializer interface {
	InitPCR(bank tpmcrypto.Alg, n int, digest []byte) error
}

// pcrBanks are the banks that hardware is asked for.
var pcrBanks = []tpmcrypto.Alg{tpmcrypto.AlgSHA1, tpmcrypto.AlgSHA256, tpmcrypto.AlgSHA384, tpmcrypto.AlgSHA512}

// copyHWPCRs copies the hardware PCRs of mask into the TPM's banks of the same
// algorithms. A bank that the hardware does not have is left as it is; when
// there is none at all, that is an error, and so is a question that the manager
// did not answer. A stock manager has the SHA-1 bank only.
func copyHWPCRs(c *proto.Client, to PCRInitializer, mask uint32, logf func(string, ...any)) error {
	done := 0
	var last error
	for _, bank := range pcrBanks {
		values, err := readHWPCRs(c, bank, mask)
		if refused := proto.Result(0); err != nil && !errors.As(err, &refused) {
			return err
		}
		if err != nil {
			last = err
			logf("service: hardware PCRs of bank %#x: %v", uint16(bank), err)
			continue
		}
		i := 0
		for n := range pcrCount {
			if mask>>n&1 == 0 {
				continue
			}
			if err := to.InitPCR(bank, n, values[i]); err != nil {
				return fmt.Errorf("PCR %d of bank %#x: %w", n, uint16(bank), err)
			}
			i++
		}
		done++
	}
	if done == 0 {
		return fmt.Errorf("no bank of hardware PCRs can be read: %w", last)
	}
	return nil
}

// readHWPCRs returns the selected PCRs of one bank in rising order.
func readHWPCRs(c *proto.Client, bank tpmcrypto.Alg, mask uint32) ([][]byte, error) {
	values, err := c.HwPCRs(proto.PCRSelection{Alg: uint16(bank), Mask: mask})
	if err == nil || bank != tpmcrypto.AlgSHA1 {
		return values, err
	}
	values = nil
	for n := range pcrCount {
		if mask>>n&1 == 0 {
			continue
		}
		v, err := c.PCRRead(n)
		if err != nil {
			return nil, err
		}
		values = append(values, v[:])
	}
	return values, nil
}
