package store

import (
	"bytes"
	"errors"
	mrand "math/rand/v2"
	"testing"
)

func FuzzProbe(f *testing.F) {
	f.Add([]byte(nil), []byte(nil))
	f.Add(KeyArea{ID: testID}.encode(), []byte(nil))
	f.Add(KeyArea{Generation: 3, ID: testID, Payload: []byte("a")}.encode(), KeyArea{Generation: 4, ID: testID, Payload: []byte("b")}.encode())
	f.Fuzz(func(t *testing.T, a, b []byte) {
		d := newSimDisk(MinSize)
		copy(d.live[:keyAreaBytes], a)
		copy(d.live[keyAreaBytes:2*keyAreaBytes], b)
		p, err := Probe(d)
		if err != nil {
			return
		}
		for _, k := range p.Areas {
			if again, kind := decodeKeyArea(k.encode()); kind != keyGood || again.ID != k.ID || !bytes.Equal(again.Payload, k.Payload) {
				t.Fatal("decode(encode(x)) differs")
			}
		}
		if _, err := Open(d, p, testConfig()); err == nil {
			t.Fatal("opened without a superblock")
		}
	})
}

func FuzzNode(f *testing.F) {
	n := newLeaf()
	n.insertVal(Key{1}, []byte("x"))
	n.insertVal(Key{2}, nil)
	f.Add(n.encode())
	in := &node{level: 1, size: nodeHeader}
	in.insertKid(0, Key{}, nil)
	f.Add(in.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		page := make([]byte, nodePlain)
		copy(page, b)
		n, err := decodeNode(page)
		if err != nil {
			return
		}
		if n.size > nodePlain {
			t.Fatalf("size %d", n.size)
		}
		again, err := decodeNode(n.encode())
		if err != nil || len(again.keys) != len(n.keys) {
			t.Fatalf("decode(encode(x)): %v", err)
		}
		if n.level > 0 {
			_ = n.child(Key{5})
		}
	})
}

// A damaged inner node leaves the rest readable and forbids changes, because
// what is free is no longer known.
func TestDamagedInnerNode(t *testing.T) {
	d := newSimDisk(32 << 20)
	s := mustFormat(t, d)
	r := mrand.New(mrand.NewPCG(17, 18))
	var keys []Key
	for s.root.level < 2 {
		k := randKey(r, 1<<40)
		if err := s.Put(k, make([]byte, 900)); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	if err := s.Commit(1); err != nil {
		t.Fatal(err)
	}
	d.live[int(s.root.refs[0].sector)*SectorSize+100] ^= 1
	s, err := reopen(d)
	if err != nil || !s.ReadOnly() {
		t.Fatalf("open: %v, read-only %v", err, s.ReadOnly())
	}
	good, bad := 0, 0
	for _, k := range keys {
		switch _, err := s.Get(k); {
		case err == nil:
			good++
			if err := s.Put(k, nil); !errors.Is(err, ErrReadOnly) {
				t.Fatalf("put: %v", err)
			}
		case errors.Is(err, ErrDamaged):
			bad++
		default:
			t.Fatal(err)
		}
	}
	if good == 0 || bad == 0 {
		t.Errorf("%d readable, %d damaged", good, bad)
	}
	if err := s.Commit(1); !errors.Is(err, ErrReadOnly) {
		t.Errorf("commit: %v", err)
	}
}
