package guest

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// patient is a device whose commands are sent again while the TPM says that it cannot execute them now, as the TSS
// does. The kernel's driver does so for some seconds by itself.
type patient struct{ *Device }

const rcRetry = uint32(tpm2.TPMRCRetry)

// retryLimit bounds for how long a command is sent again.
const retryLimit = 10 * time.Minute

// Send executes one command and returns the response.
func (p patient) Send(cmd []byte) ([]byte, error) {
	for end := time.Now().Add(retryLimit); ; time.Sleep(time.Second) {
		rsp, err := p.Device.Send(cmd)
		if err != nil || Code(rsp) != rcRetry || time.Now().After(end) {
			return rsp, err
		}
	}
}

// savingIndex is a counter, which shows whether a command was executed once.
const savingIndex = nvIndex + 1

// Limits of saving: how long it looks for the command that waited, and how many more it executes then.
const (
	savingLimit = 20 * time.Minute
	savingMore  = 10
)

// saving increments a counter until an increment had to wait for the seconds of the parameter of that name, and some
// times more. None may fail, and each must have been executed once.
func saving(s *Session) error {
	d, err := s.device()
	if err != nil {
		return err
	}
	c := counter{dev: patient{d}}
	if err := c.define(); err != nil {
		s.Check("a counter is defined", err)
		return nil
	}
	s.Value("saving", "true")
	wait := time.Duration(s.number("saving", 20)) * time.Second
	longest, err := c.until(wait)
	s.Check(fmt.Sprintf("%d saves, of which one waited for the manager, and none failed", c.done), err)
	s.Metric("longest save", longest.Seconds(), "s")
	if err != nil {
		return nil
	}
	n, err := c.read()
	if err == nil && n != c.first+uint64(c.done) {
		err = fmt.Errorf("the counter went from %d to %d in %d increments", c.first, n, c.done)
	}
	s.Check("each of them was executed once", err)
	return nil
}

// counter is the NV counter of saving.
type counter struct {
	dev   patient
	first uint64
	done  int
}

func (c *counter) define() error {
	_, err := tpm2.NVDefineSpace{AuthHandle: tpm2.TPMRHOwner, PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
		NVIndex: savingIndex, NameAlg: tpm2.TPMAlgSHA256, DataSize: 8,
		Attributes: tpm2.TPMANV{OwnerWrite: true, OwnerRead: true, NT: tpm2.TPMNTCounter, NoDA: true},
	})}.Execute(c.dev)
	if err == nil {
		err = c.increment()
	}
	if err == nil {
		c.first, err = c.read()
	}
	return err
}

func (c *counter) index() (tpm2.NamedHandle, error) {
	pub, err := tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(savingIndex)}.Execute(c.dev)
	if err != nil {
		return tpm2.NamedHandle{}, err
	}
	return tpm2.NamedHandle{Handle: savingIndex, Name: pub.NVName}, nil
}

func (c *counter) increment() error {
	index, err := c.index()
	if err == nil {
		_, err = tpm2.NVIncrement{AuthHandle: tpm2.TPMRHOwner, NVIndex: index}.Execute(c.dev)
	}
	return err
}

func (c *counter) read() (uint64, error) {
	index, err := c.index()
	if err != nil {
		return 0, err
	}
	rsp, err := tpm2.NVRead{AuthHandle: tpm2.TPMRHOwner, NVIndex: index, Size: 8}.Execute(c.dev)
	if err != nil {
		return 0, err
	}
	if len(rsp.Data.Buffer) != 8 {
		return 0, fmt.Errorf("the counter has %d bytes", len(rsp.Data.Buffer))
	}
	n := uint64(0)
	for _, b := range rsp.Data.Buffer {
		n = n<<8 | uint64(b)
	}
	return n, nil
}

// until increments until one took as long as wait, and savingMore times after it.
func (c *counter) until(wait time.Duration) (longest time.Duration, err error) {
	begun := time.Now()
	for more := savingMore; more > 0; {
		start := time.Now()
		if err := c.increment(); err != nil {
			return longest, fmt.Errorf("save %d: %w", c.done+1, err)
		}
		c.done++
		if longest = max(longest, time.Since(start)); longest >= wait {
			more--
		}
		if time.Since(begun) > savingLimit {
			return longest, errors.New("none waited")
		}
	}
	return longest, nil
}
