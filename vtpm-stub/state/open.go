package state

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
)

// find looks for the slot that a record names and decrypts it.
func (s *Store) find(record [RecordSize]byte) error {
	defer clear(record[:])
	h, place, why := s.look(record)
	if why != nil {
		return why
	}
	s.generation = h.generation
	s.logf("state: slot %d, generation %d, %d bytes", s.current, h.generation, len(s.blob))
	if err := s.settlePlace(place, int64(imageSize(h.length))); err != nil {
		s.blob = nil
		return err
	}
	if h.flags&flagInitial != 0 {
		// The first save was interrupted between its two copies.
		return s.save(s.blob, 1-s.current, 0)
	}
	return nil
}

// look reads the slots, slot 1 wherever it may be. It returns the header of the
// current one and the place of slot 1, 0 when slot 0 is current and does not say it.
func (s *Store) look(record [RecordSize]byte) (h header, place int64, err error) {
	var why [2]error
	if s.blob, h, why[0] = s.readSlot(0, record); why[0] == nil {
		s.current = 0
		return h, h.second, nil
	}
	try := func(at int64) bool {
		blob, found, err := s.readSlot(at, record)
		if err == nil {
			s.blob, s.current, h, place, why[1] = blob, 1, found, at, nil
		} else if why[1] == nil || errors.Is(why[1], errBlank) || errors.Is(err, ErrNewer) {
			why[1] = err
		}
		return err == nil
	}
	places := s.places()
	if slices.ContainsFunc(places, try) || s.search(places, try) {
		return h, place, nil
	}
	return h, 0, s.refusal(places[0], why)
}

// refusal says why neither slot is the current one. said is the likeliest place
// of slot 1.
func (s *Store) refusal(said int64, why [2]error) error {
	reason := ErrMismatch
	switch {
	case errors.Is(why[0], ErrNewer) || errors.Is(why[1], ErrNewer):
		reason = ErrNewer
	case 2*said > s.cfg.Disk.Size():
		reason = ErrShrunk
	}
	return fmt.Errorf("%w (slot 0: %w; slot 1: %w)", reason, why[0], why[1])
}

// readSlot returns the state in the slot at a place of the disk if it is the one
// that the record names.
func (s *Store) readSlot(place int64, record [RecordSize]byte) ([]byte, header, error) {
	h, err := s.readHeader(place)
	if err != nil {
		return nil, h, err
	}
	if h.length > MaxState || int64(imageSize(h.length)) > s.cfg.Disk.Size()-place {
		return nil, h, errLength
	}
	image := make([]byte, imageSize(h.length))
	if err := s.read(image, place); err != nil {
		return nil, h, err
	}
	if subtle.ConstantTimeCompare(hash(image), record[:hashSize]) != 1 {
		return nil, h, errHash
	}
	// The first sector was read twice; only the hashed one counts.
	if again, err := parseHeader(image); err != nil || again != h {
		return nil, h, errHash
	}
	if place != 0 && h.second != 0 && h.second != place {
		return nil, h, errPlace
	}
	blob, err := unseal(image, record[hashSize:], h.length)
	return blob, h, err
}

// readHeader reads the header of the slot at a place of the disk.
func (s *Store) readHeader(place int64) (header, error) {
	if place > s.cfg.Disk.Size()-SectorSize {
		return header{}, errBeyond
	}
	first := make([]byte, SectorSize)
	if err := s.read(first, place); err != nil {
		return header{}, err
	}
	return parseHeader(first)
}

func (s *Store) read(p []byte, place int64) error {
	if _, err := s.cfg.Disk.ReadAt(p, place); err != nil {
		return fmt.Errorf("reading the slot at %d: %w", place, err)
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
	initial := int64(0) // how much of the disk is an initial copy
	for off, size := int64(0), s.cfg.Disk.Size()/SectorSize*SectorSize; off < size; {
		b := buf[:min(scanSize, size-off)]
		if off < initial {
			b = b[:min(int64(len(b)), initial-off)]
		}
		if _, err := s.cfg.Disk.ReadAt(b, off); err != nil {
			return fmt.Errorf("state: reading the disk at %d: %w", off, err)
		}
		if off == 0 {
			if initial = s.initial(b); initial > 0 {
				b = b[:min(int64(len(b)), initial)]
			}
		}
		if !blank(b) && off >= initial {
			return fmt.Errorf("%w (first data within %d bytes of offset %d)", ErrNotBlank, len(b), off)
		}
		off += int64(len(b))
	}
	if initial > 0 {
		s.logf("state: the disk holds an interrupted first save of a TPM that never served; starting anew")
	}
	return nil
}

// initial returns how much of the disk an initial copy that begins with b may
// have written: slot 0. Version 1 does not say where that ends, and the disk may
// have been enlarged since; there it is the copy itself, and as much as can be
// while it is only announced, when there has been no second one.
func (s *Store) initial(b []byte) int64 {
	h, err := parseHeader(b)
	switch half := halfOf(s.cfg.Disk.Size()); {
	case err != nil || h.flags&flagInitial == 0:
		return 0
	case h.second != 0:
		return min(h.second, half)
	case h.length > 0:
		return min(int64(imageSize(min(h.length, MaxState))), half)
	default:
		return half
	}
}

func (s *Store) logf(format string, args ...any) {
	if s.cfg.Logf != nil {
		s.cfg.Logf(format, args...)
	}
}
