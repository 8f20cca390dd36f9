package store

import (
	"errors"
	"fmt"
	"slices"
)

func isBlank(err error) bool { return errors.Is(err, ErrBlank) }

// room refuses a change that the disk could not hold. A change may dirty one
// path and split every node on it. Inserts leave some sectors over, so that a
// full store can still change and delete what it has.
func (s *Store) room(insert bool) error {
	if s.blocked {
		return ErrReadOnly
	}
	free, total := s.Space()
	need := uint32(s.dirty) + 2*(uint32(s.root.level)+2)
	if insert {
		need += max(32, total/64)
	}
	if need > free {
		return fmt.Errorf("%w: %d of %d", ErrFull, free, total)
	}
	return nil
}

// Discard drops all changes since the last commit.
func (s *Store) Discard() error {
	s.dirty, s.freed, s.newKey, s.count = 0, nil, nil, s.sb.count
	if s.broken {
		return ErrBroken
	}
	root, err := s.load(s.rootRef, s.sb.level)
	if err != nil {
		return s.fail(err)
	}
	s.root = root
	return nil
}

// Commit makes all changes durable, with the given counter in the superblock.
// On return without error they survive any crash. After an error the store is
// broken: the disk has the old tree or the new one.
func (s *Store) Commit(counter uint64) error {
	if s.broken {
		return ErrBroken
	}
	if s.blocked {
		return ErrReadOnly
	}
	return s.commit(counter)
}

func (s *Store) commit(counter uint64) error {
	sb := s.sb
	sb.gen++
	sb.counter, sb.count, sb.level = counter, s.count, s.root.level
	key := s.key
	if s.newKey != nil {
		key = KeyArea{Generation: s.key.Generation + 1, ID: s.id, Payload: s.newKey}
		sb.keyHash = key.hash()
		// The copy that is not the committed one, or either if both are.
		if err := s.writeKey(key, s.spareCopy()); err != nil {
			return s.fail(err)
		}
	}
	if s.root.dirty {
		w := &writer{s: s, gen: sb.gen}
		at, err := w.node(s.root)
		if err == nil {
			err = w.flush()
		}
		if err != nil {
			return s.fail(err)
		}
		sb.root = at
		if err := flush(s.disk); err != nil {
			return s.fail(err)
		}
	}
	if err := writeSuper(s.disk, s.box, s.id, sb); err != nil {
		return s.fail(err)
	}
	if err := flush(s.disk); err != nil {
		return s.fail(err)
	}
	return s.published(sb, key)
}

// published takes over the new state after it has become durable.
func (s *Store) published(sb superblock, key KeyArea) error {
	for _, n := range s.freed {
		s.used.clear(n)
		s.cache.drop(n)
	}
	changedKey := s.newKey != nil
	s.sb, s.rootRef, s.dirty, s.freed, s.newKey = sb, sb.root, 0, nil, nil
	s.badSB = slices.DeleteFunc(s.badSB, func(n uint32) bool { return n/2 == slotOf(sb.gen)/2 })
	s.key = key
	if changedKey {
		other := 1 - s.spareCopy()
		s.stale = nil
		if err := s.writeKeyCopy(other); err != nil {
			return s.fail(err)
		}
	}
	return nil
}

// spareCopy is the key area copy that the next change writes first.
func (s *Store) spareCopy() int {
	if len(s.stale) > 0 {
		return s.stale[0]
	}
	return 0
}

func (s *Store) writeKey(k KeyArea, copyNo int) error {
	if err := writeSectors(s.disk, uint32(sectorKeyA+copyNo*keyAreaSectors), k.encode()); err != nil {
		return err
	}
	return flush(s.disk)
}

// writeKeyCopy brings one copy up to date, durably.
func (s *Store) writeKeyCopy(copyNo int) error {
	if err := s.writeKey(s.key, copyNo); err != nil {
		return err
	}
	s.stale = slices.DeleteFunc(s.stale, func(i int) bool { return i == copyNo })
	return nil
}

// writer writes the dirty nodes of one commit, children first, joining runs of
// adjacent sectors into one transfer.
type writer struct {
	s     *Store
	gen   uint64
	start uint32 // first sector of the run
	buf   []byte
}

// maxRun is the longest transfer, in sectors: what one block request carries.
const maxRun = 11

func (w *writer) node(n *node) (ref, error) {
	for i, kid := range n.kids {
		if kid == nil {
			continue
		}
		at, err := w.node(kid)
		if err != nil {
			return ref{}, err
		}
		n.refs[i], n.kids[i] = at, nil
	}
	at := ref{gen: w.gen}
	var err error
	if at.sector, err = w.s.allocate(); err != nil {
		return ref{}, err
	}
	if err := w.place(at.sector); err != nil {
		return ref{}, err
	}
	from := len(w.buf)
	if w.buf, err = w.s.box.Seal(w.buf, n.encode(), sectorAAD(w.s.id, at.sector, w.gen)); err != nil {
		return ref{}, err
	}
	copy(at.tag[:], w.buf[from+nonceSize:from+sealOver])
	n.dirty = false
	w.s.cache.put(at, n)
	return at, nil
}

// place makes sector the next of the run, or starts a new run with it.
func (w *writer) place(sector uint32) error {
	run := uint32(len(w.buf) / SectorSize)
	if run > 0 && (sector != w.start+run || run == maxRun) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if len(w.buf) == 0 {
		w.start = sector
	}
	return nil
}

func (w *writer) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	err := writeSectors(w.s.disk, w.start, w.buf)
	w.buf = w.buf[:0]
	return err
}

// allocate takes a free sector. room has made sure that there is one.
func (s *Store) allocate() (uint32, error) {
	span := s.sb.sectors - firstNode
	for range span {
		n := s.next
		if s.next++; s.next >= s.sb.sectors {
			s.next = firstNode
		}
		if s.used.set(n) {
			return n, nil
		}
	}
	return 0, ErrFull
}
