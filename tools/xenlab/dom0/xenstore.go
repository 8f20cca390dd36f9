package dom0

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"xenvtpm/board/xen/xenstore"
)

// xenbusFile carries the project's own xenstore client over dom0's /dev/xen/xenbus. Starting a program for each
// value costs more than everything else that the hotplug script does.
type xenbusFile struct{ fd int }

var booted = time.Now()

// Send implements xenstore.Transport.
func (x xenbusFile) Send(p []byte) (int, error) { return again(unix.Write(x.fd, p)) }

// Receive implements xenstore.Transport.
func (x xenbusFile) Receive(p []byte) (int, error) {
	n, err := unix.Read(x.fd, p)
	return again(n, err)
}

// again takes an operation that would block for one that did nothing yet.
func again(n int, err error) (int, error) {
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	return n, err
}

// Wait implements xenstore.Transport.
func (x xenbusFile) Wait(deadline int64, _ bool) {
	ms := max(0, (deadline-x.Now())/int64(time.Millisecond))
	// Interrupted or not, the caller looks again.
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(x.fd), Events: unix.POLLIN}}, int(min(ms+1, 1000)))
}

// Rearm implements xenstore.Transport; nobody waits for several things here.
func (x xenbusFile) Rearm() {}

// Nudge implements xenstore.Transport; the kernel loses no events.
func (x xenbusFile) Nudge() error { return nil }

// Now implements xenstore.Transport.
func (x xenbusFile) Now() int64 { return int64(time.Since(booted)) }

// withXenstore runs f with a connection of its own.
func withXenstore(f func(*xenstore.Client, xenbusFile) error) error {
	fd, err := unix.Open("/dev/xen/xenbus", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("lab: %w", &os.PathError{Op: "open", Path: "/dev/xen/xenbus", Err: err})
	}
	defer unix.Close(fd)
	x := xenbusFile{fd}
	return f(xenstore.New(xenstore.Config{Transport: x, Timeout: 20 * time.Second}), x)
}

// xsRead reads one value.
func xsRead(path string) (value string, err error) {
	err = withXenstore(func(c *xenstore.Client, _ xenbusFile) (err error) {
		value, err = c.Read(path)
		return err
	})
	return value, err
}

// xsWrite writes pairs of path and value in one transaction.
func xsWrite(pairs ...string) error {
	return withXenstore(func(c *xenstore.Client, _ xenbusFile) error {
		return c.Transaction(func(tx *xenstore.Tx) error {
			for i := 0; i+1 < len(pairs); i += 2 {
				if err := tx.Write(pairs[i], pairs[i+1]); err != nil {
					return err
				}
			}
			return nil
		})
	})
}
