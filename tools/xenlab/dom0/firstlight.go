package dom0

import (
	"errors"
	"fmt"
)

// The first light: five power-ons of one machine. What one leaves behind lies
// on its persistent disk and in its hardware TPM.

// firstStep makes everything new on blank disks, uses it, and shuts it down in order.
func firstStep(l *Lab) error {
	s := l.newStack("")
	if err := s.blank(); err != nil {
		return err
	}
	if err := s.up(); err != nil {
		return err
	}
	l.Metric("xl create of the vTPM, until its own TPM device is accepted", s.vtpm.Created.Seconds(), "s")
	if err := s.run("attach", "sysfs", "extend", "tpm2", "closed", "nvnew", "ek", "tools", "dmesg"); err != nil {
		return err
	}
	n := notes{"nv": s.guest.Value("written"), "ek": s.guest.Value("ek")}
	s.shutDown()
	if err := l.onlyDom0Left(); err != nil {
		return err
	}
	// An old backup of the vTPM's disk, for a later swap.
	if err := copyDisk(DataDir+"/old-vtpm.img", s.vtpmDisk); err != nil {
		return err
	}
	return n.keep()
}

// againStep finds everything again after the power cut, and has the power cut again the moment
// the guest has its answer to a write.
func againStep(l *Lab) error {
	n, err := readNotes()
	if err != nil {
		return err
	}
	s := l.newStack("")
	if err := s.up(); err != nil {
		return err
	}
	if err := s.start("attach", "nvread", "ek", "extend", "nvwrite"); err != nil {
		return err
	}
	if _, err := s.guest.WaitValue("written", guestLimit); err != nil {
		return err
	}
	s.same(n, "nv", "after the power cut the guest reads the same NV contents")
	s.same(n, "ek", "after the power cut the endorsement key has the same name")
	n["nv"] = s.guest.Value("written")
	return n.keep() // the power goes now, with all domains running
}

// tamperStep checks that the last acknowledged write survived, and then what happens to damaged
// and old disks.
func tamperStep(l *Lab) error {
	n, err := readNotes()
	if err != nil {
		return err
	}
	s := l.newStack("")
	if err := s.up(); err != nil {
		return err
	}
	before, err := s.copyOf("-before")
	if err != nil {
		return err
	}
	if err := s.run("attach", "nvread", "ek", "nvwrite"); err != nil {
		return err
	}
	s.same(n, "nv", "a write that was acknowledged just before the power cut is there")
	s.same(n, "ek", "the endorsement key still has the same name")
	n["nv"] = s.guest.Value("written")
	after, err := s.copyOf("-after")
	if err != nil {
		return err
	}
	s.shutDown()
	if err := errors.Join(n.keep(), l.onlyDom0Left()); err != nil {
		return err
	}
	vtpm, err := lastWritten(before.vtpmDisk, after.vtpmDisk, s.vtpmDisk)
	if err != nil {
		return fmt.Errorf("vTPM: %w", err)
	}
	manager, err := lastWritten(before.managerDisk, after.managerDisk, s.managerDisk)
	if err != nil {
		return fmt.Errorf("manager: %w", err)
	}
	// The manager's case is first: the others make the manager write.
	return errors.Join(l.flippedManager(s, manager), l.oldDisk(s), l.flippedVTPM(s, vtpm))
}

// lastWritten returns the sectors that were written last: between the copies after and
// final if there are any, else between before and after.
func lastWritten(before, after, final string) ([]int64, error) {
	sectors, err := changed(after, final)
	if err == nil && len(sectors) == 0 {
		sectors, err = changed(before, after)
	}
	if err == nil && len(sectors) == 0 {
		err = errors.New("an acknowledged write changed nothing on the disk")
	}
	return sectors, err
}

// refuses starts a stack on doctored disks and checks that the domain which who picks refuses to serve.
func (l *Lab) refuses(s *stack, what string, who func(*stack) *Domain, words ...string) error {
	l.Logf("negative case: %s", what)
	err := s.up()
	if err == nil {
		err = s.run("refused")
	}
	if err == nil {
		l.says(who(s), what, words...)
	}
	s.destroy()
	l.Check(what+": a guest attaches and has been asked", err)
	return nil
}

func theVTPM(s *stack) *Domain    { return s.vtpm }
func theManager(s *stack) *Domain { return s.manager }

// oldDisk puts the backup of the first power-on in the place of the vTPM's disk.
func (l *Lab) oldDisk(good *stack) error {
	s, err := good.withVTPMDisk("-old", DataDir+"/old-vtpm.img")
	if err != nil {
		return err
	}
	return l.refuses(s, "an older disk of the vTPM", theVTPM, "matches neither slot")
}

// flippedVTPM changes one byte in what the vTPM wrote last.
func (l *Lab) flippedVTPM(good *stack, sectors []int64) error {
	s, err := good.withVTPMDisk("-flip", good.vtpmDisk)
	if err != nil {
		return err
	}
	if err := flip(s.vtpmDisk, sectors[len(sectors)/2]); err != nil {
		return err
	}
	return l.refuses(s, "a flipped byte in the vTPM's disk", theVTPM, "matches neither slot")
}

// flippedManager changes one byte in each sector of the manager's last commit. What was before it is whole,
// but accepting that would be a rollback.
func (l *Lab) flippedManager(good *stack, sectors []int64) error {
	s, err := good.withManagerDisk("-flip")
	if err != nil {
		return err
	}
	for _, n := range sectors {
		if err := flip(s.managerDisk, n); err != nil {
			return err
		}
	}
	return l.refuses(s, "a flipped byte in the manager's disk", theManager, "REFUSING")
}

// changedStep runs with a hardware TPM in which something unknown was measured.
func changedStep(l *Lab) error {
	const pcr = 7
	if err := measure(pcr, "an unknown boot loader"); err != nil {
		return fmt.Errorf("extending PCR %d of the hardware TPM: %w", pcr, err)
	}
	l.Logf("PCR %d of the hardware TPM was extended", pcr)
	return l.refuses(l.newStack(""), "a changed PCR in the hardware TPM", theManager, "PCR 7 changed")
}

// restoredStep shows that the refusals destroyed nothing: with the right platform state and
// the right disks all is there again.
func restoredStep(l *Lab) error {
	n, err := readNotes()
	if err != nil {
		return err
	}
	s := l.newStack("")
	if err := s.up(); err != nil {
		return err
	}
	if err := s.run("attach", "nvread", "ek"); err != nil {
		return err
	}
	s.same(n, "nv", "after all refusals the right disks still give the NV contents")
	s.same(n, "ek", "after all refusals the endorsement key still has the same name")
	s.shutDown()
	return l.onlyDom0Left()
}
