package manager

import (
	"fmt"
	"io"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// seedSize is how much of each source goes into the manager's generator, in bytes.
const seedSize = 64

// seed mixes the hardware TPM's randomness into the manager's source: keys are as
// good as the better of the two. Without it nothing is made.
func (m *Manager) seed() error {
	own := make([]byte, seedSize)
	if _, err := io.ReadFull(m.c.Rand, own); err != nil {
		return fmt.Errorf("own randomness: %w", err)
	}
	hw, err := m.c.HW.Entropy(seedSize)
	if err != nil {
		return fmt.Errorf("randomness of the hardware TPM: %w", err)
	}
	m.c.Rand = tpmcrypto.Mixed(m.c.Rand, tpmcrypto.NewDRBG(own, hw, []byte("xenvtpm manager entropy")))
	return nil
}
