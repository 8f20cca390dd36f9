package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// MaxCommand bounds TPM commands and responses, in bytes; a client may agree on less.
const MaxCommand = 4096

// simulator protocol words: a command may come with the header that TCG's simulator uses (u32
// 8, u8 locality, u32 length, which is not looked at, as swtpm does not), and is then answered
// with u32 length, response, u32 0.
const (
	simSendCommand = 8
	simHeaderLen   = 9
)

// frameGrace is how long a command that has begun may be silent. Who announced more octets than
// he sends (a guest can make QEMU do that) is answered then, as swtpm does at once:
// waiting for ever would hang QEMU with it.
const frameGrace = 2 * time.Second

// ErrFrame says that a command and its size field disagree, or that it ended half way.
var ErrFrame = errors.New("a TPM command and its size field disagree")

// ServeData answers TPM commands on a connection until it ends, or after one
// command when once is set. A bad frame is answered with TPM_RC_COMMAND_SIZE. After it the
// next write of a local client is the next command; a connection over TCP ends: what the
// network still holds of the bad one could be taken for a command.
func ServeData(m *Machine, conn io.ReadWriter, once bool) error {
	in := newFrames(conn)
	defer in.close()
	out := make([]byte, 0, MaxCommand+8)
	scratch := make([]byte, 0, MaxCommand)
	for {
		cmd, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, ErrFrame) && cmd.sim:
			out = simAnswer(m.badFrame(scratch), out)
		case errors.Is(err, ErrFrame):
			out = m.badFrame(out)
		case err != nil:
			return err
		case cmd.sim:
			out = simAnswer(m.ExecuteAt(cmd.locality, cmd.octets, scratch), out)
		default:
			out = m.Execute(cmd.octets, out[:0])
		}
		if _, werr := in.conn.Write(out); werr != nil {
			return fmt.Errorf("answer: %w", werr)
		}
		if err != nil && !in.local {
			return err // the client learns why before the connection ends
		}
		if err != nil {
			m.debugf(LogEvents, "data channel: %v", err)
		}
		if once {
			return nil
		}
	}
}

func simAnswer(rsp, out []byte) []byte {
	out = binary.BigEndian.AppendUint32(out[:0], uint32(len(rsp)))
	return binary.BigEndian.AppendUint32(append(out, rsp...), 0)
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
