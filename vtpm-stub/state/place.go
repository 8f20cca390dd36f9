package state

import (
	"fmt"
	"slices"
)

// maxSlot is the size of a slot that holds the largest state.
const maxSlot = (headerSize + MaxState + tagSize + slotAlign - 1) / slotAlign * slotAlign

// layout returns the place of slot 1 on a disk of size bytes: its half, at most
// maxSlot. 0 when there is no room for two slots.
func layout(size int64) int64 { return min(halfOf(size), maxSlot) }

// halfOf is where version 1 had slot 1.
func halfOf(size int64) int64 { return size / 2 / slotAlign * slotAlign }

// places returns where slot 1 may be, the likeliest first: where slot 0 says,
// where a new disk of this size has it, and where version 1 had it.
func (s *Store) places() []int64 {
	size := s.cfg.Disk.Size()
	list := []int64{layout(size), halfOf(size)}
	if h, err := s.readHeader(0); err == nil && h.second != 0 {
		list = slices.Insert(list, 0, h.second)
	}
	for i := len(list) - 1; i > 0; i-- {
		if slices.Contains(list[:i], list[i]) {
			list = slices.Delete(list, i, i+1)
		}
	}
	return list
}

// search looks for slot 1 on the whole disk, for disks of version 1 that had
// another size once, and for those whose slot 0 cannot be read. It calls try with
// each place that has a header and was not tried before, until try returns true.
func (s *Store) search(tried []int64, try func(place int64) bool) bool {
	s.logf("state: looking for the second slot on the whole disk")
	buf := make([]byte, scanSize)
	for off, size := int64(slotAlign), s.cfg.Disk.Size()/SectorSize*SectorSize; off < size; off += scanSize {
		b := buf[:min(scanSize, size-off)]
		_, unread := s.cfg.Disk.ReadAt(b, off)
		for at := int64(0); at < int64(len(b)); at += slotAlign {
			place := off + at
			if unread == nil {
				_, err := parseHeader(b[at:])
				if err != nil {
					continue
				}
			}
			if !slices.Contains(tried, place) && try(place) {
				return true
			}
		}
	}
	return false
}

// settlePlace decides where slot 1 is from now on. found is the place of slot 1
// of the state's layout; 0 when nothing says it: slot 0 is current, in version
// 1, and what slot 1 holds is of no meaning.
func (s *Store) settlePlace(found int64, imageSize int64) error {
	size := s.cfg.Disk.Size()
	if found == 0 {
		found = s.second
		if imageSize > found {
			return fmt.Errorf("%w: it has %d bytes", ErrShrunk, size)
		}
	}
	if 2*found > size {
		return fmt.Errorf("%w: it has %d bytes, and had at least %d", ErrShrunk, size, 2*found)
	}
	now := s.second
	s.second = found
	if s.Capacity() >= s.cfg.MinCapacity {
		return nil
	}
	// States can be larger than they could, and the disk was enlarged for that.
	s.logf("state: the disk was enlarged; slots of %d bytes in place of %d", now, found)
	s.second = now
	if s.current == 0 {
		return nil
	}
	return s.save(s.blob, 0, 0)
}
