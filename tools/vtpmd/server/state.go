package server

import (
	"errors"
	"io/fs"

	"xenvtpm/tools/vtpmd/ptm"
	"xenvtpm/tools/vtpmd/statefile"
)

// kindOf maps a blob type of the channel; a saved state (TPM 1.2's TPM_SaveState) lies
// inside the permanent state here and has no blob of its own.
func kindOf(blobType uint32) (statefile.Kind, bool) {
	switch blobType {
	case ptm.BlobPermanent:
		return statefile.Permanent, true
	case ptm.BlobVolatile:
		return statefile.Volatile, true
	}
	return 0, false
}

// StoreVolatile writes the volatile state to storage, for the next PowerOn.
func (m *Machine) StoreVolatile() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.engine == nil {
		return errors.New("the TPM has no power")
	}
	v, err := m.engine.Volatile()
	if err != nil {
		return err
	}
	return m.cfg.Storage.Store(statefile.Volatile, v)
}

// GetBlob returns a state blob in its envelope, and its flags. An absent blob
// is empty, as the protocol has it.
func (m *Machine) GetBlob(blobType uint32, decrypted bool) (blob []byte, flags uint32, err error) {
	if blobType == ptm.BlobSaveState {
		return nil, 0, nil
	}
	kind, ok := kindOf(blobType)
	if !ok {
		return nil, 0, errBlobType
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p, err := m.blobPayload(kind)
	if err != nil || p == nil {
		return nil, 0, err
	}
	key := m.cfg.MigrationKey
	if key == nil && !decrypted {
		key = m.cfg.FileKey
	}
	if key != nil {
		flags = ptm.StateEncrypted
	}
	blob, err = statefile.Seal(kind, p, key)
	return blob, flags, err
}

var errBlobType = errors.New("unknown state blob type")

func (m *Machine) blobPayload(kind statefile.Kind) ([]byte, error) {
	if m.engine != nil {
		// The state of now: QEMU migrates without storing it first.
		if kind == statefile.Permanent {
			return m.engine.Permanent()
		}
		return m.engine.Volatile()
	}
	p, err := m.cfg.Storage.Load(kind)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return p, err
}

// SetBlob takes a state blob for the next PowerOn. The TPM must be off. An
// empty blob is taken and ignored, since clients send what GetBlob gave.
func (m *Machine) SetBlob(blobType uint32, blob []byte) error {
	if blobType == ptm.BlobSaveState && len(blob) == 0 {
		return nil
	}
	kind, ok := kindOf(blobType)
	if !ok {
		return errBlobType
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.engine != nil {
		return errors.New("state can be set only while the TPM is stopped")
	}
	if len(blob) == 0 {
		return nil
	}
	p, err := m.openBlob(kind, blob)
	if err != nil {
		return err
	}
	m.incoming[kind] = p
	return nil
}

// openBlob opens a blob with whichever of our keys closed it. Once a migration
// key is set, plain blobs are refused: somebody on the way could have made them.
func (m *Machine) openBlob(kind statefile.Kind, blob []byte) ([]byte, error) {
	if m.cfg.MigrationKey != nil {
		return statefile.Unseal(kind, blob, m.cfg.MigrationKey)
	}
	if statefile.Sealed(blob) {
		return statefile.Unseal(kind, blob, m.cfg.FileKey)
	}
	return statefile.Unseal(kind, blob, nil)
}

// Hash runs one of the _TPM_Hash_* indications.
func (m *Machine) Hash(f func(Engine) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.engine == nil {
		return errors.New("the TPM has no power")
	}
	return f(m.engine)
}

// Established returns the tpmEstablished flag.
func (m *Machine) Established() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.engine != nil && m.engine.Established()
}
