// Package state keeps a vTPM's permanent state: encrypted in one of two slots
// of a disk, with the slot's hash and key in a record at the manager.
//
// A save takes a fresh AES-256-GCM key, writes the slot that is not current,
// flushes the disk, and only then gives the manager the new record (SHA-256 of
// the slot | key, 64 bytes). The manager answers when the record is durable;
// that is the moment the new state is the state. At every other moment the old
// slot and the old record still belong together, so a crash leaves either the
// old or the new state and nothing else.
//
// The disk belongs to the host and may be read, changed, exchanged or rolled
// back by anyone who has it. The record does not: the manager seals it and
// protects it from rollback. So the record alone says what the state is, and a
// record that matches neither slot is an error that needs an operator, never
// a new TPM.
//
// Each slot says where the second one lies, so a disk may be enlarged at any
// time. Disks of the first version of the format do not say it; there, and where
// the first slot cannot be read, it is looked for. That is safe: only what has
// the hash in the manager's record is taken.
//
// The type header describes the format on disk.
package state

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
)

// Disk is where the slots are. Offsets and lengths are multiples of
// SectorSize. WriteAt may return before the data is durable and a crash may
// keep any part of it, sector by sector; Flush returns when it is durable.
type Disk interface {
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	Flush() error
	Size() int64
}

// KeyStore keeps one record of RecordSize bytes.
type KeyStore interface {
	// Load returns the record. ErrNoRecord means that there has never been
	// one; every other error means that it cannot be had now.
	Load() ([]byte, error)
	// Save replaces the record and returns when that is durable. After an
	// error the record may be the old or the new one.
	Save(record []byte) error
}

// Sizes.
const (
	SectorSize = 512
	RecordSize = 64
	slotAlign  = 4096
	// MaxState is the largest state in bytes.
	MaxState = 1 << 20
)

// Errors. All but ErrTooLarge, ErrUncertain and ErrForeign come from Open and mean that
// the vTPM must not start.
var (
	ErrNoRecord  = errors.New("state: the manager has no record")
	ErrDiskSize  = errors.New("state: the disk is too small")
	ErrRecord    = errors.New("state: the manager's record is not one of this program (wrong length)")
	ErrMismatch  = errors.New("state: the manager's record matches neither slot: the disk is damaged, exchanged or rolled back")
	ErrShrunk    = errors.New("state: the disk is smaller than when the TPM was made; give it back its size")
	ErrNotBlank  = errors.New("state: the manager has no record but the disk is not blank: wrong disk, wrong uuid, or a lost manager; overwrite the disk with zeros to start a new TPM")
	ErrNewer     = errors.New("state: the slot has a newer format than this program")
	ErrTooLarge  = errors.New("state: the state does not fit its slot")
	ErrUncertain = errors.New("state: whether the manager took the last record is not known")
	ErrForeign   = errors.New("state: the manager's record is neither the last one that it took nor the one that it was given: it was rolled back, or another vTPM has this uuid")
)

// Config is what a Store works with.
type Config struct {
	Disk Disk
	Keys KeyStore
	Rand io.Reader // keys; nil means crypto/rand
	// MinCapacity is the largest state that will have to be saved; a disk
	// whose slots hold less is refused at once rather than at some later save.
	MinCapacity int
	Logf        func(string, ...any) // nil: silent
}

// Store is the state of one vTPM. It is not safe for concurrent use.
type Store struct {
	cfg    Config
	second int64 // place of slot 1, and bytes in a slot

	current    int // slot that the record names; -1: none yet
	generation uint64
	durable    []byte // SHA-256 of the record that is known to be durable; nil: none
	pending    *pending
	blob       []byte
}

// pending is a save whose slot is durable and whose record may or may not have
// reached the manager. Until that is known neither slot may be written.
type pending struct {
	slot   int
	record [RecordSize]byte
	given  bool // to the manager, whose answer is missing
}

// Open finds the state. A nil error means that either Blob has it, or that
// this vTPM has none yet (IsNew): the manager has no record and the disk is
// blank, or holds only what an interrupted first save left. Any doubt is an
// error.
func Open(cfg Config) (*Store, error) {
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	s := &Store{cfg: cfg, current: -1}
	s.second = layout(cfg.Disk.Size())
	if s.second < slotAlign || s.Capacity() < cfg.MinCapacity {
		return nil, fmt.Errorf("%w: %d bytes give slots of %d, and a state can need %d", ErrDiskSize, cfg.Disk.Size(), s.second, cfg.MinCapacity)
	}
	record, err := cfg.Keys.Load()
	if errors.Is(err, ErrNoRecord) {
		if err := s.checkBlank(); err != nil {
			return nil, err
		}
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state: asking the manager for the record: %w", err)
	}
	if len(record) != RecordSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrRecord, len(record))
	}
	s.durable = hash(record)
	if err := s.find([RecordSize]byte(record)); err != nil {
		return nil, err
	}
	return s, nil
}

// IsNew reports whether nothing has ever been saved.
func (s *Store) IsNew() bool { return s.current < 0 && s.pending == nil }

// Blob hands over the state that Open found, once; later calls give nil.
func (s *Store) Blob() []byte {
	b := s.blob
	s.blob = nil
	return b
}

// Capacity returns the largest state that fits, in bytes.
func (s *Store) Capacity() int {
	return int(min(s.second-headerSize-tagSize, MaxState))
}

// Save makes blob the state, durably, or fails and leaves the old one. After
// an error that says ErrUncertain either of the two may be what the next Open
// finds; the next Save first settles that. blob is not kept.
func (s *Store) Save(blob []byte) error {
	if len(blob) > s.Capacity() {
		return fmt.Errorf("%w: %d bytes, room for %d", ErrTooLarge, len(blob), s.Capacity())
	}
	if err := s.settle(); err != nil {
		return err
	}
	if s.IsNew() {
		return s.saveFirst(blob)
	}
	return s.save(blob, 1-s.current, 0)
}

// saveFirst saves a new TPM in both slots, the first copy flagged as initial
// and announced by a lone header sector. As nobody is served before the second
// copy is complete, a disk that has no second copy, and no record, has never
// been a TPM: checkBlank may take it as blank.
func (s *Store) saveFirst(blob []byte) error {
	mark := make([]byte, SectorSize)
	header{flags: flagInitial, second: s.second}.put(mark)
	if err := s.write(mark, 0); err != nil {
		return err
	}
	if err := s.save(blob, 0, flagInitial); err != nil {
		return err
	}
	return s.save(blob, 1, 0)
}

// save writes a slot and then the record.
func (s *Store) save(blob []byte, slot int, flags uint16) error {
	p := &pending{slot: slot}
	key := p.record[hashSize:]
	if _, err := io.ReadFull(s.cfg.Rand, key); err != nil {
		return fmt.Errorf("state: no randomness for a key: %w", err)
	}
	image, err := seal(header{flags: flags, generation: s.generation + 1, second: s.second}, key, blob)
	if err != nil {
		return err
	}
	copy(p.record[:hashSize], hash(image))
	if err := s.write(image, slot); err != nil {
		return err
	}
	s.pending = p
	return s.settle()
}

// write makes a slot's new content durable.
func (s *Store) write(image []byte, slot int) error {
	if _, err := s.cfg.Disk.WriteAt(image, int64(slot)*s.second); err != nil {
		return fmt.Errorf("state: writing slot %d: %w", slot, err)
	}
	if err := s.cfg.Disk.Flush(); err != nil {
		return fmt.Errorf("state: flushing slot %d: %w", slot, err)
	}
	return nil
}

// Settle finishes a Save that failed with ErrUncertain: it finds out which
// record the manager has, and gives it the new one if that is still the old one.
// An error with ErrUncertain changes nothing, and Settle may be called again;
// ErrForeign is final.
func (s *Store) Settle() error { return s.settle() }

// settle gives the manager the pending record, if there is one. Only the
// manager's answer says that the record is durable; where that is missing, the
// record that it has by now says so as well.
func (s *Store) settle() error {
	p := s.pending
	if p == nil {
		return nil
	}
	taken := false
	if p.given {
		var err error
		if taken, err = s.taken(p); err != nil {
			return err
		}
	}
	p.given = true
	if !taken {
		if err := s.cfg.Keys.Save(p.record[:]); err != nil {
			return fmt.Errorf("%w: %w", ErrUncertain, err)
		}
	}
	s.durable = hash(p.record[:])
	clear(p.record[:])
	s.current, s.pending = p.slot, nil
	s.generation++
	return nil
}

// taken asks whether the manager has the pending record. It must have that or the
// one before: anything else is not ours to overwrite.
func (s *Store) taken(p *pending) (bool, error) {
	record, err := s.cfg.Keys.Load()
	defer clear(record)
	switch {
	case errors.Is(err, ErrNoRecord) && s.durable == nil:
		return false, nil
	case errors.Is(err, ErrNoRecord):
		return false, fmt.Errorf("%w (it has none)", ErrForeign)
	case err != nil:
		return false, fmt.Errorf("%w: %w", ErrUncertain, err)
	case subtle.ConstantTimeCompare(record, p.record[:]) == 1:
		return true, nil
	case s.durable != nil && bytes.Equal(hash(record), s.durable):
		return false, nil
	}
	return false, ErrForeign
}
