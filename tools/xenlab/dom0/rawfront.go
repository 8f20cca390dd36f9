package dom0

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawFront is a vTPM frontend in dom0's user space, made of grants and event channels. It does
// what a kernel's driver never would: it publishes a second ring without closing the first, and puts nonsense into the page.
type rawFront struct {
	path    string // of the device in xenstore
	backend string // path of the backend's directory
	domain  int    // of the backend
	grants  *os.File
	events  *os.File
	ring    []byte // the shared page
	ref     uint32
	port    uint32
}

// The page of tpmif: length, state, locality, pad, number of extra pages, data.
const (
	ringLength = 0
	ringState  = 4
	ringExtra  = 7
	ringData   = 8

	tpmIdle   = 0
	tpmSubmit = 1
	tpmFinish = 2
	tpmCancel = 3
)

// ioctl numbers of /dev/xen/gntalloc and /dev/xen/evtchn: _IOC(_IOC_NONE, type, nr, size).
const (
	allocGref   = 24<<16 | 'G'<<8 | 5
	bindUnbound = 4<<16 | 'E'<<8 | 2
	notifyPort  = 4<<16 | 'E'<<8 | 4
)

// allocGrefArg is struct ioctl_gntalloc_alloc_gref for one page.
type allocGrefArg struct {
	domid, flags uint16
	count        uint32
	index        uint64
	ref          uint32
	_            uint32
}

func ioctl(f *os.File, number uintptr, arg unsafe.Pointer) (int, error) {
	// SAFETY: arg points to a structure of the size that number carries, alive during the call.
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), number, uintptr(arg))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// openRaw takes over the device that xl vtpm-attach made for dom0.
func openRaw(devid int) (*rawFront, error) {
	f := &rawFront{path: fmt.Sprintf("/local/domain/0/device/vtpm/%d", devid)}
	var err error
	if f.backend, err = xsRead(f.path + "/backend"); err != nil {
		return nil, err
	}
	id, err := xsRead(f.path + "/backend-id")
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Sscan(id, &f.domain); err != nil {
		return nil, fmt.Errorf("lab: backend-id %q: %w", id, err)
	}
	if f.grants, err = os.OpenFile("/dev/xen/gntalloc", os.O_RDWR, 0); err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	f.events, err = os.OpenFile("/dev/xen/evtchn", os.O_RDWR, 0)
	return f, err
}

// newRing allocates another page and another event channel, and forgets the previous ones, which
// stay allocated.
func (f *rawFront) newRing() error {
	arg := allocGrefArg{domid: uint16(f.domain), flags: 1, count: 1} // writable
	if _, err := ioctl(f.grants, allocGref, unsafe.Pointer(&arg)); err != nil {
		return fmt.Errorf("lab: allocating a grant: %w", err)
	}
	page, err := unix.Mmap(int(f.grants.Fd()), int64(arg.index), 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("lab: mapping a granted page: %w", err)
	}
	remote := uint32(f.domain)
	port, err := ioctl(f.events, bindUnbound, unsafe.Pointer(&remote))
	if err != nil {
		return fmt.Errorf("lab: allocating an event channel: %w", err)
	}
	f.ring, f.ref, f.port = page, arg.ref, uint32(port)
	return nil
}

// publish writes the present ring into xenstore and waits until the backend has connected.
func (f *rawFront) publish() error {
	err := f.offer()
	if err == nil {
		err = f.connected(stateLimit)
	}
	return err
}

// offer writes the present ring into xenstore.
func (f *rawFront) offer() error {
	err := xsWrite(f.path+"/ring-ref", fmt.Sprint(f.ref), f.path+"/event-channel", fmt.Sprint(f.port),
		f.path+"/feature-protocol-v2", "1")
	if err == nil {
		err = xsWrite(f.path+"/state", "3")
	}
	return err
}

// connected waits until the backend has taken what was offered.
func (f *rawFront) connected(limit time.Duration) error {
	err := waitState(f.backend, "4", limit)
	if err == nil {
		err = xsWrite(f.path+"/state", "4")
	}
	return err
}

// stateLimit bounds what a backend does on its own.
const stateLimit = 20 * time.Second

func waitState(dir, want string, limit time.Duration) error {
	return waitEvery(100*time.Millisecond, limit, dir+" to be in state "+want, func() bool {
		s, err := xsRead(dir + "/state")
		return err == nil && s == want
	})
}

// word is the second word of the page: state, locality, pad and number of extra pages.
func (f *rawFront) word() *uint32 {
	// SAFETY: the ring is a mapped page, so offset 4 is inside of it and aligned.
	return (*uint32)(unsafe.Pointer(&f.ring[ringState]))
}

func (f *rawFront) state() uint8 { return uint8(atomic.LoadUint32(f.word())) }

// put writes a request as told, right or wrong, sets the state and sends an event.
func (f *rawFront) put(length uint32, extra, state uint8, data []byte) error {
	copy(f.ring[ringData:], data)
	binary.LittleEndian.PutUint32(f.ring[ringLength:], length)
	atomic.StoreUint32(f.word(), uint32(extra)<<24|uint32(state))
	return f.kick()
}

func (f *rawFront) kick() error {
	port := f.port
	if _, err := ioctl(f.events, notifyPort, unsafe.Pointer(&port)); err != nil {
		return fmt.Errorf("lab: event: %w", err)
	}
	return nil
}

var errNoAnswer = errors.New("no answer")

// answer waits for FINISH or IDLE and returns the response; nil for IDLE.
func (f *rawFront) answer(limit time.Duration) ([]byte, error) {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		switch f.state() {
		case tpmIdle:
			return nil, nil
		case tpmFinish:
			n := binary.LittleEndian.Uint32(f.ring[ringLength:])
			if n < 10 || n > 4088 {
				return nil, fmt.Errorf("a response of %d bytes", n)
			}
			return append([]byte(nil), f.ring[ringData:ringData+n]...), nil
		}
	}
	return nil, errNoAnswer
}

// Send executes one command as it should be done.
func (f *rawFront) Send(cmd []byte) ([]byte, error) {
	if err := f.put(uint32(len(cmd)), 0, tpmSubmit, cmd); err != nil {
		return nil, err
	}
	rsp, err := f.answer(30 * time.Second)
	if err == nil && rsp == nil {
		err = errors.New("the command was cancelled")
	}
	return rsp, err
}

// Close lets go of everything. The device in xenstore stays.
func (f *rawFront) Close() error { return errors.Join(f.events.Close(), f.grants.Close()) }
