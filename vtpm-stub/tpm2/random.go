package tpm2

import (
	"fmt"
	"io"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// reseedAfter is how many refills of the pool one seed serves.
const reseedAfter = 256

// seedRandom instantiates the generator of all random values.
func (t *TPM) seedRandom() error {
	var seed [48]byte
	if _, err := io.ReadFull(t.cfg.Entropy, seed[:]); err != nil {
		return fmt.Errorf("tpm2: entropy: %w", err)
	}
	t.drbg = tpmcrypto.NewDRBG(seed[:32], seed[32:], []byte("xenvtpm tpm2 random"))
	t.poolLeft = len(t.pool)
	clear(seed[:])
	return nil
}

// stir adds fresh entropy and the caller's octets to the generator.
func (t *TPM) stir(additional []byte) RC {
	var seed [32]byte
	if _, err := io.ReadFull(t.cfg.Entropy, seed[:]); err != nil {
		return t.fail(TPM_RC_FAILURE, "entropy source: "+err.Error())
	}
	t.drbg.Reseed(seed[:], additional)
	clear(seed[:])
	clear(t.pool[:])
	t.poolLeft = len(t.pool)
	t.refills = 0
	return TPM_RC_SUCCESS
}

// random fills p. Octets are taken from a pool, so that the cost of a generate
// call is shared, and wiped from it when taken.
func (t *TPM) random(p []byte) {
	for len(p) > 0 {
		if t.poolLeft == len(t.pool) {
			t.refill()
		}
		n := copy(p, t.pool[t.poolLeft:])
		clear(t.pool[t.poolLeft : t.poolLeft+n])
		t.poolLeft += n
		p = p[n:]
	}
}

func (t *TPM) refill() {
	t.refills++
	if t.refills > reseedAfter {
		// In failure mode nothing random leaves the TPM any more, so that the
		// outcome need not be looked at here.
		_ = t.stir(nil)
	}
	_, _ = t.drbg.Read(t.pool[:]) // never fails
	t.poolLeft = 0
}

// rng is the TPM's generator as an io.Reader, for key generation.
type rng struct{ t *TPM }

func (r rng) Read(p []byte) (int, error) {
	r.t.random(p)
	return len(p), nil
}
