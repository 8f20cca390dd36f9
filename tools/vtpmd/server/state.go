package server

import (
	"errors"
	"fmt"

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
		return errNoPower
	}
	v, err := m.engine.Volatile()
	if err != nil {
		return err
	}
	return m.cfg.Storage.Store(statefile.Volatile, v)
}

// GetBlob returns a state blob of a TPM with power, in its envelope, and its flags. A saved state
// is empty, as the protocol has it.
func (m *Machine) GetBlob(blobType uint32, decrypted bool) (blob []byte, flags uint32, err error) {
	kind, ok := kindOf(blobType)
	if !ok && blobType != ptm.BlobSaveState {
		return nil, 0, errBlobType
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.engine == nil {
		return nil, 0, errNoPower
	}
	if blobType == ptm.BlobSaveState {
		return nil, 0, nil
	}
	// The state of now: QEMU migrates without storing it first.
	current := m.engine.Permanent
	if kind == statefile.Volatile {
		current = m.engine.Volatile
	}
	p, err := current()
	if err != nil {
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

// What requests fail for.
var (
	errBlob      = errors.New("the state blob cannot be used")
	errBlobType  = errors.New("unknown state blob type")
	errFlags     = errors.New("unknown flags")
	errNoPower   = errors.New("the TPM has no power")
	errRunning   = errors.New("the TPM has power")
	errHashOrder = errors.New("hash data or end without a start")
)

// SetBlob takes a state blob for the next PowerOn. The TPM must be off. An
// empty blob is taken and ignored, since clients send what GetBlob gave.
func (m *Machine) SetBlob(blobType uint32, blob []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.engine != nil {
		return fmt.Errorf("state can be set only while the TPM is stopped: %w", errRunning)
	}
	if blobType == ptm.BlobSaveState && len(blob) == 0 {
		return nil
	}
	kind, ok := kindOf(blobType)
	if !ok {
		return errBlobType
	}
	if len(blob) == 0 {
		return nil
	}
	p, err := m.openBlob(kind, blob)
	if err != nil {
		return fmt.Errorf("%w: %w", errBlob, err)
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

// HashStart, HashData and HashEnd are the _TPM_Hash_* indications, in that order.
func (m *Machine) HashStart() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.engine == nil {
		return errNoPower
	}
	return m.engine.HashStart()
}

func (m *Machine) HashData(data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.inHash(); err != nil {
		return err
	}
	return m.engine.HashData(data)
}

func (m *Machine) HashEnd() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.inHash(); err != nil {
		return err
	}
	return m.engine.HashEnd()
}

func (m *Machine) inHash() error {
	switch {
	case m.engine == nil:
		return errNoPower
	case !m.engine.Hashing():
		return errHashOrder
	}
	return nil
}

// Established returns the tpmEstablished flag.
func (m *Machine) Established() (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.engine == nil {
		return false, errNoPower
	}
	return m.engine.Established(), nil
}

// ResetEstablished clears the flag. It works from localities 3 and 4 only, as on a hardware TPM.
func (m *Machine) ResetEstablished(locality uint8) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.engine == nil {
		return errNoPower
	}
	return m.engine.ResetEstablished(locality)
}
