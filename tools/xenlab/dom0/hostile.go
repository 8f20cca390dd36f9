package dom0

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"xenvtpm/tools/xenlab/guest"
)

var getRandom = []byte{0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 16}

// rawFrontend uses the vTPM from dom0's user space: properly, with a ring that is
// replaced without being closed, and with nonsense.
func (l *Lab) rawFrontend(s *stack) error {
	if !l.timely("xl vtpm-attach for a frontend of our own", "vtpm-attach", "0", "uuid="+dom0UUID, "backend="+vtpmName) {
		return nil
	}
	f, err := openRaw(0)
	if err != nil {
		return err
	}
	if err = f.newRing(); err == nil {
		err = f.publish()
	}
	if err == nil {
		err = works(f)
	}
	l.Check("a frontend in user space is served", err)
	if err == nil {
		if err = f.newRing(); err == nil {
			err = f.publish()
		}
		if err == nil {
			err = works(f)
		}
		l.Check("a ring that is republished without closing is taken over", err)
	}
	if err == nil {
		l.nonsense(f)
	}
	// The page must be mapped by the backend until the detach, or not at all after it.
	l.timely("xl vtpm-detach from it", "vtpm-detach", "0", dom0UUID)
	l.gone("detach", s.vtpm, nil)
	if err := f.Close(); err != nil {
		return err
	}
	return nil
}

func works(f *rawFront) error {
	rsp, err := f.Send(getRandom)
	if err == nil && guest.Code(rsp) != 0 {
		err = fmt.Errorf("response code %#x", guest.Code(rsp))
	}
	return err
}

// nonsense sends what no driver would. Each must end in a TPM error, in a cancelled request or in a closed
// connection, and the next proper request must be served after, if need be, a new connection.
func (l *Lab) nonsense(f *rawFront) {
	sized := func(n uint32) []byte {
		c := append([]byte(nil), getRandom...)
		binary.BigEndian.PutUint32(c[2:], n)
		return c
	}
	for _, c := range []struct {
		what   string
		length uint32
		extra  uint8
		state  uint8
		data   []byte
	}{
		{"length 0", 0, 0, tpmSubmit, getRandom},
		{"length 9", 9, 0, tpmSubmit, getRandom},
		{"length 4089", 4089, 0, tpmSubmit, getRandom},
		{"length 2^32-1", 1<<32 - 1, 0, tpmSubmit, getRandom},
		{"255 extra pages", 12, 255, tpmSubmit, getRandom},
		{"a header that says less", 12, 0, tpmSubmit, sized(10)},
		{"a header that says more", 12, 0, tpmSubmit, sized(4000)},
		{"an unknown tag", 12, 0, tpmSubmit, append([]byte{0x12, 0x34}, getRandom[2:]...)},
		{"a cancelled request that never was", 0, 0, tpmCancel, nil},
	} {
		err := f.put(c.length, c.extra, c.state, c.data)
		if err == nil {
			err = f.survived(c.state == tpmSubmit)
		}
		if err == nil {
			err = works(f)
		}
		l.Check("nonsense on the ring: "+c.what, err)
	}
	var err error
	for range 100 {
		err = errors.Join(err, f.kick())
	}
	if err == nil {
		err = works(f)
	}
	l.Check("nonsense on the ring: a hundred events without a request", err)
}

// survived waits for the outcome of a bad request: an error response, IDLE, or a backend that has closed, to
// which it connects again.
func (f *rawFront) survived(request bool) error {
	rsp, err := f.answer(10 * time.Second)
	if err == nil && rsp != nil && request && guest.Code(rsp) == 0 {
		return errors.New("it was executed")
	}
	if !errors.Is(err, errNoAnswer) {
		return err
	}
	state, err := xsRead(f.backend + "/state")
	if err != nil {
		return err
	}
	if state != "5" && state != "6" && state != "2" {
		return fmt.Errorf("neither an answer nor a disconnect: the backend is in state %s", state)
	}
	if err := xsWrite(f.path+"/state", "6"); err != nil {
		return err
	}
	if err := waitState(f.backend, "2", stateLimit); err != nil {
		return err
	}
	if err := f.newRing(); err != nil {
		return err
	}
	return f.publish()
}
