package server

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"xenvtpm/tools/vtpmd/ptm"
)

// Control answers one control connection after another.
type Control struct {
	Machine *Machine
	// Attach takes over a data socket that came with SetDataFD, or closes it and
	// says why not.
	Attach func(net.Conn) error
	// Shutdown is called once after the response to Shutdown went out.
	Shutdown func()
	// Info is the text of GetInfo for given flags.
	Info func(flags uint64) string
}

// minBuffer is the smallest size of commands and responses that can be agreed upon, in bytes. It
// is swtpm's.
const minBuffer = 0xaf8

// Serve handles requests until the connection ends.
func (c *Control) Serve(conn net.Conn) error {
	in := &fdReader{conn: conn}
	defer in.drop()
	buffered := bufio.NewReader(in)
	for {
		q, err := ptm.ReadRequest(buffered)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		answer := c.handle(q, in)
		c.Machine.debugf(LogControl, "control: %v: %d octets, result 0x%x", q.Command, len(answer), binary.BigEndian.Uint32(answer))
		if _, err := conn.Write(answer); err != nil {
			return fmt.Errorf("answer control command %d: %w", q.Command, err)
		}
		if !q.Known {
			return fmt.Errorf("unknown control command %d", q.Command)
		}
		if q.Command == ptm.Shutdown {
			c.Shutdown()
			return nil
		}
	}
}

func (c *Control) handle(q ptm.Request, in *fdReader) []byte {
	m := c.Machine
	switch q.Command {
	case ptm.GetCapability:
		return ptm.Capabilities(ptm.CapLockStorage<<1 - 1)
	case ptm.Init:
		return c.init(q.Flags)
	case ptm.Shutdown, ptm.Stop:
		m.PowerOff()
		return ptm.Result(ptm.Success)
	case ptm.GetTPMEstablished:
		bit, err := m.Established()
		if err != nil {
			return c.result("get establishment", err)
		}
		return ptm.Established(bit)
	case ptm.SetLocality:
		return ptm.Result(m.SetLocality(q.Locality))
	case ptm.CancelTPMCmd:
		return c.result("cancel", m.CancelCommand())
	case ptm.StoreVolatile:
		return c.result("store volatile state", m.StoreVolatile())
	case ptm.ResetTPMEstablished:
		return c.resetEstablished(q.Locality)
	case ptm.HashStart:
		return c.result("hash start", m.HashStart())
	case ptm.HashData:
		return c.result("hash data", m.HashData(q.Data))
	case ptm.HashEnd:
		return c.result("hash end", m.HashEnd())
	case ptm.GetStateBlob:
		return c.getBlob(q)
	case ptm.SetStateBlob:
		return c.result("set state", m.SetBlob(q.Type, q.Data))
	case ptm.GetConfig:
		return ptm.Words(ptm.Success, c.config())
	case ptm.SetDataFD:
		return c.result("set data socket", c.attach(in))
	case ptm.SetBufferSize:
		return c.setBufferSize(q.Size)
	case ptm.GetInfo:
		return ptm.Info(c.Info(q.Info), q.Offset)
	case ptm.LockStorage:
		return c.result("lock storage", m.cfg.Storage.Lock(time.Duration(min(q.Retries, 1000))*10*time.Millisecond))
	}
	return ptm.Result(ptm.BadOrdinal)
}

func (c *Control) result(what string, err error) []byte {
	if err == nil {
		return ptm.Result(ptm.Success)
	}
	c.Machine.cfg.Logf("control: %s: %v", what, err)
	switch {
	case errors.Is(err, errNoPower), errors.Is(err, errRunning):
		return ptm.Result(ptm.BadOrdinal)
	case errors.Is(err, errBlobType), errors.Is(err, errBlob), errors.Is(err, errFlags):
		return ptm.Result(ptm.BadParameter)
	case errors.Is(err, ErrAttached):
		return ptm.Result(ptm.IOError)
	}
	return ptm.Result(ptm.Fail)
}

// init refuses flags that it does not know: they would be without effect.
func (c *Control) init(flags uint32) []byte {
	if flags&^ptm.InitDeleteVolatile != 0 {
		return c.result("init", fmt.Errorf("%w 0x%x", errFlags, flags))
	}
	return c.result("init", c.Machine.PowerOn(flags&ptm.InitDeleteVolatile != 0))
}

func (c *Control) resetEstablished(locality uint8) []byte {
	if c.Machine.On() && locality != 3 && locality != 4 {
		return ptm.Result(ptm.BadLocality)
	}
	return c.result("reset establishment", c.Machine.ResetEstablished(locality))
}

func (c *Control) getBlob(q ptm.Request) []byte {
	blob, flags, err := c.Machine.GetBlob(q.Type, q.Flags&ptm.StateDecrypted != 0)
	if err != nil {
		code := c.result("get state", err)
		if errors.Is(err, errNoPower) {
			return code // alone, as swtpm
		}
		return append(code, make([]byte, 12)...)
	}
	return ptm.StateBlob(flags, blob, q.Offset)
}

func (c *Control) config() uint32 {
	var flags uint32
	if c.Machine.cfg.FileKey != nil {
		flags |= ptm.ConfigFileKey
	}
	if c.Machine.cfg.MigrationKey != nil {
		flags |= ptm.ConfigMigrationKey
	}
	return flags
}

// setBufferSize agrees on a size and tells it; 0 asks without setting.
func (c *Control) setBufferSize(n uint32) []byte {
	size, err := c.Machine.SetSize(n)
	if err != nil {
		return c.result("set buffer size", err)
	}
	return ptm.Words(ptm.Success, size, minBuffer, MaxCommand)
}

func (c *Control) attach(in *fdReader) error {
	fd, ok := in.take()
	if !ok {
		return errors.New("no descriptor came with the request")
	}
	conn, err := connOf(fd, "data socket")
	if err != nil {
		return err
	}
	return c.Attach(conn)
}

// ErrAttached says that a data socket is there already.
var ErrAttached = errors.New("there is a data connection already")

// fdReader reads a control connection and keeps the descriptors that came with
// the last data that had some (SCM_RIGHTS on a Unix socket), so that a client cannot
// fill our table of descriptors.
type fdReader struct {
	conn net.Conn
	fds  []int
}

// maxFDs is how many descriptors are taken with one piece of data; the kernel closes more.
const maxFDs = 4

func (r *fdReader) Read(p []byte) (int, error) {
	u, ok := r.conn.(*net.UnixConn)
	if !ok {
		return r.conn.Read(p)
	}
	oob := make([]byte, syscall.CmsgSpace(4*maxFDs))
	n, oobn, _, _, err := u.ReadMsgUnix(p, oob)
	if msgs, e := syscall.ParseSocketControlMessage(oob[:oobn]); e == nil {
		for i := range msgs {
			if fds, e := syscall.ParseUnixRights(&msgs[i]); e == nil {
				r.drop()
				r.fds = append(r.fds, fds...)
			}
		}
	}
	if n == 0 && err == nil && len(p) > 0 {
		return 0, io.EOF
	}
	return max(n, 0), err // recvmsg says -1 where it fails
}

// take returns the newest descriptor and closes the others.
func (r *fdReader) take() (int, bool) {
	if len(r.fds) == 0 {
		return -1, false
	}
	fd := r.fds[len(r.fds)-1]
	r.fds = r.fds[:len(r.fds)-1]
	r.drop()
	return fd, true
}

func (r *fdReader) drop() {
	for _, fd := range r.fds {
		_ = syscall.Close(fd) // a descriptor nobody asked for
	}
	r.fds = nil
}
