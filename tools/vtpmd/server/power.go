package server

import (
	"errors"
	"fmt"
	"io/fs"

	"xenvtpm/tools/vtpmd/statefile"
)

// power makes the engine, of blobs that came by SetBlob or of what is in storage.
func (m *Machine) power(deleteVolatile bool) (Engine, error) {
	if len(m.incoming) > 0 {
		return m.powerIncoming()
	}
	permanent, err := m.load(statefile.Permanent)
	if err != nil {
		return nil, err
	}
	volatile, err := m.load(statefile.Volatile)
	if err == nil {
		var e Engine
		if e, err = m.supply(permanent, volatile); !errors.Is(err, ErrVolatile) {
			return e, err
		}
	}
	if !deleteVolatile {
		return nil, fmt.Errorf("%w; to start without it, as after a power cut, delete it or ask for that with the init", err)
	}
	m.cfg.Logf("%v; it is deleted, and the TPM starts as after a power cut", err)
	return m.supply(permanent, nil)
}

// powerIncoming uses blobs of SetBlob, once. They take the place of storage's when the TPM has
// come up with them: what is refused leaves no trace. A permanent blob is another TPM, to
// which volatile state in storage does not belong.
func (m *Machine) powerIncoming() (Engine, error) {
	in := m.incoming
	m.incoming = map[statefile.Kind][]byte{}
	permanent, replaced := in[statefile.Permanent]
	if !replaced {
		var err error
		if permanent, err = m.load(statefile.Permanent); err != nil {
			return nil, err
		}
	}
	e, err := m.supply(permanent, in[statefile.Volatile])
	if err != nil || !replaced {
		return e, err
	}
	// The engine may have saved something newer already.
	if permanent, err = e.Permanent(); err != nil {
		return nil, err
	}
	return e, m.cfg.Storage.Store(statefile.Permanent, permanent)
}

func (m *Machine) supply(permanent, volatile []byte) (Engine, error) {
	return m.cfg.Power(Supply{Permanent: permanent, Volatile: volatile, MaxSize: m.size(), Persist: m.persist, Cancelled: m.cancelled.Load})
}

// load returns nil for a kind that is not there.
func (m *Machine) load(k statefile.Kind) ([]byte, error) {
	p, err := m.cfg.Storage.Load(k)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return p, err
}
