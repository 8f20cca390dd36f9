package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"xenvtpm/tools/vtpmd/options"
)

// Listener gives connections of one endpoint, be it an address or an inherited
// descriptor (which may be a listening or a connected socket).
type Listener struct {
	ln   net.Listener
	conn net.Conn // given once, when the descriptor is connected
}

// Listen opens an endpoint.
func Listen(e *options.Endpoint, name string) (*Listener, error) {
	if e.ClientFD >= 0 {
		conn, err := connOf(e.ClientFD, name)
		return &Listener{conn: conn}, err
	}
	if e.FD >= 0 {
		return listenFD(e.FD, name)
	}
	if e.Network == "unix" {
		// A socket file that a killed process left is in the way.
		if st, err := os.Lstat(e.Address); err == nil && st.Mode()&os.ModeSocket != 0 {
			if err := os.Remove(e.Address); err != nil {
				return nil, fmt.Errorf("%s: remove the old socket: %w", name, err)
			}
		}
	}
	ln, err := net.Listen(e.Network, e.Address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if e.Network == "unix" {
		if err := own(e); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", name, err), ln.Close())
		}
	}
	return &Listener{ln: ln}, nil
}

func own(e *options.Endpoint) error {
	if err := os.Chmod(e.Address, e.Mode); err != nil {
		return err
	}
	if e.UID < 0 && e.GID < 0 {
		return nil
	}
	return os.Chown(e.Address, e.UID, e.GID)
}

// listenFD takes over a descriptor; the kernel tells whether it listens.
func listenFD(fd int, name string) (*Listener, error) {
	listens, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
	if err != nil {
		return nil, fmt.Errorf("%s: descriptor %d is not a socket: %w", name, fd, err)
	}
	if listens == 0 {
		conn, err := connOf(fd, name)
		return &Listener{conn: conn}, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }() // the net package works on a copy
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("%s: descriptor %d: %w", name, fd, err)
	}
	return &Listener{ln: ln}, nil
}

// Accept gives the next connection; net.ErrClosed when there is none any more.
func (l *Listener) Accept() (net.Conn, error) {
	if l.ln != nil {
		return l.ln.Accept()
	}
	if l.conn == nil {
		return nil, net.ErrClosed
	}
	c := l.conn
	l.conn = nil
	return c, nil
}

// Once reports whether Accept gives one connection only.
func (l *Listener) Once() bool { return l.ln == nil }

// Close stops Accept.
func (l *Listener) Close() error {
	if l.ln != nil {
		return l.ln.Close()
	}
	if l.conn != nil {
		return l.conn.Close()
	}
	return nil
}
