package ring

import (
	"fmt"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/shm"
)

// Slots is the shape of a request/response ring: Count slots (a power of two)
// of Size bytes after the 64-byte head. A response takes the first bytes of a
// slot whose request has been consumed.
type Slots struct {
	Size  int // bytes of a slot: the larger of request and response
	Count int
}

// Blkif is the ring of a block device with one page.
var Blkif = Slots{Size: abi.BlkifSlotSize, Count: abi.BlkifSlots}

// mustFit panics if a caller's buffer is larger than a slot: a bug of ours.
func (s Slots) mustFit(n int) {
	if n > s.Size {
		panic("ring: internal error: buffer larger than a slot")
	}
}

func (s Slots) offset(i uint32) int {
	return abi.RingFirstSlot + int(i&uint32(s.Count-1))*s.Size
}

// A Front is the requesting end.
type Front struct {
	page  *shm.Page
	shape Slots

	reqProd   uint32 // next request
	published uint32 // requests that the backend may see
	rspCons   uint32 // next response
}

// NewFront initialises the page and takes the requesting end.
func NewFront(p *shm.Page, shape Slots) *Front {
	p.Zero()
	p.Store32(abi.RingReqEvent, 1)
	p.Store32(abi.RingRspEvent, 1)
	return &Front{page: p, shape: shape}
}

// Free is the number of requests that can be put now.
func (f *Front) Free() int { return f.shape.Count - int(f.reqProd-f.rspCons) }

// Put copies a request to the next slot, if there is a free one. The backend
// sees it after Publish.
func (f *Front) Put(req []byte) bool {
	f.shape.mustFit(len(req))
	if f.Free() <= 0 {
		return false
	}
	f.page.CopyIn(f.shape.offset(f.reqProd), req)
	f.reqProd++
	return true
}

// Publish shows the backend what was put, and reports whether it wants to be
// notified.
func (f *Front) Publish() (notify bool) {
	shm.Barrier() // requests before index
	old := f.published
	f.published = f.reqProd
	f.page.Store32(abi.RingReqProd, f.published)
	shm.Barrier() // index before looking at what the backend asked for
	return f.published-f.page.Load32(abi.RingReqEvent) < f.published-old
}

// Take copies the next response to dst (the slot's first len(dst) bytes). It
// reports false when there is none.
func (f *Front) Take(dst []byte) (bool, error) {
	f.shape.mustFit(len(dst))
	ahead := f.page.Load32(abi.RingRspProd) - f.rspCons
	if ahead > f.published-f.rspCons {
		return false, fmt.Errorf("%w: %d responses to %d requests", ErrCorrupt, ahead, f.published-f.rspCons)
	}
	if ahead == 0 {
		return false, nil
	}
	f.page.CopyOut(dst, f.shape.offset(f.rspCons))
	f.rspCons++
	return true, nil
}

// Arm asks for an event with the next response, and reports whether one has
// come in the meantime and must be taken first.
func (f *Front) Arm() (more bool) {
	f.page.Store32(abi.RingRspEvent, f.rspCons+1)
	shm.Barrier() // request for an event before the last look
	return f.page.Load32(abi.RingRspProd) != f.rspCons
}

// Outstanding is the number of requests without a response.
func (f *Front) Outstanding() int { return int(f.reqProd - f.rspCons) }

// A Back is the responding end.
type Back struct {
	page  *shm.Page
	shape Slots

	reqCons   uint32
	rspProd   uint32
	published uint32
}

// NewBack takes the responding end of a page that a frontend initialised.
func NewBack(p *shm.Page, shape Slots) *Back { return &Back{page: p, shape: shape} }

// Take copies the next request to dst. It reports false when there is none.
func (b *Back) Take(dst []byte) (bool, error) {
	b.shape.mustFit(len(dst))
	prod := b.page.Load32(abi.RingReqProd)
	if inFlight := prod - b.rspProd; inFlight > uint32(b.shape.Count) || prod-b.reqCons > inFlight {
		return false, fmt.Errorf("%w: %d requests in a ring of %d", ErrCorrupt, inFlight, b.shape.Count)
	}
	if prod == b.reqCons {
		return false, nil
	}
	b.page.CopyOut(dst, b.shape.offset(b.reqCons))
	b.reqCons++
	return true, nil
}

// Put copies a response to the next slot; false if there is no request that
// it could answer.
func (b *Back) Put(rsp []byte) bool {
	b.shape.mustFit(len(rsp))
	if b.rspProd == b.reqCons {
		return false
	}
	b.page.CopyIn(b.shape.offset(b.rspProd), rsp)
	b.rspProd++
	return true
}

// Publish shows the frontend the responses, and reports whether it wants to be
// notified.
func (b *Back) Publish() (notify bool) {
	shm.Barrier()
	old := b.published
	b.published = b.rspProd
	b.page.Store32(abi.RingRspProd, b.published)
	shm.Barrier()
	return b.published-b.page.Load32(abi.RingRspEvent) < b.published-old
}

// Arm asks for an event with the next request, and reports whether one has
// come in the meantime.
func (b *Back) Arm() (more bool) {
	b.page.Store32(abi.RingReqEvent, b.reqCons+1)
	shm.Barrier()
	return b.page.Load32(abi.RingReqProd) != b.reqCons
}
