package service

import (
	"crypto/rand"
	"crypto/subtle"
	"io"
	"sync"

	"xenvtpm/vtpm-stub/tpmcrypto"
	"xenvtpm/vtpmmgr-stub/proto"
)

// hwSeedSize is how much of the hardware TPM's randomness is asked for.
const hwSeedSize = 64

// mixed is the image's own generator (crypto/rand, seeded by RDRAND) XORed with
// a DRBG that was seeded by the hardware TPM as well: as good as the better of
// the two.
type mixed struct {
	mu   sync.Mutex
	drbg *tpmcrypto.DRBG
	buf  [64]byte
}

// NewEntropy returns the TPM's entropy source. Without a manager, or when that
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
	return &mixed{drbg: tpmcrypto.NewDRBG(own, hw, []byte("xenvtpm entropy"))}
}

// Read fills p. It never fails.
func (m *mixed) Read(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, _ = rand.Read(p) // never fails
	for q := p; len(q) > 0; {
		_, _ = m.drbg.Read(m.buf[:]) // never fails
		q = q[subtle.XORBytes(q, q, m.buf[:min(len(q), len(m.buf))]):]
	}
	return len(p), nil
}
