package store

import (
	"bytes"
	"fmt"
	"io"
	"slices"
)

// Config is what a store needs beside its disk.
type Config struct {
	Key   []byte    // root key, 32 bytes; not kept
	Rand  io.Reader // nonces
	Cache int       // clean nodes held in memory, about 8 KiB each; 0 = 128
	Logf  func(format string, args ...any)
}

// Store is an open store. It is not safe for concurrent use. What Put and Delete
// change is visible to Get and Scan at once and durable after Commit.
type Store struct {
	disk Disk
	box  *Box
	id   ID
	logf func(string, ...any)

	sb      superblock // as committed
	key     KeyArea    // as committed
	newKey  []byte     // payload to commit, nil if unchanged
	stale   []int      // key area copies to be rewritten
	badSB   []uint32   // superblock copies to be rewritten
	used    bitmap     // sectors of the committed tree
	next    uint32     // where the search for free sectors goes on
	blocked bool       // an inner node is damaged: free space unknown
	broken  bool

	root    *node
	rootRef ref      // of the committed root
	count   uint64   // entries
	dirty   int      // dirty nodes in memory
	freed   []uint32 // sectors that the next commit frees
	cache   *cache
}

// Begin marks a blank disk (or one marked before with the same id) as a store
// in the making, durably. p is what Probe has just returned for the disk; nil has
// it probed again, which takes long where it is blank.
func Begin(d Disk, p *Probed, id ID) error {
	if p == nil {
		var err error
		if p, err = Probe(d); err != nil && !isBlank(err) {
			return err
		}
	}
	switch {
	case p.Birth && p.ID == id:
		return nil
	case !p.Blank:
		return fmt.Errorf("%w: it holds a store", ErrForeign)
	}
	if err := writeSectors(d, sectorKeyA, KeyArea{ID: id}.encode()); err != nil {
		return err
	}
	return flush(d)
}

// Format makes an empty store on a disk that Begin has marked, and opens it.
func Format(d Disk, id ID, payload []byte, counter uint64, c Config) (*Store, error) {
	p, err := Probe(d)
	if err != nil {
		return nil, err
	}
	if !p.Birth || p.ID != id {
		return nil, fmt.Errorf("%w: it is not marked as a new store", ErrForeign)
	}
	if len(payload) > MaxKeyArea {
		return nil, fmt.Errorf("%w: key area of %d bytes", ErrTooBig, len(payload))
	}
	s, err := newStore(d, id, c)
	if err != nil {
		return nil, err
	}
	s.key = KeyArea{Generation: 1, ID: id, Payload: slices.Clone(payload)}
	s.sb = superblock{sectors: sectors(d), keyHash: s.key.hash()}
	s.used = newBitmap(s.sb.sectors)
	s.root, s.dirty = newLeaf(), 1
	// The tree first, in both slots; the key area, whose second copy replaces the
	// birth mark, last. Whatever is torn before that is made again.
	for range 2 {
		if err := s.commit(counter); err != nil {
			return nil, err
		}
	}
	for _, copyNo := range []int{1, 0} {
		if err := s.writeKeyCopy(copyNo); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Open opens the store that Probe found. Errors: ErrNoSuper (wrong key, or all
// superblocks damaged), ErrKeyArea, ErrDamaged (root node), ErrShrunk, ErrNewer,
// ErrIO. Open writes nothing; Repair does.
func Open(d Disk, p *Probed, c Config) (*Store, error) {
	s, err := newStore(d, p.ID, c)
	if err != nil {
		return nil, err
	}
	if s.sb, s.badSB, err = readSupers(d, s.box, s.id); err != nil {
		return nil, err
	}
	if s.sb.sectors > sectors(d) {
		return nil, fmt.Errorf("%w: %d of %d sectors", ErrShrunk, sectors(d), s.sb.sectors)
	}
	if err := s.matchKeyArea(p); err != nil {
		return nil, err
	}
	s.used = newBitmap(s.sb.sectors)
	s.rootRef, s.count = s.sb.root, s.sb.count
	if s.root, err = s.load(s.rootRef, s.sb.level); err != nil {
		return nil, fmt.Errorf("root node: %w", err)
	}
	s.mark(s.root, s.rootRef)
	return s, nil
}

func newStore(d Disk, id ID, c Config) (*Store, error) {
	sub, err := DeriveKey(c.Key, "sectors")
	if err != nil {
		return nil, err
	}
	box, err := NewBox(sub, c.Rand)
	clear(sub)
	if err != nil {
		return nil, err
	}
	if c.Cache == 0 {
		c.Cache = 128
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	return &Store{disk: d, box: box, id: id, logf: c.Logf, next: firstNode, cache: newCache(c.Cache)}, nil
}

// matchKeyArea finds the copy that the superblock was committed with.
func (s *Store) matchKeyArea(p *Probed) error {
	for _, k := range p.Areas {
		if k.hash() == s.sb.keyHash {
			s.key = k
		}
	}
	if s.key.Generation == 0 {
		return fmt.Errorf("%w: neither copy is the one that the superblock names (replaced, or restored from elsewhere)", ErrKeyArea)
	}
	want := s.key.encode()
	got := make([]byte, len(want))
	for i, at := range []int64{sectorKeyA, sectorKeyB} {
		if m, err := s.disk.ReadAt(got, at*SectorSize); err != nil || m != len(got) {
			return fmt.Errorf("%w: reading key area copy %d: %v", ErrIO, i, ioErr(err))
		}
		if !bytes.Equal(got, want) {
			s.stale = append(s.stale, i)
		}
	}
	return nil
}

// load reads and authenticates one node.
func (s *Store) load(r ref, level uint8) (*node, error) {
	if n := s.cache.get(r); n != nil {
		return n, nil
	}
	if r.sector < firstNode || r.sector >= s.sb.sectors {
		return nil, fmt.Errorf("%w: reference to sector %d", ErrDamaged, r.sector)
	}
	buf := make([]byte, SectorSize)
	if err := readSector(s.disk, r.sector, buf); err != nil {
		return nil, err
	}
	return s.decode(buf, r, level)
}

// decode authenticates what was read of a node.
func (s *Store) decode(buf []byte, r ref, level uint8) (*node, error) {
	if !bytes.Equal(buf[nonceSize:sealOver], r.tag[:]) {
		return nil, fmt.Errorf("%w: sector %d (not the version that belongs here)", ErrDamaged, r.sector)
	}
	plain, err := s.box.Open(nil, buf, sectorAAD(s.id, r.sector, r.gen))
	if err != nil {
		return nil, fmt.Errorf("%w: sector %d", ErrDamaged, r.sector)
	}
	n, err := decodeNode(plain)
	if err != nil || n.level != level {
		return nil, fmt.Errorf("%w: sector %d (malformed)", ErrDamaged, r.sector)
	}
	s.cache.put(r, n)
	return n, nil
}

// ahead is how many nodes are read at once where one after the other is wanted.
const ahead = 8

// readAhead reads child i of n and those behind it, unless it is in memory. It is an economy: what fails here
// is read again by itself, and fails with an error of its own.
func (s *Store) readAhead(n *node, i int) {
	many, ok := s.disk.(ManyReader)
	if !ok || n.kids[i] != nil || s.cache.get(n.refs[i]) != nil {
		return
	}
	var refs []ref
	var bufs [][]byte
	var offs []int64
	for ; i < len(n.refs) && len(refs) < ahead; i++ {
		r := n.refs[i]
		if n.kids[i] != nil || s.cache.get(r) != nil || r.sector < firstNode || r.sector >= s.sb.sectors {
			continue
		}
		refs, bufs, offs = append(refs, r), append(bufs, make([]byte, SectorSize)), append(offs, int64(r.sector)*SectorSize)
	}
	if len(refs) == 0 || many.ReadMany(bufs, offs) != nil {
		return
	}
	for k, r := range refs {
		_, _ = s.decode(bufs[k], r, n.level-1) // puts it into the cache
	}
}

// mark walks the inner nodes and notes every sector in use. Leaves are not read.
func (s *Store) mark(n *node, at ref) {
	if at.sector < firstNode || !s.used.set(at.sector) {
		s.blocked = true // a reference outside, or two to one sector: an error of a writer
		return
	}
	if n == nil || n.level == 0 {
		return
	}
	for i, r := range n.refs {
		var kid *node
		if n.level > 1 {
			s.readAhead(n, i)
			var err error
			if kid, err = s.kid(n, i); err != nil {
				s.logf("store: %v; the store stays readable but takes no changes", err)
				s.blocked = true
				continue
			}
		}
		s.mark(kid, r)
	}
}

// ID is the identity of the store.
func (s *Store) ID() ID { return s.id }

// Counter is the counter of the last commit.
func (s *Store) Counter() uint64 { return s.sb.counter }

// Generation is the number of the last commit.
func (s *Store) Generation() uint64 { return s.sb.gen }

// Count is the number of entries.
func (s *Store) Count() uint64 { return s.count }

// Dirty is the number of nodes that Commit would write.
func (s *Store) Dirty() int { return s.dirty }

// ReadOnly reports whether a damaged inner node forbids changes.
func (s *Store) ReadOnly() bool { return s.blocked }

// Space returns the free and the total number of sectors for nodes.
func (s *Store) Space() (free, total uint32) {
	total = s.sb.sectors - firstNode
	return total - s.used.count, total
}

// KeyArea is the committed payload of the key area. It must not be changed.
func (s *Store) KeyArea() []byte { return s.key.Payload }

// SetKeyArea replaces the payload of the key area with the next Commit.
func (s *Store) SetKeyArea(payload []byte) error {
	if len(payload) > MaxKeyArea {
		return fmt.Errorf("%w: key area of %d bytes", ErrTooBig, len(payload))
	}
	s.newKey = slices.Clone(payload)
	return nil
}

// Damaged lists what Repair would rewrite, for the log.
func (s *Store) Damaged() []string {
	var out []string
	for _, n := range s.badSB {
		if n/2 == slotOf(s.sb.gen)/2 {
			out = append(out, fmt.Sprintf("superblock copy in sector %d of the newest generation", n))
		} else {
			out = append(out, fmt.Sprintf("superblock copy in sector %d of the older generation", n))
		}
	}
	for _, i := range s.stale {
		out = append(out, fmt.Sprintf("key area copy %d", i))
	}
	return out
}

// Repair rewrites damaged or torn copies from the good one. The caller has first
// made sure that this superblock is the newest that there ever was.
func (s *Store) Repair() error {
	for _, n := range s.badSB {
		if n/2 != slotOf(s.sb.gen)/2 {
			continue // of the older generation: the next commit writes there
		}
		if err := writeSuperCopy(s.disk, s.box, s.id, s.sb, n); err != nil {
			return s.fail(err)
		}
	}
	s.badSB = nil
	for _, i := range slices.Clone(s.stale) {
		if err := s.writeKeyCopy(i); err != nil {
			return s.fail(err)
		}
	}
	if err := flush(s.disk); err != nil {
		return s.fail(err)
	}
	return nil
}

func (s *Store) fail(err error) error {
	s.broken = true
	return err
}
