package xentest

import (
	"encoding/binary"
	"strconv"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/ring"
	"xenvtpm/board/xen/shm"
)

// DiskConfig is how domain 0 serves a disk.
type DiskConfig struct {
	NoFlush  bool          // announce no feature-flush-cache and refuse flushes
	Barrier  bool          // announce feature-barrier
	ReadOnly bool          // mode "r"
	Latency  time.Duration // from request to response, in virtual time
	Silent   bool          // never answer requests
	Never    bool          // never go beyond state InitWait

	// Nodes replace or, with the value "-", suppress nodes that the backend
	// writes when it connects (sectors, sector-size, info, feature-...).
	Nodes map[string]string

	// Mangle, if set, replaces each response; nil drops it. It runs with the
	// lock held.
	Mangle func(rsp []byte) []byte
}

// blkback is the block backend of domain 0 for one device. It has no thread: it
// acts when xenstore changes or an event arrives, with the lock held.
type blkback struct {
	h    *Hypervisor
	dev  Device
	disk *Disk
	cfg  DiskConfig

	connected bool
	busy      bool
	port      evtchn.Port
	handle    uint32
	page      *shm.Page
	ring      *ring.Back
	inFlight  int
}

func (b *blkback) get(path string) string {
	s, _ := View{b.h}.Get(path)
	return s
}

func (b *blkback) set(name, value string) {
	b.h.store.direct(0, func(v *view) abi.Errno { return v.write(b.dev.BackPath()+"/"+name, value) })
}

func (b *blkback) state(s abi.XenbusState) {
	if want := strconv.Itoa(int(s)); b.get(b.dev.BackPath()+"/state") != want {
		b.set("state", want)
	}
}

// step follows the frontend's state, as Linux's blkback does.
func (b *blkback) step() {
	if b.busy {
		return // called by our own write
	}
	b.busy = true
	defer func() { b.busy = false }()
	own := b.get(b.dev.BackPath() + "/state")
	if own == "" {
		b.disconnect()
		return
	}
	front := b.get(b.dev.FrontPath() + "/state")
	switch front {
	case "1":
		if own == "6" && b.get(b.dev.BackPath()+"/online") == "1" {
			b.state(abi.XenbusStateInitWait)
		}
	case "3", "4":
		if !b.connected && own == "2" && !b.cfg.Never {
			b.connect()
		}
	case "5":
		if own != "6" {
			b.state(abi.XenbusStateClosing)
		}
	case "6", "":
		b.disconnect()
		if own != "2" && own != "1" || front == "" {
			b.state(abi.XenbusStateClosed)
		}
	}
}

func (b *blkback) connect() {
	fe, zero := b.h.domains[b.dev.Frontend], b.h.domains[0]
	ref, err1 := strconv.ParseUint(b.get(b.dev.FrontPath()+"/ring-ref"), 10, 32)
	port, err2 := strconv.ParseUint(b.get(b.dev.FrontPath()+"/event-channel"), 10, 32)
	if fe == nil || err1 != nil || err2 != nil || b.get(b.dev.FrontPath()+"/protocol") != abi.XEN_IO_PROTO_ABI_X86_64 {
		b.h.tb.Logf("xentest: blkback: frontend's nodes do not do: ring-ref %v, event-channel %v", err1, err2)
		b.state(abi.XenbusStateClosing)
		return
	}
	page, handle, status := zero.mapHere(fe, gnttab.Ref(ref), true)
	if status != abi.GNTST_okay {
		b.h.tb.Logf("xentest: blkback: mapping the ring: %v", status)
		b.state(abi.XenbusStateClosing)
		return
	}
	local, rc := zero.bind(fe.ID, evtchn.Port(port))
	if rc != 0 {
		zero.unmap(handle)
		b.h.tb.Logf("xentest: blkback: binding port %d: %v", port, abi.HypercallError(rc))
		b.state(abi.XenbusStateClosing)
		return
	}
	zero.ports[local].handler = b.serve
	b.page, b.handle, b.port = page, handle, local
	b.ring, b.connected = ring.NewBack(page, ring.Blkif), true
	b.announce()
	b.state(abi.XenbusStateConnected)
}

// announce writes what Linux's blkback writes before it says Connected.
func (b *blkback) announce() {
	info := 0
	if b.cfg.ReadOnly {
		info = abi.VDISK_READONLY
	}
	nodes := map[string]string{
		"sectors":             strconv.FormatInt(b.disk.Size()/abi.BlkifSectorSize, 10),
		"sector-size":         "512",
		"info":                strconv.Itoa(info),
		"feature-flush-cache": "1",
		"feature-barrier":     "0",
		"feature-persistent":  "1",
	}
	if b.cfg.NoFlush {
		nodes["feature-flush-cache"] = "0"
	}
	if b.cfg.Barrier {
		nodes["feature-barrier"] = "1"
	}
	for k, v := range b.cfg.Nodes {
		nodes[k] = v
	}
	for k, v := range nodes {
		if v != "-" {
			b.set(k, v)
		}
	}
}

func (b *blkback) disconnect() {
	if !b.connected {
		return
	}
	b.connected = false
	zero := b.h.domains[0]
	if zero.ports[b.port] != nil {
		zero.closePort(b.port)
	}
	zero.unmap(b.handle)
}

// serve takes what is in the ring.
func (b *blkback) serve() {
	var req [abi.BlkifSlotSize]byte
	for b.connected && !b.cfg.Silent {
		ok, err := b.ring.Take(req[:])
		if err != nil {
			b.h.tb.Logf("xentest: blkback: %v", err)
			b.disconnect()
			return
		}
		if !ok {
			if b.ring.Arm() {
				continue
			}
			return
		}
		status := b.execute(req[:])
		rsp := make([]byte, abi.BlkifRspSize)
		copy(rsp[abi.BlkifRspID:], req[abi.BlkifReqID:][:8])
		rsp[abi.BlkifRspOperation] = req[abi.BlkifReqOperation]
		binary.LittleEndian.PutUint16(rsp[abi.BlkifRspStatus:], uint16(status))
		if b.cfg.Latency > 0 {
			b.h.after(int64(b.cfg.Latency), func() { b.respond(rsp) })
		} else {
			b.respond(rsp)
		}
	}
}

func (b *blkback) respond(rsp []byte) {
	if !b.connected {
		return
	}
	if b.cfg.Mangle != nil {
		if rsp = b.cfg.Mangle(rsp); rsp == nil {
			return
		}
	}
	b.ring.Put(rsp)
	if b.ring.Publish() {
		b.h.domains[0].send(b.port)
	}
}

// execute does one request.
func (b *blkback) execute(req []byte) int16 {
	op := req[abi.BlkifReqOperation]
	switch op {
	case abi.BLKIF_OP_FLUSH_DISKCACHE:
		if b.cfg.NoFlush || req[abi.BlkifReqNrSegments] != 0 {
			return abi.BLKIF_RSP_EOPNOTSUPP
		}
		return result(b.disk.Flush())
	case abi.BLKIF_OP_READ, abi.BLKIF_OP_WRITE:
	default:
		return abi.BLKIF_RSP_EOPNOTSUPP
	}
	n := int(req[abi.BlkifReqNrSegments])
	if n == 0 || n > abi.BLKIF_MAX_SEGMENTS_PER_REQUEST || op == abi.BLKIF_OP_WRITE && b.cfg.ReadOnly {
		return abi.BLKIF_RSP_ERROR
	}
	sector := int64(binary.LittleEndian.Uint64(req[abi.BlkifReqSectorNumber:]))
	if sector < 0 || sector > b.disk.Size()/abi.BlkifSectorSize {
		return abi.BLKIF_RSP_ERROR
	}
	return b.transfer(op, sector, req[abi.BlkifReqSegments:][:n*abi.BlkifSegSize])
}

// transfer moves the data of one request, all segments in one disk operation
// as a real disk would see it.
func (b *blkback) transfer(op uint8, sector int64, segs []byte) int16 {
	var data []byte
	write := op == abi.BLKIF_OP_WRITE
	if write {
		if !b.eachSegment(segs, false, func(p *shm.Page, off, n int) {
			chunk := make([]byte, n)
			p.CopyOut(chunk, off)
			data = append(data, chunk...)
		}) {
			return abi.BLKIF_RSP_ERROR
		}
		_, err := b.disk.WriteAt(data, sector*abi.BlkifSectorSize)
		return result(err)
	}
	total := 0
	for s := segs; len(s) > 0; s = s[abi.BlkifSegSize:] {
		total += (int(s[abi.BlkifSegLast]) - int(s[abi.BlkifSegFirst]) + 1) * abi.BlkifSectorSize
	}
	if total <= 0 {
		return abi.BLKIF_RSP_ERROR
	}
	data = make([]byte, total)
	if _, err := b.disk.ReadAt(data, sector*abi.BlkifSectorSize); err != nil {
		return abi.BLKIF_RSP_ERROR
	}
	if !b.eachSegment(segs, true, func(p *shm.Page, off, n int) {
		p.CopyIn(off, data[:n])
		data = data[n:]
	}) {
		return abi.BLKIF_RSP_ERROR
	}
	return abi.BLKIF_RSP_OKAY
}

// eachSegment maps every segment's page in turn. It checks a segment before it
// uses it: the frontend is somebody's code under test.
func (b *blkback) eachSegment(segs []byte, writable bool, f func(p *shm.Page, off, n int)) bool {
	zero, fe := b.h.domains[0], b.h.domains[b.dev.Frontend]
	for s := segs; len(s) > 0; s = s[abi.BlkifSegSize:] {
		ref := gnttab.Ref(binary.LittleEndian.Uint32(s[abi.BlkifSegGref:]))
		first, last := int(s[abi.BlkifSegFirst]), int(s[abi.BlkifSegLast])
		if fe == nil || first > last || last >= abi.PageSize/abi.BlkifSectorSize {
			return false
		}
		page, handle, status := zero.mapHere(fe, ref, writable)
		if status != abi.GNTST_okay {
			return false
		}
		f(page, first*abi.BlkifSectorSize, (last-first+1)*abi.BlkifSectorSize)
		zero.unmap(handle)
	}
	return true
}

func result(err error) int16 {
	if err != nil {
		return abi.BLKIF_RSP_ERROR
	}
	return abi.BLKIF_RSP_OKAY
}

// mapHere maps a page of another domain for the fake host's own use.
func (d *Domain) mapHere(owner *Domain, ref gnttab.Ref, writable bool) (*shm.Page, uint32, abi.GrantStatus) {
	d.nextHole++
	gfn := d.nextHole - 1
	handle, status := d.mapAt(owner.ID, ref, writable, gfn)
	if status != abi.GNTST_okay {
		return nil, 0, status
	}
	return d.p2m[gfn].view(d), handle, status
}
