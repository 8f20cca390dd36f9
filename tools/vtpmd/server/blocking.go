package server

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// blocking is a socket that is read and written with plain system calls. A
// command costs one read and one write this way; through the runtime's poller it costs two
// more calls and a change of threads, which is more than most commands take.
type blocking struct {
	fd int
	f  *os.File // keeps fd open
}

// newBlocking takes over a connection. Closing the connection does not end a read
// that waits; CloseRead does.
func newBlocking(conn io.ReadWriter) (*blocking, bool) {
	c, ok := conn.(interface{ File() (*os.File, error) })
	if _, isConn := conn.(net.Conn); !ok || !isConn {
		return nil, false
	}
	f, err := c.File()
	if err != nil {
		return nil, false
	}
	return &blocking{int(f.Fd()), f}, true // Fd makes it blocking
}

func (b *blocking) Close() error { return b.f.Close() }

func (b *blocking) Read(p []byte) (int, error) {
	for {
		n, err := syscall.Read(b.fd, p)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// wait reports whether there is something to be read, or the end, within a time.
func (b *blocking) wait(limit time.Duration) bool {
	for end := time.Now().Add(limit); ; {
		left := max(0, time.Until(end))
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(b.fd), Events: unix.POLLIN}}, int(left.Milliseconds()))
		if !errors.Is(err, syscall.EINTR) {
			return n > 0 || err != nil // the read tells what is wrong
		}
	}
}

func (b *blocking) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := syscall.Write(b.fd, p[done:])
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return done, os.NewSyscallError("write", err)
		}
		done += n
	}
	return done, nil
}
