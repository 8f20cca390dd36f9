package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

// MaxCommand bounds a TPM command on the data channel, in bytes.
const MaxCommand = 4096

// simulator protocol words: a command may come with the header that TCG's simulator uses (u32
// 8, u8 locality, u32 length), and is then answered with u32 length, response, u32 0.
const (
	simSendCommand = 8
	simHeaderLen   = 9
)

// ErrFrame is returned for a command whose size field cannot be right; the stream
// cannot be followed after it.
var ErrFrame = errors.New("size field of a TPM command is out of range")

// ServeData answers TPM commands on a connection until it ends, or after one
// command when once is set.
func ServeData(m *Machine, conn io.ReadWriter, once bool) error {
	if b, ok := newBlocking(conn); ok {
		defer func() { _ = b.Close() }() // a copy; the caller closes its own
		conn = b
	}
	buf := make([]byte, simHeaderLen+MaxCommand)
	out := make([]byte, 0, MaxCommand+8)
	scratch := make([]byte, 0, MaxCommand)
	for {
		cmd, locality, sim, err := readCommand(conn, buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, ErrFrame) {
			// The client learns why before the connection ends.
			_, werr := conn.Write(m.failure(out))
			return errors.Join(err, werr)
		}
		if err != nil {
			return err
		}
		if sim {
			out = simAnswer(m, locality, cmd, scratch, out)
		} else {
			out = m.Execute(cmd, out[:0])
		}
		if _, err := conn.Write(out); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		if once {
			return nil
		}
	}
}

func simAnswer(m *Machine, locality uint8, cmd, scratch, out []byte) []byte {
	rsp := m.ExecuteAt(locality, cmd, scratch)
	out = binary.BigEndian.AppendUint32(out[:0], uint32(len(rsp)))
	return binary.BigEndian.AppendUint32(append(out, rsp...), 0)
}

// readCommand reads one command. Its bytes stay valid until the next call.
func readCommand(r io.Reader, buf []byte) (cmd []byte, locality uint8, sim bool, err error) {
	// One read takes what most clients send in one piece.
	n, err := io.ReadAtLeast(r, buf, 4)
	if err != nil {
		if n > 0 && errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, 0, false, err
		}
		return nil, 0, false, io.EOF
	}
	off := 0
	if binary.BigEndian.Uint32(buf) == simSendCommand {
		if n, err = fill(r, buf, n, simHeaderLen); err != nil {
			return nil, 0, false, err
		}
		locality, sim, off = buf[4], true, simHeaderLen
		if size := binary.BigEndian.Uint32(buf[5:]); size < 10 || size > MaxCommand {
			return nil, 0, true, fmt.Errorf("%w: %d", ErrFrame, size)
		}
	}
	if n, err = fill(r, buf, n, off+10); err != nil {
		return nil, 0, sim, err
	}
	size := binary.BigEndian.Uint32(buf[off+2:])
	if size < 10 || size > MaxCommand {
		return nil, 0, sim, fmt.Errorf("%w: %d", ErrFrame, size)
	}
	if n, err = fill(r, buf, n, off+int(size)); err != nil {
		return nil, 0, sim, err
	}
	if n > off+int(size) {
		// TPM clients wait for an answer before the next command; more bytes mean that
		// the size field and the client disagree.
		return nil, 0, sim, fmt.Errorf("%w: %d bytes came with a size of %d", ErrFrame, n-off, size)
	}
	return buf[off:n], locality, sim, nil
}

func fill(r io.Reader, buf []byte, have, need int) (int, error) {
	if have >= need {
		return have, nil
	}
	n, err := io.ReadAtLeast(r, buf[have:], need-have)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return have + n, err
}

// connOf makes a connection of an inherited descriptor.
func connOf(fd int, name string) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), name)
	if f == nil {
		return nil, fmt.Errorf("%s: descriptor %d is not open", name, fd)
	}
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return conn, f.Close()
}
