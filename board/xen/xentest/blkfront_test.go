package xentest

import (
	"encoding/binary"
	"testing"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/ring"
	"xenvtpm/board/xen/shm"
)

// blkFront is the least frontend that shows that the backend works.
type blkFront struct {
	t            *testing.T
	d            *Domain
	ring         *ring.Front
	data         *shm.Page
	ref, dataRef gnttab.Ref
	port         evtchn.Port
	id           uint64
}

func newBlkFront(t *testing.T, d *Domain, dev Device) *blkFront {
	t.Helper()
	f := &blkFront{t: t, d: d}
	var err error
	var page *shm.Page
	f.ref, page, err = d.Grants.Share(0, true)
	must(t, err)
	f.dataRef, f.data, err = d.Grants.Share(0, true)
	must(t, err)
	f.ring = ring.NewFront(page, ring.Blkif)
	f.port, err = d.Channels.AllocUnbound(0)
	must(t, err)
	for k, v := range map[string]string{
		"ring-ref": itoa(f.ref), "event-channel": itoa(f.port), "protocol": abi.XEN_IO_PROTO_ABI_X86_64,
	} {
		must(t, d.Store.Write(dev.FrontPath()+"/"+k, v))
	}
	must(t, d.Store.Write(dev.FrontPath()+"/state", "3"))
	return f
}

// do sends one request with one segment and returns the status.
func (f *blkFront) do(op uint8, sector uint64, first, last uint8) int16 {
	f.t.Helper()
	le := binary.LittleEndian
	req := make([]byte, abi.BlkifSlotSize)
	req[abi.BlkifReqOperation] = op
	if first <= last {
		req[abi.BlkifReqNrSegments] = 1
	}
	f.id++
	le.PutUint64(req[abi.BlkifReqID:], f.id)
	le.PutUint64(req[abi.BlkifReqSectorNumber:], sector)
	seg := req[abi.BlkifReqSegments:]
	le.PutUint32(seg[abi.BlkifSegGref:], uint32(f.dataRef))
	seg[abi.BlkifSegFirst], seg[abi.BlkifSegLast] = first, last
	if !f.ring.Put(req) {
		f.t.Fatal("ring is full")
	}
	if f.ring.Publish() {
		must(f.t, f.d.Channels.Notify(f.port))
	}
	deadline := f.d.Channels.Now() + 1e9
	for f.d.Channels.Now() < deadline {
		f.d.Channels.TestClear(f.port)
		rsp := make([]byte, abi.BlkifRspSize)
		ok, err := f.ring.Take(rsp)
		must(f.t, err)
		if ok {
			if got := le.Uint64(rsp[abi.BlkifRspID:]); got != f.id {
				f.t.Fatalf("response to request %d, not %d", got, f.id)
			}
			return int16(le.Uint16(rsp[abi.BlkifRspStatus:]))
		}
		if !f.ring.Arm() {
			f.d.Channels.WaitPort(f.port, deadline)
		}
	}
	f.t.Fatal("no response")
	return 0
}
