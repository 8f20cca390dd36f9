package tpmback

import (
	"encoding/binary"
	"testing"
)

// The order of attachments with one uuid is known while there are few, and
// denied when it was forgotten: a follower of nobody is never made up.
func TestAttachmentOrder(t *testing.T) {
	b := &Backend{named: make(map[UUID]uint64)}
	make1 := func(n uint32) Attachment {
		b.attachments++
		at := Attachment{ID: b.attachments}
		var u UUID
		binary.BigEndian.PutUint32(u[:], n)
		b.name(&at, u)
		b.name(&at, u) // identified again after a failed request
		return at
	}
	first := make1(0)
	second := make1(0)
	if first.Previous != 0 || second.Previous != first.ID {
		t.Fatalf("%+v, %+v", first, second)
	}
	for n := range uint32(3 * maxNamed) {
		if at := make1(n + 1); n < maxNamed/2 && at.Previous != 0 {
			t.Fatalf("%+v follows somebody", at)
		}
	}
	if len(b.named) > maxNamed {
		t.Errorf("%d are remembered", len(b.named))
	}
	for _, n := range []uint32{0, 1 << 20} {
		if at := make1(n); at.Previous == 0 || at.Previous == second.ID {
			t.Errorf("%+v after the order was forgotten", at)
		}
	}
}
