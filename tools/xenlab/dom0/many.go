package dom0

import (
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/xenstore"
)

// manyDevices is how many vTPM devices one manager has in the end; manyNodes is what xenstored then lets it own.
const (
	manyDevices = 200
	manyNodes   = "4000"
)

var roomLine = regexp.MustCompile(`has room for (\d+) vTPM devices`)

// manyStep fills a manager with vTPM devices up to xenstored's default limit, which the manager has computed; starts a
// vTPM that is one too many; raises the limit, as the operator's guide says; and goes on to manyDevices. The devices'
// frontends are dom0's, in user space: so many domains have no room here.
func manyStep(l *Lab) error {
	s := l.newStack("-many")
	if err := s.blank(); err != nil {
		return err
	}
	if err := s.startManager(); err != nil {
		return err
	}
	room, err := roomOf(s.manager)
	if err != nil {
		return err
	}
	m := &crowd{l: l, manager: s.manager}
	l.Check(fmt.Sprintf("the %d devices that the manager has room for are served", room), m.grow(room))
	if _, _, found := s.manager.Console.Find(0, "REFUSED"); found {
		l.Check("the manager refuses none of them", errors.New(s.manager.Console.Tail(8)))
	}
	if err := l.oneTooMany(s, m, room); err != nil {
		return err
	}
	start := time.Now()
	l.Check(fmt.Sprintf("%d devices are served", manyDevices), m.grow(manyDevices))
	l.Metric(fmt.Sprintf("attaching %d more devices", manyDevices-room), time.Since(start).Seconds(), "s")
	l.Check("all devices are served at the end", m.served())
	l.Check("the manager is alive and well", s.manager.healthy())
	s.destroy()
	return m.close()
}

// roomOf reads how many devices the manager has room for, as its log says at the start.
func roomOf(manager *Domain) (int, error) {
	line, _, _ := manager.Console.Find(0, "vTPM devices")
	found := roomLine.FindStringSubmatch(line)
	if found == nil {
		return 0, fmt.Errorf("the manager does not say how many devices it has room for:\n%s", manager.Console.Tail(20))
	}
	n, err := strconv.Atoi(found[1])
	if err == nil && (n < 100 || n >= manyDevices) {
		err = fmt.Errorf("the manager has room for %d devices", n)
	}
	return n, err
}

// oneTooMany starts a vTPM for which there is no room, and then makes room.
func (l *Lab) oneTooMany(s *stack, m *crowd, room int) error {
	config, err := s.vtpmConfig(ReleaseDir + "/vtpm-stub")
	if err != nil {
		return err
	}
	s.vtpm, err = l.create(vtpmName, config)
	l.Check("xl create of a vTPM that is one too many works", err)
	if err != nil {
		return err
	}
	_, err = s.vtpm.Console.WaitAny(startLimit, "vtpm: WAITING")
	l.Check("it waits", err)
	l.says(s.manager, "no room", fmt.Sprintf("REFUSED, there is no room beside %d others", room))
	l.says(s.vtpm, "no room", "refuses the device")
	l.Check("the others do not notice", m.served())
	out, err := run(20*time.Second, "xenstore-control", "quota", "set", "nodes", manyNodes)
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	_, err = s.vtpm.Console.WaitAny(startLimit, "vtpm: ready")
	l.Check("with a higher limit it is served, by itself", err)
	return nil
}

// crowd is many frontends of one manager in dom0's user space.
type crowd struct {
	l       *Lab
	manager *Domain
	fronts  []*rawFront
}

// crowdStep is how many devices are attached in one transaction, crowdLimit how long the manager may take for each of
// them: it gets all of them at once, and a busy host has little time for it.
const (
	crowdStep  = 20
	crowdLimit = 5 * time.Minute
)

// grow adds devices until there are n, and has each of them served.
func (m *crowd) grow(n int) error {
	for first := len(m.fronts); first < n; first = len(m.fronts) {
		step := crowdStep
		if first+2*step > n {
			step = 1 // the toolstack writes half as many nodes again as stay; near the limit, those of a step count
		}
		if err := m.add(first, first+step); err != nil {
			return fmt.Errorf("%w\nconsole of the manager:\n%s", err, m.manager.Console.Tail(8))
		}
	}
	return nil
}

// add attaches the devices from first up to, not including, next, and has each of them served.
func (m *crowd) add(first, next int) error {
	err := withXenstore(func(c *xenstore.Client, _ xenbusFile) error {
		return c.Transaction(func(tx *xenstore.Tx) error {
			for i := first; i < next; i++ {
				if err := plugDom0(tx, abi.DomID(m.manager.ID), i, crowdUUID(i)); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("lab: attaching devices: %w", err)
	}
	for i := first; i < next; i++ {
		f, err := openRaw(i)
		if err != nil {
			return err
		}
		m.fronts = append(m.fronts, f)
		if err := errors.Join(f.newRing(), f.offer()); err != nil {
			return err
		}
	}
	for i, f := range m.fronts[first:] {
		if err := errors.Join(f.connected(crowdLimit), hello(f)); err != nil {
			return fmt.Errorf("device %d: %w", first+i, err)
		}
	}
	return nil
}

func crowdUUID(i int) string { return fmt.Sprintf("7d8e7f6a-2a51-4c63-9d0e-0b8c5f1e%04x", i) }

// served has a command of each frontend answered.
func (m *crowd) served() error {
	for i, f := range m.fronts {
		if err := hello(f); err != nil {
			return fmt.Errorf("device %d of %d: %w", i, len(m.fronts), err)
		}
	}
	return nil
}

func (m *crowd) close() error {
	var err error
	for _, f := range m.fronts {
		err = errors.Join(err, f.Close())
	}
	return err
}

// hello is the manager's HELLO, and looks at its result.
func hello(f *rawFront) error {
	rsp, err := f.Send([]byte{0x01, 0xC1, 0, 0, 0, 10, 0, 0, 0x01, 0x01})
	if err != nil {
		return err
	}
	if result := binary.BigEndian.Uint32(rsp[6:]); result != 0 {
		return fmt.Errorf("HELLO: result %d", result)
	}
	return nil
}
