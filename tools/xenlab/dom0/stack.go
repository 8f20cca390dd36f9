package dom0

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"xenvtpm/tools/xlconf"
)

// Names and identities of the lab's domains.
const (
	managerName = "vtpmmgr"
	vtpmName    = "vtpm-guest1"
	guestName   = "guest1"
	vtpmUUID    = "7d8e7f6a-2a51-4c63-9d0e-0b8c5f1e2a01"
	guestUUID   = "7d8e7f6a-2a51-4c63-9d0e-0b8c5f1e2a02"
)

// Sizes of the disks of our domains.
const (
	managerDiskMB = 8 // the first start reads it all, to be sure that it is blank
	vtpmDiskMB    = 4
)

// stack is a manager, one vTPM and one guest on a pair of disks.
type stack struct {
	l                    *Lab
	managerDisk          string
	vtpmDisk             string
	manager, vtpm, guest *Domain
	vtpmExtra            string // more options for the vTPM
}

// newStack names the disks; label tells several pairs apart.
func (l *Lab) newStack(label string) *stack {
	return &stack{l: l, managerDisk: filepath.Join(DataDir, "manager"+label+".img"),
		vtpmDisk: filepath.Join(DataDir, "vtpm"+label+".img")}
}

// blank makes new, empty disks.
func (s *stack) blank() error {
	if err := newDisk(s.managerDisk, managerDiskMB<<20); err != nil {
		return err
	}
	return newDisk(s.vtpmDisk, vtpmDiskMB<<20)
}

// copyOf makes a stack on copies of another's disks.
func (s *stack) copyOf(label string) (*stack, error) {
	c := s.l.newStack(label)
	return c, errors.Join(copyDisk(c.managerDisk, s.managerDisk), copyDisk(c.vtpmDisk, s.vtpmDisk))
}

// withVTPMDisk makes a stack with the same manager and a copy of another disk for the vTPM. The manager's disk
// must be the real one: a copy that runs would make the hardware TPM refuse the original later.
func (s *stack) withVTPMDisk(label, disk string) (*stack, error) {
	c := s.l.newStack(label)
	c.managerDisk = s.managerDisk
	return c, copyDisk(c.vtpmDisk, disk)
}

// withManagerDisk makes a stack with the same vTPM and a copy of the manager's disk, which
// has to be one that the manager will refuse.
func (s *stack) withManagerDisk(label string) (*stack, error) {
	c := s.l.newStack(label)
	c.vtpmDisk = s.vtpmDisk
	return c, copyDisk(c.managerDisk, s.managerDisk)
}

// up starts the manager and the vTPM.
func (s *stack) up() error {
	if err := s.startManager(); err != nil {
		return err
	}
	return s.startVTPM()
}

func (s *stack) startManager() error {
	config, err := xlconf.Manager{
		Common: s.common(managerName, s.managerDisk, s.l.param("manager", "")),
		Image:  ReleaseDir + "/vtpmmgr-stub",
	}.Config()
	if err != nil {
		return err
	}
	if s.manager, err = s.l.create(managerName, config); err != nil {
		return fmt.Errorf("manager: %w", err)
	}
	// The first start makes keys in the hardware TPM, which takes its time.
	if _, err = s.manager.Console.WaitAny(startLimit, "store open", "refuses to serve"); err != nil {
		return fmt.Errorf("manager: %w", err)
	}
	return nil
}

func (s *stack) startVTPM() error { return s.startVTPMWith(ReleaseDir+"/vtpm-stub", "xl", "create") }

// vtpmConfig is the vTPM's configuration with an image.
func (s *stack) vtpmConfig(image string) (string, error) {
	extra := strings.TrimSpace(s.vtpmExtra + " " + s.l.param("vtpm", ""))
	return xlconf.VTPM{Common: s.common(vtpmName, s.vtpmDisk, extra),
		Image: image, Manager: managerName, UUID: vtpmUUID}.Config()
}

// startVTPMWith starts the vTPM by a command that takes its configuration.
func (s *stack) startVTPMWith(image string, command ...string) error {
	config, err := s.vtpmConfig(image)
	if err != nil {
		return err
	}
	if s.vtpm, err = s.l.createWith(vtpmName, config, command...); err != nil {
		return fmt.Errorf("vTPM: %w\nconsole of the manager:\n%s", err, s.managerTail())
	}
	if _, err = s.vtpm.Console.WaitAny(startLimit, "vtpm: ready", "FAILURE MODE"); err != nil {
		return fmt.Errorf("vTPM: %w\nconsole of the manager:\n%s", err, s.managerTail())
	}
	return nil
}

// startLimit bounds how long a domain of ours may take until it serves or refuses to. An emulated
// hardware TPM on a busy machine needs minutes for its first keys.
const startLimit = 8 * time.Minute

func (s *stack) managerTail() string {
	if s.manager == nil {
		return "(there is none)"
	}
	return s.manager.Console.Tail(8)
}

func (s *stack) common(name, disk, extra string) xlconf.Common {
	return xlconf.Common{Name: name, Disk: disk, Extra: extra, NativeTSC: true, OnCrash: "preserve"}
}

// start starts the guest with the given steps.
func (s *stack) start(steps ...string) error { return s.startWith("", steps...) }

// startWith starts the guest with parameters for its steps.
func (s *stack) startWith(params string, steps ...string) error {
	var err error
	s.guest, err = s.l.startGuest(guestConfig{name: guestName, vtpm: vtpmName, uuid: guestUUID, steps: steps, params: params})
	if err != nil {
		return fmt.Errorf("guest: %w\nconsole of the vTPM:\n%s", err, s.vtpm.Console.Tail(8))
	}
	return nil
}

// run starts the guest and waits until it has done its steps.
func (s *stack) run(steps ...string) error {
	if err := s.start(steps...); err != nil {
		return err
	}
	return s.guest.Finished(guestLimit)
}

// shutDown asks guest, vTPM and manager to power off, in this order, and
// checks that each does.
func (s *stack) shutDown() {
	for _, d := range []*Domain{s.guest, s.vtpm, s.manager} {
		if d == nil {
			continue
		}
		took, err := d.ShutDown(2 * time.Minute)
		if s.l.Check(d.Name+" shuts down when asked to", err) {
			s.l.Metric("shutdown of "+d.Name, took.Seconds(), "s")
		}
		d.Console.Close()
	}
	s.guest, s.vtpm, s.manager = nil, nil, nil
}

// destroy ends what is still there, without checking how long it takes.
func (s *stack) destroy() {
	for _, d := range []*Domain{s.guest, s.vtpm, s.manager} {
		if d == nil {
			continue
		}
		if _, err := d.Destroy(); err != nil {
			s.l.Logf("%v", err)
		}
		d.Console.Close()
	}
	s.guest, s.vtpm, s.manager = nil, nil, nil
}

// notes is what one power-on leaves for the next. It lies on the persistent disk.
type notes map[string]string

const notesFile = DataDir + "/notes.json"

// keep stores the notes durably.
func (n notes) keep() error {
	raw, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	f, err := os.Create(notesFile + ".new")
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	if err := os.Rename(notesFile+".new", notesFile); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return syncFolder(DataDir)
}

func readNotes() (notes, error) {
	raw, err := os.ReadFile(notesFile)
	if err != nil {
		return nil, fmt.Errorf("lab: the earlier power-on left no notes: %w", err)
	}
	n := make(notes)
	return n, json.Unmarshal(raw, &n)
}

// same checks a value of the guest against the notes of an earlier power-on.
func (s *stack) same(n notes, name, what string) {
	got := s.guest.Value(name)
	var err error
	if n[name] == "" || got != n[name] {
		err = fmt.Errorf("it was %q and is %q", n[name], got)
	}
	s.l.Check(what, err)
}

// says checks that a domain's console explains a refusal in words.
func (l *Lab) says(d *Domain, what string, words ...string) {
	lines := d.Console.Lines()
	for _, line := range lines {
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) }) {
			l.Check(what+": the log of "+d.Name+" says so", nil)
			l.Logf("  %s", line)
			return
		}
	}
	l.Check(what+": the log of "+d.Name+" says so", fmt.Errorf("no line has one of %q:\n%s", words, strings.Join(lines, "\n")))
}

// randomByte returns a byte that is not zero, for flipping bits.
func randomByte() byte {
	var b [1]byte
	for b[0] == 0 {
		_, _ = rand.Read(b[:]) // never fails
	}
	return b[0]
}
