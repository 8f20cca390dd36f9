package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

// frames cuts what comes on a data connection into TPM commands.
type frames struct {
	conn io.ReadWriter
	sock *blocking // conn, where it is a socket
	// device: each read is one whole command.
	device bool
	// local: a write of the other side arrives as a whole, so that silence is its end.
	local bool
	buf   []byte
}

// command is one frame. Its octets stay valid until the next one is read.
type command struct {
	octets   []byte
	sim      bool  // it came with the simulator's header
	locality uint8 // of that header
}

func newFrames(conn io.ReadWriter) *frames {
	f := &frames{conn: conn, buf: make([]byte, simHeaderLen+MaxCommand)}
	if b, ok := newBlocking(conn); ok {
		f.conn, f.sock = b, b
		f.local = conn.(net.Conn).LocalAddr().Network() == "unix"
	} else if _, ok := conn.(*os.File); ok {
		f.device, f.local = true, true
	}
	return f
}

func (f *frames) close() {
	if f.sock != nil {
		_ = f.sock.Close() // a copy; the caller closes its own
	}
}

// next reads one command. Errors: io.EOF between commands; ErrFrame.
func (f *frames) next() (c command, err error) {
	n, err := f.conn.Read(f.buf)
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	if n == 0 {
		return c, err
	}
	if n, err = f.fill(n, 4); err != nil {
		return c, err
	}
	off := 0
	if binary.BigEndian.Uint32(f.buf) == simSendCommand {
		if n, err = f.fill(n, simHeaderLen); err != nil {
			return c, err
		}
		c.locality, c.sim, off = f.buf[4], true, simHeaderLen
	}
	if n, err = f.fill(n, off+10); err != nil {
		return c, err
	}
	size := uint64(binary.BigEndian.Uint32(f.buf[off+2:]))
	end := uint64(off) + size
	switch {
	case size < 10 || size > MaxCommand:
		return c, f.skip(n, end, fmt.Errorf("%w: it announces %d octets", ErrFrame, size))
	case uint64(n) < end:
		if n, err = f.fill(n, int(end)); err != nil {
			return c, err
		}
	}
	if uint64(n) > end {
		// A client waits for an answer before the next command.
		return c, f.skip(n, end, fmt.Errorf("%w: %d octets came, it announces %d", ErrFrame, n-off, size))
	}
	c.octets = f.buf[off:n]
	return c, nil
}

// fill reads until there are need octets.
func (f *frames) fill(have, need int) (int, error) {
	for have < need {
		if !f.more() {
			return have, fmt.Errorf("%w: %d octets came, at least %d are missing", ErrFrame, have, need-have)
		}
		n, err := f.conn.Read(f.buf[have:])
		have += n
		if have >= need {
			break
		}
		if errors.Is(err, io.EOF) {
			return have, io.ErrUnexpectedEOF
		}
		if err != nil {
			return have, err
		}
	}
	return have, nil
}

// more reports whether what was begun goes on.
func (f *frames) more() bool {
	switch {
	case f.device:
		return false
	case f.sock != nil:
		return f.sock.wait(frameGrace)
	}
	return true
}

// skip throws away what belongs to a bad frame: of a local client the rest that it announced,
// as far as that comes. The result is why.
func (f *frames) skip(have int, end uint64, why error) error {
	for done := uint64(have); f.sock != nil && f.local && done < end; {
		if !f.more() {
			break
		}
		n, err := f.conn.Read(f.buf)
		if n == 0 || err != nil {
			break // the next read says it again
		}
		done += uint64(n)
	}
	return why
}
