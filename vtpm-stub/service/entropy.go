package service

import (
	"crypto/rand"
	"io"

	"xenvtpm/vtpm-stub/tpmcrypto"
	"xenvtpm/vtpmmgr-stub/proto"
)

// hwSeedSize is how much of the hardware TPM's randomness is asked for.
const hwSeedSize = 64

// NewEntropy returns the TPM's entropy source: the image's own generator
// (crypto/rand, seeded by RDRAND) mixed with a DRBG that was seeded by the
// hardware TPM as well. Without a manager, or when that
// refuses, it rests on crypto/rand alone, which is logged.
func NewEntropy(c *proto.Client, logf func(string, ...any)) io.Reader {
	own := make([]byte, hwSeedSize)
	_, _ = rand.Read(own) // never fails
	var hw []byte
	for c != nil && len(hw) < hwSeedSize {
		b, err := c.GetRandom(hwSeedSize - len(hw))
		if err != nil {
			logf("service: no randomness from the hardware TPM: %v", err)
			break
		}
		hw = append(hw, b...)
	}
	return tpmcrypto.Mixed(rand.Reader, tpmcrypto.NewDRBG(own, hw, []byte("xenvtpm entropy")))
}
