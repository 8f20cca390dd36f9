package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
)

// Key orders the entries: a kind, then 16 bytes of the kind's own.
type Key [17]byte

// MakeKey joins a kind and an identifier.
func MakeKey(kind byte, id [16]byte) (k Key) {
	k[0] = kind
	copy(k[1:], id[:])
	return k
}

// Compare orders keys.
func (k Key) Compare(o Key) int { return bytes.Compare(k[:], o[:]) }

// ref points at a node on disk and authenticates it.
type ref struct {
	sector uint32
	gen    uint64
	tag    [tagSize]byte
}

// node is one B+tree node. A leaf (level 0) has vals, an inner node refs. keys[0]
// of an inner node is a lower bound that searches do not look at. kids holds the
// children that are dirty; the others are found by their ref.
type node struct {
	level uint8
	dirty bool
	size  int // encoded bytes
	keys  []Key
	vals  [][]byte
	refs  []ref
	kids  []*node
}

// Sizes of the encoding: u8 level, u8 zero, u16 count, then the entries.
const (
	nodePlain  = SectorSize - sealOver
	nodeHeader = 4
	refSize    = len(Key{}) + 4 + 8 + tagSize
	leafOver   = len(Key{}) + 2

	// MaxValue is the longest value, in bytes; at least three fit a leaf.
	MaxValue = (nodePlain-nodeHeader)/3 - leafOver
)

var errNode = errors.New("store: node malformed")

func newLeaf() *node { return &node{size: nodeHeader, dirty: true} }

func (n *node) encode() []byte {
	b := make([]byte, 0, nodePlain)
	b = append(b, n.level, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(n.keys)))
	for i, k := range n.keys {
		b = append(b, k[:]...)
		if n.level == 0 {
			b = binary.BigEndian.AppendUint16(b, uint16(len(n.vals[i])))
			b = append(b, n.vals[i]...)
			continue
		}
		b = n.refs[i].append(b)
	}
	return append(b, make([]byte, nodePlain-len(b))...)
}

func (r ref) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, r.sector)
	b = binary.BigEndian.AppendUint64(b, r.gen)
	return append(b, r.tag[:]...)
}

func decodeRef(b []byte) ref {
	return ref{sector: binary.BigEndian.Uint32(b), gen: binary.BigEndian.Uint64(b[4:]), tag: [tagSize]byte(b[12:])}
}

// decodeNode parses an authenticated plain text. Values alias b.
func decodeNode(b []byte) (*node, error) {
	if len(b) != nodePlain {
		return nil, errNode
	}
	n := &node{level: b[0], size: nodeHeader}
	count := int(binary.BigEndian.Uint16(b[2:]))
	rest := b[nodeHeader:]
	for range count {
		size := refSize
		if n.level == 0 {
			if len(rest) < leafOver {
				return nil, errNode
			}
			size = leafOver + int(binary.BigEndian.Uint16(rest[len(Key{}):]))
		}
		if size > len(rest) {
			return nil, errNode
		}
		k := Key(rest[:len(Key{})])
		if len(n.keys) > 0 && n.keys[len(n.keys)-1].Compare(k) >= 0 {
			return nil, errNode
		}
		n.keys = append(n.keys, k)
		if n.level == 0 {
			n.vals = append(n.vals, rest[leafOver:size:size])
		} else {
			n.refs = append(n.refs, decodeRef(rest[len(k):]))
		}
		n.size += size
		rest = rest[size:]
	}
	if n.level > 0 {
		n.kids = make([]*node, count)
		if count == 0 {
			return nil, errNode
		}
	}
	return n, nil
}

// child is the index of the child of an inner node that may hold k.
func (n *node) child(k Key) int {
	i, found := slices.BinarySearchFunc(n.keys[1:], k, Key.Compare)
	if found {
		return i + 1
	}
	return i
}

// find is the place of k in a leaf.
func (n *node) find(k Key) (int, bool) { return slices.BinarySearchFunc(n.keys, k, Key.Compare) }

// clone makes a dirty copy that shares no slice header with n.
func (n *node) clone() *node {
	return &node{level: n.level, dirty: true, size: n.size, keys: slices.Clone(n.keys),
		vals: slices.Clone(n.vals), refs: slices.Clone(n.refs), kids: slices.Clone(n.kids)}
}

func (n *node) entrySize(i int) int {
	if n.level == 0 {
		return leafOver + len(n.vals[i])
	}
	return refSize
}

// insertVal adds or replaces an entry of a dirty leaf.
func (n *node) insertVal(k Key, v []byte) {
	i, found := n.find(k)
	if found {
		n.size += len(v) - len(n.vals[i])
		n.vals[i] = v
		return
	}
	n.keys = slices.Insert(n.keys, i, k)
	n.vals = slices.Insert(n.vals, i, v)
	n.size += leafOver + len(v)
}

// insertKid adds a dirty child at index i of a dirty inner node.
func (n *node) insertKid(i int, k Key, kid *node) {
	n.keys = slices.Insert(n.keys, i, k)
	n.refs = slices.Insert(n.refs, i, ref{})
	n.kids = slices.Insert(n.kids, i, kid)
	n.size += refSize
}

// remove drops entry i of a dirty node.
func (n *node) remove(i int) {
	n.size -= n.entrySize(i)
	n.keys = slices.Delete(n.keys, i, i+1)
	if n.level == 0 {
		n.vals = slices.Delete(n.vals, i, i+1)
		return
	}
	n.refs = slices.Delete(n.refs, i, i+1)
	n.kids = slices.Delete(n.kids, i, i+1)
}

// split moves the upper half, by bytes, of an overfull dirty node to a new one.
func (n *node) split() (right *node, sep Key) {
	at, size := 0, nodeHeader
	for at < len(n.keys)-1 && size < n.size/2 {
		size += n.entrySize(at)
		at++
	}
	right = &node{level: n.level, dirty: true, size: n.size - size + nodeHeader, keys: slices.Clone(n.keys[at:])}
	if n.level == 0 {
		right.vals = slices.Clone(n.vals[at:])
		n.vals = n.vals[:at]
	} else {
		right.refs, right.kids = slices.Clone(n.refs[at:]), slices.Clone(n.kids[at:])
		n.refs, n.kids = n.refs[:at], n.kids[:at]
	}
	n.keys, n.size = n.keys[:at], size
	return right, right.keys[0]
}

// absorb appends all of right, its right neighbour with lower bound sep.
func (n *node) absorb(right *node, sep Key) {
	first := len(n.keys)
	n.keys = append(n.keys, right.keys...)
	n.vals = append(n.vals, right.vals...)
	n.refs = append(n.refs, right.refs...)
	n.kids = append(n.kids, right.kids...)
	n.size += right.size - nodeHeader
	if n.level > 0 {
		n.keys[first] = sep
	}
}
