package dom0

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-tpm/tpm2"
	"golang.org/x/sys/unix"

	"xenvtpm/tools/xlconf"
)

// stormUUID numbers the vTPMs of the storm; 0 is the hostile client.
func stormUUID(i int) string { return fmt.Sprintf("7d8e7f6a-2a51-4c63-9d0e-0b8c5f1e3a%02x", i) }

// eventFront is a frontend that sleeps until the backend's event. Many that look at their rings all the time
// would leave the backends no processor.
type eventFront struct{ *rawFront }

// Send executes one command.
func (f eventFront) Send(cmd []byte) ([]byte, error) {
	if err := f.put(uint32(len(cmd)), 0, tpmSubmit, cmd); err != nil {
		return nil, err
	}
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); {
		if s := f.state(); s == tpmFinish || s == tpmIdle {
			rsp, err := f.answer(time.Minute) // at once, however long this machine has just stood still
			if err == nil && rsp == nil {
				err = errors.New("the command was cancelled")
			}
			return rsp, err
		}
		if err := f.sleep(time.Second); err != nil {
			return nil, err
		}
	}
	return nil, errNoAnswer
}

// sleep waits for an event and takes it: what is read from the device is a port, which is masked until it
// is written back.
func (f eventFront) sleep(limit time.Duration) error {
	fd := int(f.events.Fd())
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(limit/time.Millisecond))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("lab: waiting for an event: %w", err)
	}
	if n < 1 {
		return nil
	}
	var port [4]byte
	if _, err := unix.Read(fd, port[:]); err != nil {
		return fmt.Errorf("lab: taking an event: %w", err)
	}
	if _, err := unix.Write(fd, port[:]); err != nil {
		return fmt.Errorf("lab: unmasking an event channel: %w", err)
	}
	return nil
}

// client is one user of the storm: a frontend in dom0's user space at a vTPM.
type client struct {
	vtpm    *Domain
	front   eventFront
	saves   atomic.Int64
	longest time.Duration
	last    []byte
	err     error
}

// stormStep runs many vTPM domains on one manager. All save as fast as they can, and one more client of the
// manager, as a vTPM domain that was taken over would be, floods it with saves and nonsense.
func stormStep(l *Lab) error {
	n, err := strconv.Atoi(l.param("vtpms", "20"))
	if err != nil || n < 1 || n > 99 {
		return fmt.Errorf("vtpms=%s: want 1 to 99", l.params["vtpms"])
	}
	s := l.newStack("-storm")
	if err := newDisk(s.managerDisk, managerDiskMB<<20); err != nil {
		return err
	}
	if err := s.startManager(); err != nil {
		return err
	}
	l.checkProcessors(s.manager)
	clients, err := l.stormDomains(n)
	if err != nil {
		return err
	}
	hostile, err := l.stormFront(n, managerName, stormUUID(0))
	if err != nil {
		return err
	}
	length := l.duration("length", 60*time.Second)
	frames := l.storm(clients, hostile, length)
	l.stormResult(clients, frames, length)
	l.Check("the manager is alive and well", s.manager.healthy())
	return nil
}

// stormDomains starts the vTPMs and connects a frontend to each.
func (l *Lab) stormDomains(n int) ([]*client, error) {
	start := time.Now()
	clients := make([]*client, n)
	for i := range clients {
		name := fmt.Sprintf("storm-%02d", i+1)
		disk := filepath.Join(DataDir, name+".img")
		if err := newDisk(disk, 2<<20); err != nil {
			return nil, err
		}
		// Without certificates they start sooner; those are the manager scenario's business.
		config, err := xlconf.VTPM{Common: (&stack{}).common(name, disk, "ekcert=none"), Image: ReleaseDir + "/vtpm-stub",
			Manager: managerName, UUID: stormUUID(i + 1)}.Config()
		if err != nil {
			return nil, err
		}
		clients[i] = &client{}
		if clients[i].vtpm, err = l.create(name, config); err != nil {
			return nil, err
		}
	}
	l.Metric(fmt.Sprintf("xl create of %d vTPM domains, together", n), time.Since(start).Seconds(), "s")
	for i, c := range clients {
		if _, err := c.vtpm.Console.WaitAny(startLimit, "vtpm: ready"); err != nil {
			return nil, fmt.Errorf("%w\n%s", err, c.vtpm.Console.Tail(8))
		}
		var err error
		if c.front, err = l.stormFront(i, c.vtpm.Name, dom0UUID); err != nil {
			return nil, err
		}
		if err := c.define(); err != nil {
			return nil, fmt.Errorf("%s: %w", c.vtpm.Name, err)
		}
	}
	l.Metric(fmt.Sprintf("until all %d serve a client", n), time.Since(start).Seconds(), "s")
	return clients, nil
}

// stormFront attaches dom0 to a backend as its device number devid and connects to it.
func (l *Lab) stormFront(devid int, backend, uuid string) (eventFront, error) {
	if _, _, err := l.xl.do("vtpm-attach", "0", "uuid="+uuid, "backend="+backend); err != nil {
		return eventFront{}, err
	}
	f, err := openRaw(devid)
	if err == nil {
		err = f.newRing()
	}
	if err == nil {
		err = f.publish()
	}
	if err != nil {
		return eventFront{}, fmt.Errorf("frontend %d at %s: %w", devid, backend, err)
	}
	return eventFront{f}, nil
}

const stormIndex = tpm2.TPMHandle(0x01500002)

func (c *client) define() error {
	_, err := tpm2.NVDefineSpace{AuthHandle: tpm2.TPMRHOwner, PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
		NVIndex: stormIndex, NameAlg: tpm2.TPMAlgSHA256, DataSize: 8,
		Attributes: tpm2.TPMANV{OwnerWrite: true, OwnerRead: true, NT: tpm2.TPMNTOrdinary, NoDA: true},
	})}.Execute(c.front)
	return err
}

// write saves a value that was never there before.
func (c *client) write(index tpm2.NamedHandle) error {
	value := binary.BigEndian.AppendUint64(nil, uint64(c.saves.Load())+1)
	start := time.Now()
	_, err := tpm2.NVWrite{AuthHandle: tpm2.TPMRHOwner, NVIndex: index, Data: tpm2.TPM2BMaxNVBuffer{Buffer: value}}.Execute(c.front)
	if err != nil {
		return err
	}
	c.longest = max(c.longest, time.Since(start))
	c.saves.Add(1)
	c.last = value
	return nil
}

// name reads the index's public area, whose Name changes with the first write.
func (c *client) name() (tpm2.NamedHandle, error) {
	pub, err := tpm2.NVReadPublic{NVIndex: stormIndex}.Execute(c.front)
	if err != nil {
		return tpm2.NamedHandle{}, err
	}
	return tpm2.NamedHandle{Handle: stormIndex, Name: pub.NVName}, nil
}

func (c *client) run(end time.Time) error {
	for time.Now().Before(end) {
		index, err := c.name()
		if err == nil {
			err = c.write(index)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// storm lets all work at once and returns how many frames the hostile client had answered.
func (l *Lab) storm(clients []*client, hostile eventFront, length time.Duration) int {
	end := time.Now().Add(length)
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			c.err = c.run(end)
		}()
	}
	ended := make(chan struct{})
	go l.watchStorm(clients, ended)
	frames := 0
	for time.Now().Before(end) {
		frames += flood(hostile)
	}
	wg.Wait()
	close(ended)
	return frames
}

// watchStorm says from time to time how far the storm is.
func (l *Lab) watchStorm(clients []*client, ended <-chan struct{}) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			total := int64(0)
			for _, c := range clients {
				total += c.saves.Load()
			}
			l.Logf("  %d saves so far", total)
		}
	}
}

// flood sends a round of saves, questions and nonsense, and counts the answers.
func flood(f eventFront) (answered int) {
	frame := func(tag uint16, ordinal uint32, body []byte) []byte {
		b := binary.BigEndian.AppendUint16(nil, tag)
		b = binary.BigEndian.AppendUint32(b, uint32(10+len(body)))
		return append(binary.BigEndian.AppendUint32(b, ordinal), body...)
	}
	record := make([]byte, 64)
	_, _ = rand.Read(record) // never fails
	big := make([]byte, 4000)
	for _, cmd := range [][]byte{
		frame(0x01C1, 1, record), frame(0x01C1, 2, nil), frame(0x01C1, 1, big), frame(0x01C1, 0x777, big), frame(0x1234, 1, nil),
		frame(0x01C1, 0x104, []byte{0, 1, 0, 0, 0, 0x0B, 0, 0xFF, 0xFF, 0xFF}), frame(0x01C1, 0x103, append([]byte{0, 1, 0x0F, 0}, big...)[:3000]),
		frame(0x00C1, 70, []byte{0, 0, 1, 0}), big[:10],
	} {
		if _, err := f.Send(cmd); err == nil {
			answered++
		}
	}
	return answered
}

// stormResult checks that nobody starved and that the last value of each is there.
func (l *Lab) stormResult(clients []*client, frames int, length time.Duration) {
	var counts []int
	var longest time.Duration
	total := 0
	for _, c := range clients {
		l.Check("all commands of "+c.vtpm.Name+" succeed during the storm", c.err)
		l.Check(c.vtpm.Name+" has the last value that was written", c.verify())
		counts = append(counts, int(c.saves.Load()))
		total += int(c.saves.Load())
		longest = max(longest, c.longest)
	}
	slices.Sort(counts)
	median := counts[len(counts)/2]
	l.Metric("saves per second, all vTPMs", float64(total)/length.Seconds(), "1/s")
	l.Metric("saves of a vTPM: fewest", float64(counts[0]), "")
	l.Metric("saves of a vTPM: median", float64(median), "")
	l.Metric("saves of a vTPM: most", float64(counts[len(counts)-1]), "")
	l.Metric("longest wait for a save", longest.Seconds(), "s")
	l.Metric("frames of the hostile client that were answered", float64(frames), "")
	var err error
	if counts[0] < 1 || 3*counts[0] < median {
		err = fmt.Errorf("saves of the vTPMs, sorted: %v", counts)
	}
	l.Check("none starves: the slowest saves at least a third as often as the median", err)
	if frames < 9 {
		err = fmt.Errorf("only %d frames were answered", frames)
	} else {
		err = nil
	}
	l.Check("control: the hostile client did flood the manager", err)
}

func (c *client) verify() error {
	got, err := c.read()
	if err == nil && !bytes.Equal(got, c.last) {
		err = fmt.Errorf("it is %x, and was %x", got, c.last)
	}
	return err
}

func (c *client) read() ([]byte, error) {
	index, err := c.name()
	if err != nil {
		return nil, err
	}
	r, err := tpm2.NVRead{AuthHandle: tpm2.TPMRHOwner, NVIndex: index, Size: 8}.Execute(c.front)
	if err != nil {
		return nil, err
	}
	return r.Data.Buffer, nil
}

// healthy reports whether the domain still runs and has not complained.
func (d *Domain) healthy() error {
	e, found, err := d.xl.find(d.ID)
	switch {
	case err != nil:
		return err
	case !found || e.Shutdown():
		return errors.New("the domain has stopped")
	}
	for _, text := range []string{"REFUSING", "panic", "internal error"} {
		if line, _, found := d.Console.Find(0, text); found {
			return errors.New(line)
		}
	}
	return nil
}
