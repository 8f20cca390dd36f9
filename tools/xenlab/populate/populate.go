// Package populate makes, on the host, the disk of a manager that has very many
// vTPMs. It runs the manager's own code over the hardware TPM that the lab's
// machine gets afterwards: to make so many inside the emulated machine would take hours.
package populate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"xenvtpm/vtpm-stub/service"
	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/manager"
	"xenvtpm/vtpmmgr-stub/proto"
)

// Config says what is made.
type Config struct {
	SWTPM    string // the program
	TPMState string // its state folder; a new TPM is made where there is none

	ManagerDisk string // file to make
	ManagerSize int64  // bytes
	VTPMDisk    string // the same for the state of vTPM number Real
	VTPMSize    int64

	VTPMs int
	UUID  func(i int) proto.UUID // of each; all different, none zero
	// Real is the vTPM that has a state on VTPMDisk. The others have records only, as after their first save.
	Real int
	// PCRs that the store is tied to. Only those that the machine's boot does not change let it open there.
	PCRs proto.PCRSelection
}

// clients is how many vTPMs save at a time, so that they share commits.
const clients = 256

// Run makes the disks. The hardware TPM is shut down as at the end of an operating system.
func Run(ctx context.Context, c Config) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("populate: %w", err)
		}
	}()
	tpm, err := startTPM(c.SWTPM, c.TPMState)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tpm.stop()) }()
	hw, err := hwtpm.Open(tpm, hwtpm.Config{})
	if err != nil {
		return err
	}
	disk, err := newDisk(c.ManagerDisk, c.ManagerSize)
	if err != nil {
		return err
	}
	m, err := manager.New(manager.Config{Disk: disk, HW: hw, PCRs: c.PCRs, Rand: rand.Reader, Now: time.Now})
	if err == nil {
		err = fill(ctx, m, c)
	}
	if err = errors.Join(err, disk.Close(), hw.Close()); err != nil {
		return err
	}
	return tpm.shutDown()
}

// fill saves a record for each vTPM.
func fill(ctx context.Context, m *manager.Manager, c Config) error {
	if err := realVTPM(m, c); err != nil {
		return err
	}
	for from := 0; from < c.VTPMs; from += clients {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := saveSome(m, c, from, min(from+clients, c.VTPMs)); err != nil {
			return err
		}
	}
	return nil
}

// saveSome saves for the vTPMs from..to at once, save the real one.
func saveSome(m *manager.Manager, c Config, from, to int) error {
	var batch []manager.Request
	for i := from; i < to; i++ {
		if i == c.Real {
			continue
		}
		var rec proto.Record
		_, _ = rand.Read(rec[:]) // never fails
		frame, err := proto.Request{Tag: proto.TagVTPM, Ordinal: proto.OrdSaveHashKey, Body: rec[:]}.Append(nil)
		if err != nil {
			return err
		}
		batch = append(batch, manager.Request{Client: manager.ClientID{Domain: uint16(1 + i - from)}, UUID: c.UUID(i), Frame: frame})
	}
	for i, ans := range m.Handle(batch) {
		rsp, err := proto.ParseResponse(ans)
		if err == nil && rsp.Result != proto.Success {
			err = rsp.Result
		}
		if err != nil {
			return fmt.Errorf("saving for vTPM %v: %w", batch[i].UUID, err)
		}
		m.Disconnected(batch[i].Client)
	}
	return nil
}

// realVTPM lets the vTPM's own code make a TPM, whose key is then at the manager and whose state is on its disk.
func realVTPM(m *manager.Manager, c Config) error {
	disk, err := newDisk(c.VTPMDisk, c.VTPMSize)
	if err != nil {
		return err
	}
	return errors.Join(startVTPM(&link{m: m, uuid: c.UUID(c.Real)}, disk), disk.Close())
}

// startVTPM starts a vTPM as its domain does.
func startVTPM(l *link, d *disk) error {
	options, err := service.ParseOptions(nil)
	if err != nil {
		return err
	}
	start := time.Now()
	s := service.Start(service.StartConfig{Disk: d, Manager: &proto.Client{S: l}, Options: options, Entropy: rand.Reader,
		Clock: func() int64 { return time.Since(start).Milliseconds() }, Logf: l.logf})
	l.m.Disconnected(l.client())
	if s.Failed() {
		return fmt.Errorf("vTPM %v does not start: %q", l.uuid, l.log)
	}
	return nil
}

// link is the connection of one vTPM to the manager.
type link struct {
	m    *manager.Manager
	uuid proto.UUID
	log  []string
}

func (l *link) client() manager.ClientID { return manager.ClientID{Domain: 1} }

func (l *link) logf(format string, a ...any) { l.log = append(l.log, fmt.Sprintf(format, a...)) }

// Send carries one frame.
func (l *link) Send(frame []byte) ([]byte, error) {
	return l.m.Handle([]manager.Request{{Client: l.client(), UUID: l.uuid, Frame: frame}})[0], nil
}

// disk is a file as a disk.
type disk struct {
	*os.File
	size int64
}

func newDisk(name string, size int64) (*disk, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &disk{f, size}, nil
}

// Flush does nothing: if this machine loses its power now, the disk is made anew.
func (d *disk) Flush() error { return nil }

func (d *disk) Size() int64 { return d.size }
