package store

import (
	"fmt"
	"slices"
)

// Get returns the value of k, nil if there is none. The result must not be
// changed. Errors: ErrDamaged, ErrIO, ErrBroken.
func (s *Store) Get(k Key) ([]byte, error) {
	if s.broken {
		return nil, ErrBroken
	}
	n := s.root
	for n.level > 0 {
		var err error
		if n, err = s.kid(n, n.child(k)); err != nil {
			return nil, err
		}
	}
	if i, ok := n.find(k); ok {
		return n.vals[i], nil
	}
	return nil, nil
}

// Put sets the value of k in memory; Commit makes it durable. Errors: ErrTooBig,
// ErrFull, ErrDamaged, ErrReadOnly, ErrIO, ErrBroken; after an error nothing has
// changed.
func (s *Store) Put(k Key, v []byte) error {
	old, err := s.Get(k)
	if err != nil {
		return err
	}
	if len(v) > MaxValue {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooBig, len(v), MaxValue)
	}
	if err := s.room(old == nil); err != nil {
		return err
	}
	s.root = s.mutable(s.root, s.rootRef)
	right, sep, err := s.put(s.root, k, slices.Clone(v))
	if err != nil {
		return err
	}
	if right != nil {
		top := &node{level: s.root.level + 1, dirty: true, size: nodeHeader}
		s.dirty++
		top.insertKid(0, Key{}, s.root)
		top.insertKid(1, sep, right)
		s.root = top
	}
	if old == nil {
		s.count++
	}
	return nil
}

func (s *Store) put(n *node, k Key, v []byte) (right *node, sep Key, err error) {
	if n.level == 0 {
		n.insertVal(k, v)
	} else {
		i := n.child(k)
		kid, err := s.mutableKid(n, i)
		if err != nil {
			return nil, Key{}, err
		}
		r, sp, err := s.put(kid, k, v)
		if err != nil {
			return nil, Key{}, err
		}
		if r != nil {
			n.insertKid(i+1, sp, r)
		}
	}
	if n.size > nodePlain {
		right, sep = n.split()
		s.dirty++
	}
	return right, sep, nil
}

// Delete removes k in memory. It is no error if there is none. Errors as of Put.
func (s *Store) Delete(k Key) error {
	old, err := s.Get(k)
	if err != nil || old == nil {
		return err
	}
	if err := s.room(false); err != nil {
		return err
	}
	s.root = s.mutable(s.root, s.rootRef)
	if err := s.del(s.root, k); err != nil {
		return err
	}
	s.count--
	s.collapse()
	return nil
}

func (s *Store) del(n *node, k Key) error {
	if n.level == 0 {
		if i, ok := n.find(k); ok {
			n.remove(i)
		}
		return nil
	}
	i := n.child(k)
	kid, err := s.mutableKid(n, i)
	if err != nil {
		return err
	}
	if err := s.del(kid, k); err != nil {
		return err
	}
	switch {
	case len(kid.keys) == 0:
		n.remove(i)
		s.dirty--
	case kid.size < nodePlain/4:
		s.merge(n, i)
	}
	return nil
}

// merge joins child i of n with a neighbour where both fit one node. It is an
// economy: a neighbour that cannot be read is left alone.
func (s *Store) merge(n *node, i int) {
	for _, left := range []int{i - 1, i} {
		if left < 0 || left+1 >= len(n.keys) {
			continue
		}
		a, errA := s.kid(n, left)
		b, errB := s.kid(n, left+1)
		if errA != nil || errB != nil || a.size+b.size-nodeHeader > nodePlain*3/4 {
			continue
		}
		keep, err := s.mutableKid(n, left)
		if err != nil {
			continue
		}
		keep.absorb(b, n.keys[left+1])
		if n.kids[left+1] != nil {
			s.dirty--
		} else {
			s.freed = append(s.freed, n.refs[left+1].sector)
		}
		n.remove(left + 1)
		return
	}
}

// collapse drops inner roots that have one child or none.
func (s *Store) collapse() {
	for s.root.level > 0 && len(s.root.keys) <= 1 {
		if len(s.root.keys) == 0 {
			s.root = newLeaf() // takes the dropped root's place in s.dirty
			return
		}
		kid, err := s.mutableKid(s.root, 0)
		if err != nil {
			return // a lone unreadable child stays where it is
		}
		s.root = kid
		s.dirty--
	}
}

// Scan calls f for each entry from key `from` on, in order, until it returns
// false. A damaged leaf is passed to bad (with the key from which it may hold
// entries) and skipped; bad may be nil.
func (s *Store) Scan(from Key, f func(Key, []byte) bool, bad func(Key, error)) error {
	if s.broken {
		return ErrBroken
	}
	s.scan(s.root, from, f, bad)
	return nil
}

func (s *Store) scan(n *node, from Key, f func(Key, []byte) bool, bad func(Key, error)) bool {
	if n.level == 0 {
		i, _ := n.find(from)
		for ; i < len(n.keys); i++ {
			if !f(n.keys[i], n.vals[i]) {
				return false
			}
		}
		return true
	}
	for i := n.child(from); i < len(n.keys); i++ {
		if n.level == 1 {
			s.readAhead(n, i)
		}
		kid, err := s.kid(n, i)
		if err != nil {
			if bad != nil {
				bad(n.keys[i], err)
			}
			continue
		}
		if !s.scan(kid, from, f, bad) {
			return false
		}
	}
	return true
}

// kid loads child i of n, from the dirty set, the cache or the disk.
func (s *Store) kid(n *node, i int) (*node, error) {
	if n.kids[i] != nil {
		return n.kids[i], nil
	}
	return s.load(n.refs[i], n.level-1)
}

// mutable returns n itself if it is dirty, else a dirty copy of it.
func (s *Store) mutable(n *node, at ref) *node {
	if n.dirty {
		return n
	}
	s.dirty++
	s.freed = append(s.freed, at.sector)
	return n.clone()
}

func (s *Store) mutableKid(n *node, i int) (*node, error) {
	kid, err := s.kid(n, i)
	if err != nil {
		return nil, err
	}
	n.kids[i] = s.mutable(kid, n.refs[i])
	return n.kids[i], nil
}
