package state

import (
	"crypto/subtle"
	"errors"
	"fmt"
)

// find looks for the slot that a record names and decrypts it.
func (s *Store) find(record [RecordSize]byte) error {
	defer clear(record[:])
	var why [2]error
	for slot := range why {
		var h header
		s.blob, h, why[slot] = s.readSlot(slot, record)
		if why[slot] == nil {
			s.current, s.generation = slot, h.generation
			s.logf("state: slot %d, generation %d, %d bytes", slot, h.generation, len(s.blob))
			if h.flags&flagInitial != 0 {
				// The first save was interrupted between its two copies.
				return s.save(s.blob, 1-slot, 0)
			}
			return nil
		}
	}
	if errors.Is(why[0], ErrNewer) || errors.Is(why[1], ErrNewer) {
		return fmt.Errorf("%w (slot 0: %w; slot 1: %w)", ErrNewer, why[0], why[1])
	}
	return fmt.Errorf("%w (slot 0: %w; slot 1: %w)", ErrMismatch, why[0], why[1])
}

// readSlot returns the state in a slot if it is the one that the record names.
func (s *Store) readSlot(slot int, record [RecordSize]byte) ([]byte, header, error) {
	first := make([]byte, SectorSize)
	if err := s.read(first, slot, 0); err != nil {
		return nil, header{}, err
	}
	h, err := parseHeader(first)
	if err != nil {
		return nil, h, err
	}
	if h.length > uint64(s.Capacity()) {
		return nil, h, errLength
	}
	image := make([]byte, imageSize(h.length))
	if err := s.read(image, slot, 0); err != nil {
		return nil, h, err
	}
	if subtle.ConstantTimeCompare(hash(image), record[:hashSize]) != 1 {
		return nil, h, errHash
	}
	// The first sector was read twice; only the hashed one counts.
	if again, err := parseHeader(image); err != nil || again != h {
		return nil, h, errHash
	}
	blob, err := unseal(image, record[hashSize:], h.length)
	return blob, h, err
}

func (s *Store) read(p []byte, slot int, off int64) error {
	if _, err := s.cfg.Disk.ReadAt(p, int64(slot)*s.slot+off); err != nil {
		return fmt.Errorf("reading slot %d at %d: %w", slot, off, err)
	}
	return nil
}

// scanSize is how much of the disk is read at once: one request of Xen's block
// protocol.
const scanSize = 11 * 4096

// checkBlank reads the whole disk: all zeros, or nothing but an initial copy
// in slot 0 that was never followed by the second one. Else ErrNotBlank.
func (s *Store) checkBlank() error {
	buf := make([]byte, scanSize)
	initial := false
	for off, size := int64(0), s.cfg.Disk.Size()/SectorSize*SectorSize; off < size; {
		b := buf[:min(scanSize, size-off)]
		if off < s.slot {
			b = b[:min(int64(len(b)), s.slot-off)]
		}
		if _, err := s.cfg.Disk.ReadAt(b, off); err != nil {
			return fmt.Errorf("state: reading the disk at %d: %w", off, err)
		}
		if off == 0 {
			h, err := parseHeader(b)
			initial = err == nil && h.flags&flagInitial != 0
		}
		if !blank(b) && (off >= s.slot || !initial) {
			return fmt.Errorf("%w (first data within %d bytes of offset %d)", ErrNotBlank, len(b), off)
		}
		off += int64(len(b))
	}
	if initial {
		s.logf("state: the disk holds an interrupted first save of a TPM that never served; starting anew")
	}
	return nil
}

func (s *Store) logf(format string, args ...any) {
	if s.cfg.Logf != nil {
		s.cfg.Logf(format, args...)
	}
}
