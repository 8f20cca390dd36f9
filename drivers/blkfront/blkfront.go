// Package blkfront is the frontend of Xen's block device: it reads, writes and
// flushes the disk that the toolstack has given this domain.
//
// Source: xen/include/public/io/blkif.h. A transfer is cut into requests of up to
// eleven pages, of which some are in flight at a time, through bounce pages that
// are granted once. There is one transfer at a time. A backend that cannot flush is refused: nothing on such a disk
// would ever be known to be durable.
//
// Deliberately missing: persistent and indirect grants, multi-page rings,
// several queues, discard.
//
// Threat model: the backend can refuse, delay, lose or falsify data, which the
// users of the disk have to detect, but it can't harm us: every wait has a
// limit, an answer that was not asked for ends the connection, and sizes are
// checked.
package blkfront

import (
	"errors"
	"fmt"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/evtchn"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/ring"
	"xenvtpm/board/xen/xenbus"
	"xenvtpm/board/xen/xenstore"
)

// Errors. After ErrBroken and ErrDisconnected it is not known whether a write
// took effect.
var (
	ErrNotConnected = errors.New("blkfront: no connection to the disk's backend")
	ErrDisconnected = errors.New("blkfront: the backend went away during the request")
	ErrBroken       = errors.New("blkfront: the backend broke the protocol or did not answer; the disk is out of use")
	ErrIO           = errors.New("blkfront: the backend reports an error")
	ErrNoFlush      = errors.New("blkfront: the backend cannot flush the disk (feature-flush-cache is not 1)")
	ErrBarrierOnly  = errors.New("blkfront: the backend knows barriers but no flush (feature-barrier without feature-flush-cache, as blktap has it): give the disk by phy or qdisk")
	ErrTapdisk      = errors.New("blkfront: the disk is served by blktap (tapdisk-params), which does not flush: give it by phy or qdisk")
	ErrReadOnly     = errors.New("blkfront: the disk is read-only")
	ErrRange        = errors.New("blkfront: not whole sectors of the disk")
	ErrBusy         = errors.New("blkfront: a request is running")
	ErrClosed       = errors.New("blkfront: closed")
)

// SectorSize is the unit of offsets and lengths, whatever the device's own is.
const SectorSize = abi.BlkifSectorSize

// segments is how many bounce pages a request in flight has.
const segments = abi.BLKIF_MAX_SEGMENTS_PER_REQUEST

// maxSectors is more than any disk has, and keeps byte offsets in an int64.
const maxSectors = 1 << 50

// Config is what Open needs.
type Config struct {
	Store    *xenstore.Client
	Channels evtchn.Channels
	Grants   gnttab.Grants
	Class    string               // default "device/vbd"
	ID       string               // the device; default: the first one with a backend
	Idle     func()               // called while we wait; may be nil
	Logf     func(string, ...any) // may be nil

	ConnectWait time.Duration // how long to wait for a backend; default 30 s
	RequestWait time.Duration // how long the next answer may take; default 60 s
	CloseWait   time.Duration // how long the backend may take for each step of Close; default 2 s
	Retries     int           // of a read or write that failed; default 2, negative: none
	Depth       int           // requests in flight, each with 44 KiB of bounce pages; default 2, at most 32
}

func (c *Config) fill() error {
	if c.Store == nil || c.Channels == nil || c.Grants == nil {
		return fmt.Errorf("blkfront: bad Config: Store, Channels and Grants are needed")
	}
	if c.Class == "" {
		c.Class = "device/vbd"
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	for _, d := range []struct {
		at  *time.Duration
		def time.Duration
	}{{&c.ConnectWait, 30 * time.Second}, {&c.RequestWait, 60 * time.Second}, {&c.CloseWait, 2 * time.Second}} {
		if *d.at <= 0 {
			*d.at = d.def
		}
	}
	if c.Retries == 0 {
		c.Retries = 2
	}
	if c.Depth <= 0 {
		c.Depth = 2
	}
	c.Depth = min(c.Depth, ring.Blkif.Count)
	return nil
}

// Disk is a disk. One goroutine uses it at a time; Poll may be called from Idle.
type Disk struct {
	cfg  Config
	dev  *xenbus.FrontDevice
	link *link // nil: nothing shared

	shape  shape // of the first connection; a later one must not differ
	lastID uint64
	broken error // sticky: the ring's contents are not known any more
	dirty  bool  // written since the last good Flush
	lost   bool  // the connection was lost while dirty
	busy   bool
	closed bool
}

// Open connects. When no backend answers within ConnectWait, or when it cannot
// flush, it fails and says why.
func Open(cfg Config) (*Disk, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	d := &Disk{cfg: cfg}
	var err error
	d.dev, err = xenbus.NewFrontDevice(xenbus.FrontConfig{
		Store: cfg.Store, Driver: driver{d}, Channels: cfg.Channels, Class: cfg.Class, ID: cfg.ID,
		NeedInitWait: true, CloseWait: cfg.CloseWait, Idle: cfg.Idle, Logf: cfg.Logf,
	})
	if err != nil {
		return nil, err
	}
	if err := d.connect(); err != nil {
		d.closed = true
		d.dev.Release()
		return nil, err
	}
	return d, nil
}

// Size is the disk's size in bytes.
func (d *Disk) Size() int64 { return d.shape.size }

// ReadOnly reports whether the backend takes no writes.
func (d *Disk) ReadOnly() bool { return d.shape.readOnly }

// Broken reports whether the disk is out of use: only another Open helps.
func (d *Disk) Broken() bool { return d.broken != nil }

// Poll follows the backend's comings and goings; call it from the main loop. It
// does not block longer than xenstore requests.
func (d *Disk) Poll() {
	if !d.closed {
		d.dev.Poll()
	}
}

// Deadline is when Poll has something to do without an event.
func (d *Disk) Deadline() int64 { return d.dev.Deadline() }

func (d *Disk) connected() bool { return d.link != nil && d.link.up }

// connect waits for a connection.
func (d *Disk) connect() error {
	deadline := d.cfg.Channels.Now() + int64(d.cfg.ConnectWait)
	if !d.dev.Await(deadline, d.connected) {
		return fmt.Errorf("%w: %v: %w", ErrNotConnected, d.dev.Phase(), d.dev.Err())
	}
	return nil
}

// Close tells the backend that we go, waits for it to let go, within CloseWait
// for each of two steps, and frees everything. It does not flush.
func (d *Disk) Close() error {
	if d.closed {
		return nil
	}
	if d.busy {
		return ErrBusy
	}
	d.dev.Close()
	d.closed = true
	return nil
}
