package tpmcrypto

import (
	"crypto/subtle"
	"io"
	"sync"
)

// mixed is a source XORed with a DRBG.
type mixed struct {
	mu   sync.Mutex
	own  io.Reader
	drbg *DRBG
	buf  [64]byte
}

// Mixed returns own XORed with the DRBG: as good as the better of the two, where
// the DRBG was seeded by something else beside own. It fails only where own does.
func Mixed(own io.Reader, drbg *DRBG) io.Reader { return &mixed{own: own, drbg: drbg} }

func (m *mixed) Read(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.own.Read(p)
	for q := p[:n]; len(q) > 0; {
		_, _ = m.drbg.Read(m.buf[:]) // never fails
		q = q[subtle.XORBytes(q, q, m.buf[:min(len(q), len(m.buf))]):]
	}
	return n, err
}
