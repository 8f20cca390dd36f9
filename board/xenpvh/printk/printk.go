// Package printk is the byte sink behind print, panics and os.Stdout: it puts
// lines into Xen's console ring (io/console.h).
//
// The Go runtime prints at the worst of times: before memory can be
// allocated, with its locks held, in the middle of a fatal error, on a stack
// that must not grow. So nothing here allocates, panics or checks the stack
// (every function is nosplit), and the page is accessed through a bare
// pointer. The functions in Hooks must keep to the same rules.
//
// The reader is xenconsoled in dom0. It may be slow, gone or hostile: waiting
// is bounded, a corrupt index ends the use of the ring, and what had to be
// dropped is counted and reported when the reader moves again.
package printk

import (
	"sync/atomic"
	"unsafe"

	"xenvtpm/board/xen/abi"
)

// Patience is how long a byte may wait for room, in ns, before the rest of its
// line is dropped. After that nobody waits until the reader has moved.
const Patience = int64(1e9)

// batch is how much of an unfinished line is kept back from the reader.
const batch = 256

// Hooks reach the world outside the ring.
type Hooks struct {
	Notify   func()       // tell the reader that there is something
	Pause    func()       // let the reader run, about a millisecond
	Now      func() int64 // monotonic ns
	Fallback func(c byte) // where output goes while there is no usable ring
}

// Console is the sink. One line is buffered in the ring itself: its bytes are
// written as they come, and published to the reader at its end. The zero
// Console with Hooks set writes to Fallback. It is not for concurrent use.
type Console struct {
	Hooks Hooks

	page    unsafe.Pointer // struct xencons_interface, or nil
	prod    uint32         // next byte to write
	shown   uint32         // what the reader has been told
	seen    uint32         // reader's index when it last let us wait in vain
	stalled bool           // it did
	skip    bool           // dropping the rest of a line
	lost    uint32         // lines dropped and not yet reported
}

// Attach starts using the ring in the page at p.
//
//go:nosplit
func (c *Console) Attach(p unsafe.Pointer) {
	c.page = p
	c.prod = atomic.LoadUint32(c.index(abi.ConsoleOutProd))
	c.shown = c.prod
}

// Put writes one byte. A line feed gets the carriage return that terminals
// want and publishes the line.
//
//go:nosplit
func (c *Console) Put(b byte) {
	switch {
	case c.page == nil:
		c.Hooks.Fallback(b)
	case b == '\n':
		c.endLine()
	case b != '\r' && !c.skip:
		c.store(b)
	}
}

//go:nosplit
func (c *Console) endLine() {
	if !c.skip {
		c.store('\r')
	}
	if !c.skip {
		c.store('\n')
	}
	if c.skip {
		c.skip = false
		c.lost++
	}
	c.publish()
}

// store puts a byte into the ring, or starts to drop the line.
//
//go:nosplit
func (c *Console) store(b byte) {
	if c.lost > 0 && c.prod == c.shown && !c.report() || !c.room(1) {
		c.skip = true
		return
	}
	c.raw(b)
	if c.prod-c.shown >= batch {
		c.publish()
	}
}

// report says how many lines are missing, at the start of a line. It reports
// false if there is no room for that.
//
//go:nosplit
func (c *Console) report() bool {
	const text = " console lines lost]\r\n"
	if !c.room(uint32(len(text)) + 11) {
		return false
	}
	c.raw('[')
	div := uint32(1)
	for c.lost/div >= 10 {
		div *= 10
	}
	for ; div > 0; div /= 10 {
		c.raw(byte('0' + c.lost/div%10))
	}
	for i := 0; i < len(text); i++ {
		c.raw(text[i])
	}
	c.lost = 0
	c.publish()
	return c.page != nil
}

//go:nosplit
func (c *Console) raw(b byte) {
	if c.page == nil {
		return
	}
	*(*byte)(unsafe.Add(c.page, abi.ConsoleOut+c.prod%abi.ConsoleOutSize)) = b
	c.prod++
}

// room waits until n bytes are free. A reader that claims to have read what
// was never written is not to be trusted with the ring.
//
//go:nosplit
func (c *Console) room(n uint32) bool {
	start := int64(-1)
	for c.page != nil {
		cons := atomic.LoadUint32(c.index(abi.ConsoleOutCons))
		used := c.prod - cons
		if used > abi.ConsoleOutSize || c.shown-cons > abi.ConsoleOutSize {
			c.page = nil
			break
		}
		if abi.ConsoleOutSize-used >= n {
			c.stalled = false
			return true
		}
		if c.stalled && c.seen == cons {
			return false
		}
		now := c.Hooks.Now()
		if start < 0 {
			start = now
		}
		if now-start >= Patience {
			c.stalled, c.seen = true, cons
			return false
		}
		c.publish()
		c.Hooks.Pause()
	}
	return false
}

// publish tells the reader about everything written so far.
//
//go:nosplit
func (c *Console) publish() {
	if c.page == nil {
		return
	}
	atomic.StoreUint32(c.index(abi.ConsoleOutProd), c.prod)
	c.shown = c.prod
	c.Hooks.Notify()
}

// Flush publishes an unfinished line and waits at most limit ns until the
// reader has taken everything. The ring dies with the domain, so it comes last
// before a shutdown. It reports whether everything was taken.
//
//go:nosplit
func (c *Console) Flush(limit int64) bool {
	if c.page == nil {
		return false
	}
	if c.lost > 0 && c.prod == c.shown {
		c.report()
	}
	start := c.Hooks.Now()
	for c.page != nil {
		c.publish()
		if atomic.LoadUint32(c.index(abi.ConsoleOutCons)) == c.prod {
			return c.lost == 0
		}
		if c.Hooks.Now()-start >= limit {
			break
		}
		c.Hooks.Pause()
	}
	return false
}

// index locates one of the ring's indices.
//
// SAFETY: offsets are constants of the ABI inside the page that Attach got.
//
//go:nosplit
func (c *Console) index(off uintptr) *uint32 {
	return (*uint32)(unsafe.Add(c.page, off))
}
