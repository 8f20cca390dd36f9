package dom0

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"xenvtpm/tools/xenlab/guest"
	"xenvtpm/tools/xenlab/pid1"
)

// ranIntoLimit finds, in the output of xl -vvv, that libxl waited in vain for another domain. The time that
// xl takes would not do: on a busy machine it is long without any fault.
func ranIntoLimit(out string) (string, bool) {
	for line := range strings.Lines(out) {
		l := strings.ToLower(line)
		if strings.Contains(l, "timed out") || strings.Contains(l, "xswait timeout") || strings.Contains(l, "libxl: error") {
			return strings.TrimSpace(line), true
		}
	}
	return "", false
}

// timely runs xl and checks that it succeeds without an error message and without reaching a time limit of libxl.
func (l *Lab) timely(what string, args ...string) bool {
	out, took, err := l.xl.do(append([]string{"-vvv"}, args...)...)
	if line, found := ranIntoLimit(out); err == nil && found {
		err = fmt.Errorf("xl %s: %s", strings.Join(args, " "), line)
	}
	ok := l.Check(what, err)
	l.Metric("xl "+args[0], took.Seconds(), "s")
	return ok
}

// frozen shows that timely can fail: a vTPM that is paused makes xl run into libxl's limits. The device is in use
// before: Linux's driver sends its first commands in its probe, and while a paused vTPM keeps one of them
// unanswered (for 2 minutes), dom0's kernel neither makes nor removes any other Xen device.
func (l *Lab) frozen(s *stack) error {
	if _, _, err := l.xl.do("vtpm-attach", "0", "uuid="+dom0UUID, "backend="+vtpmName); err != nil {
		return err
	}
	if err := useTPM(10 * time.Second); err != nil {
		return err
	}
	if _, _, err := l.xl.do("pause", vtpmName); err != nil {
		return err
	}
	out, took, err := l.xl.do("-vvv", "vtpm-detach", "0", dom0UUID)
	line, found := ranIntoLimit(out)
	if !found {
		err = fmt.Errorf("xl vtpm-detach took %v (error: %v) and said:\n%s", took, err, out)
	} else {
		l.Logf("  %s", line)
		err = nil
	}
	l.Check("control: a paused vTPM makes xl run into its time limit, and the lab notices", err)
	_, _, err = l.xl.do("unpause", vtpmName)
	return err
}

// gone checks that a backend's directory of a frontend disappears.
func (l *Lab) gone(what string, backend, frontend *Domain) {
	id := 0
	if frontend != nil {
		id = frontend.ID
	}
	dir := fmt.Sprintf("/local/domain/%d/backend/vtpm/%d", backend.ID, id)
	err := waitEvery(200*time.Millisecond, 10*time.Second, dir+" to disappear", func() bool {
		out, err := run(20*time.Second, "xenstore-ls", dir)
		return err != nil || strings.TrimSpace(out) == ""
	})
	l.Check(what+": the backend cleaned up", err)
}

const dom0UUID = "7d8e7f6a-2a51-4c63-9d0e-0b8c5f1e2a00"

// lifecycleStep attaches, detaches, kills and restarts every part in every order that an operator can think of.
func lifecycleStep(l *Lab) error {
	s := l.newStack("")
	if err := s.blank(); err != nil {
		return err
	}
	if err := s.startManager(); err != nil {
		return err
	}
	if err := l.verifiedStart(s); err != nil {
		return err
	}
	for _, part := range []func(*stack) error{
		l.rawFrontend, l.attachDom0, l.frozen, l.hotplugGuest, l.guestPowersOff, l.destroyGuest, l.destroyVTPM, l.destroyManager,
	} {
		if err := part(s); err != nil {
			return err
		}
	}
	return l.onlyDom0Left()
}

// attachDom0 gives dom0 itself a TPM device, several times, with the stock driver.
func (l *Lab) attachDom0(s *stack) error {
	if err := pid1.LoadModule(pid1.Optional("xen_tpmfront")); err != nil {
		return err
	}
	loops, err := strconv.Atoi(l.param("loops", "3"))
	if err != nil {
		return fmt.Errorf("loops: %w", err)
	}
	for range loops {
		if !l.timely("xl vtpm-attach to dom0", "vtpm-attach", "0", "uuid="+dom0UUID, "backend="+vtpmName) {
			return nil
		}
		l.Check("dom0's stock driver talks to the vTPM", useTPM(10*time.Second))
		l.rebind()
		l.timely("xl vtpm-detach from dom0", "vtpm-detach", "0", dom0UUID)
		l.gone("detach from dom0", s.vtpm, nil)
	}
	return nil
}

// useTPM executes a command on the kernel's TPM device.
func useTPM(limit time.Duration) error {
	d, err := guest.OpenWhenReady(guest.DevicePath, limit)
	if err != nil {
		return err
	}
	defer d.Close()
	_, err = d.Random(16)
	return err
}

// rebind takes the stock driver off its device and puts it on again: the frontend closes and comes back, as
// after a kexec.
func (l *Lab) rebind() {
	const what = "a frontend that closes and comes back is served again"
	found, err := filepath.Glob("/sys/bus/xen/drivers/*/vtpm-*")
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("the stock driver has the devices %q", found)
	}
	if err != nil {
		l.Check(what, err)
		return
	}
	driver, name := filepath.Split(found[0])
	if err = os.WriteFile(driver+"unbind", []byte(name), 0); err == nil {
		err = os.WriteFile(driver+"bind", []byte(name), 0)
	}
	if err == nil {
		err = useTPM(10 * time.Second)
	}
	l.Check(what, err)
}

// hotplugGuest takes a running guest's TPM away and gives it a new one.
func (l *Lab) hotplugGuest(s *stack) error {
	if err := s.start("attach", "gone", "back", "verbose"); err != nil {
		return err
	}
	if _, err := s.guest.WaitValue("attached", guestLimit); err != nil {
		return err
	}
	l.timely("xl vtpm-detach from a running guest", "vtpm-detach", guestName, "0")
	l.gone("detach from a guest", s.vtpm, s.guest)
	if _, err := s.guest.WaitValue("detached", guestLimit); err != nil {
		return err
	}
	l.timely("xl vtpm-attach to a running guest", "vtpm-attach", guestName, "uuid="+guestUUID, "backend="+vtpmName)
	return s.guest.Finished(guestLimit)
}

// guestPowersOff shuts the guest of hotplugGuest down and looks for the stall of 5 s that Linux has when
// a backend does not follow its closing.
func (l *Lab) guestPowersOff(s *stack) error {
	took, err := s.guest.ShutDown(2 * time.Minute)
	l.Check("a guest with a TPM shuts down", err)
	l.Metric("shutdown of a guest with a TPM", took.Seconds(), "s")
	s.guest.Console.Close()
	if line, _, ok := s.guest.Console.Find(0, "timeout closing device"); ok {
		err = fmt.Errorf("its kernel says: %s", line)
	}
	l.Check("the guest's kernel does not wait for its TPM's backend in vain", err)
	l.gone("guest shutdown", s.vtpm, s.guest)
	s.guest = nil
	return nil
}

// destroyGuest kills a guest in the middle of its commands.
func (l *Lab) destroyGuest(s *stack) error {
	if err := s.start("attach", "load"); err != nil {
		return err
	}
	if _, err := s.guest.WaitValue("attached", guestLimit); err != nil {
		return err
	}
	time.Sleep(time.Second)
	l.timely("xl destroy of a guest that uses its TPM", "destroy", guestName)
	l.gone("destroy of a guest", s.vtpm, s.guest)
	s.guest.Console.Close()
	s.guest = nil
	l.oneUse("after that the vTPM still serves")
	return nil
}

// oneUse attaches the vTPM to dom0 for one command.
func (l *Lab) oneUse(what string) { l.Check(what, l.serves()) }

// serves has one command executed by the vTPM, for dom0.
func (l *Lab) serves() error {
	_, _, err := l.xl.do("vtpm-attach", "0", "uuid="+dom0UUID, "backend="+vtpmName)
	if err == nil {
		err = useTPM(10 * time.Second)
		if _, _, derr := l.xl.do("vtpm-detach", "0", dom0UUID); err == nil {
			err = derr
		}
	}
	return err
}

// destroyVTPM kills the vTPM under a guest that uses it, and starts it again on the same disk.
func (l *Lab) destroyVTPM(s *stack) error {
	if err := s.start("attach", "load"); err != nil {
		return err
	}
	if _, err := s.guest.WaitValue("attached", guestLimit); err != nil {
		return err
	}
	l.timely("xl destroy of a vTPM under its guest", "destroy", vtpmName)
	l.gone("destroy of a vTPM", s.manager, s.vtpm)
	s.vtpm.Console.Close()
	if _, found, err := l.xl.find(s.guest.ID); err != nil || !found {
		l.Check("the guest survives its vTPM", fmt.Errorf("it is gone (%v)", err))
	} else {
		l.Check("the guest survives its vTPM", nil)
	}
	l.timely("xl destroy of the guest without its vTPM", "destroy", guestName)
	s.guest.Console.Close()
	s.guest = nil
	err := s.startVTPM()
	l.Check("the manager accepts the vTPM again", err)
	if err == nil {
		l.oneUse("the restarted vTPM serves")
	}
	return err
}

// destroyManager kills the manager under a vTPM.
func (l *Lab) destroyManager(s *stack) error {
	l.timely("xl destroy of the manager", "destroy", managerName)
	s.manager.Console.Close()
	s.manager = nil
	l.oneUse("the vTPM still executes what needs no manager")
	l.timely("xl destroy of the vTPM without its manager", "destroy", vtpmName)
	s.vtpm.Console.Close()
	s.vtpm = nil
	return nil
}
