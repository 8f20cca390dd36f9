package dom0

import (
	"fmt"
	"time"

	"xenvtpm/tools/xenlab/pid1"
)

// managerAway is how long there is no manager; a command of the guest's waits for it.
const managerAway = 30 * time.Second

// restartStep ends the manager under a vTPM whose guest saves without a pause, and starts it anew, as
// docs/operations.md tells the operator to.
func restartStep(l *Lab) error {
	if err := pid1.LoadModule(pid1.Optional("xen_tpmfront")); err != nil {
		return err
	}
	s := l.newStack("-restart")
	if err := s.blank(); err != nil {
		return err
	}
	if err := s.up(); err != nil {
		return err
	}
	if err := s.startWith(fmt.Sprintf("lab.saving=%d", int(managerAway.Seconds())/2), "attach", "saving"); err != nil {
		return err
	}
	if _, err := s.guest.WaitValue("saving", guestLimit); err != nil {
		return err
	}
	time.Sleep(5 * time.Second)
	l.timely("xl destroy of the manager under a guest that saves", "destroy", managerName)
	s.manager.Console.Close()
	s.manager = nil
	time.Sleep(managerAway)
	l.Check("the guest's save waits meanwhile", waitConsole(s.vtpm, "is not durable yet"))
	if err := l.managerAgain(s); err != nil {
		return err
	}
	_, err := s.vtpm.Console.WaitAny(2*time.Minute, "the change is durable, serving again")
	l.Check("the vTPM settles what it had begun", err)
	if err := s.guest.Finished(2 * guestLimit); err != nil {
		return err
	}
	l.restartIdle(s)
	s.shutDown()
	return l.onlyDom0Left()
}

// managerAgain starts the manager anew and connects the vTPM to it. The vTPM has one device, number 0; by its
// uuid xl does not find it, since that stood in the backend directory of the manager that is gone.
func (l *Lab) managerAgain(s *stack) error {
	if err := s.startManager(); err != nil {
		return err
	}
	l.timely("xl vtpm-detach from the vTPM, of a manager that is gone", "vtpm-detach", vtpmName, "0")
	l.timely("xl vtpm-attach to the vTPM", "vtpm-attach", vtpmName, "uuid="+vtpmUUID, "backend="+managerName)
	return nil
}

// restartIdle restarts the manager in order while nobody uses the vTPM.
func (l *Lab) restartIdle(s *stack) {
	took, err := s.manager.ShutDown(2 * time.Minute)
	l.Check("the manager shuts down under its vTPM", err)
	l.Metric("shutdown of the manager", took.Seconds(), "s")
	s.manager.Console.Close()
	s.manager = nil
	l.Check("the vTPM executes what needs no manager", l.serves())
	if err := l.managerAgain(s); err != nil {
		l.Check("the manager starts again", err)
		return
	}
	l.Check("the vTPM serves after an idle restart", l.serves())
	l.Check("the vTPM is alive and well", s.vtpm.healthy())
}

func waitConsole(d *Domain, text string) error {
	_, err := d.Console.WaitAny(time.Minute, text)
	return err
}
