package dom0

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"
)

// inWaiting is a frontend's and a backend's directory, made as libxl makes them, of a domain that is only being created.
// libxl itself adds a vTPM's frontends when the vTPM runs already, so that it cannot show when the vTPM would have
// answered first.
type inWaiting struct {
	front, back string
	cmd         *exec.Cmd
	out         io.Closer
	seen        chan error
	at          time.Time // when the backend showed InitWait; valid after seen
}

const inWaitingDevice = 9

// frontendInWaiting makes the directories as soon as the domain with the coming number is introduced to xenstore, and
// follows the backend's state from then on.
func (l *Lab) frontendInWaiting(id int) (*inWaiting, error) {
	w := &inWaiting{
		front: fmt.Sprintf("/local/domain/0/device/vtpm/%d", inWaitingDevice),
		back:  fmt.Sprintf("/local/domain/%d/backend/vtpm/0/%d", id, inWaitingDevice),
		seen:  make(chan error, 1),
	}
	w.cmd = exec.Command("xenstore-watch", "@introduceDomain", w.back+"/state")
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	if w.out = out; w.cmd.Start() != nil {
		return nil, errors.New("lab: cannot run xenstore-watch")
	}
	go func() { w.seen <- w.follow(id, bufio.NewScanner(out)) }()
	return w, nil
}

// follow takes the events, one a line. The first two come at once, for the registrations.
func (w *inWaiting) follow(id int, events *bufio.Scanner) error {
	made := false
	for n := 0; events.Scan(); n++ {
		switch {
		case n < 2:
		case !made:
			if err := w.plug(id); err != nil {
				return err
			}
			made = true
		default:
			at := time.Now()
			if s, err := xsRead(w.back + "/state"); err == nil && s == "2" {
				w.at = at
				return nil
			}
		}
	}
	return fmt.Errorf("lab: xenstore-watch ended before %s showed InitWait", w.back)
}

func (w *inWaiting) plug(id int) error {
	err := xsWrite(w.front+"/backend", w.back, w.front+"/backend-id", fmt.Sprint(id), w.front+"/handle", fmt.Sprint(inWaitingDevice),
		w.front+"/state", "1", w.back+"/frontend", w.front, w.back+"/frontend-id", "0", w.back+"/online", "1",
		w.back+"/uuid", dom0UUID, w.back+"/state", "1")
	if err == nil {
		// As libxl does: either side owns its directory and lets the other read it.
		_, err = run(20*time.Second, "xenstore-chmod", "-r", w.front, "n0", fmt.Sprintf("r%d", id))
	}
	if err == nil {
		_, err = run(20*time.Second, "xenstore-chmod", "-r", fmt.Sprintf("/local/domain/%d/backend", id), fmt.Sprintf("n%d", id), "r0")
	}
	return err
}

// wait returns when the backend showed InitWait, and takes everything away again.
func (w *inWaiting) wait(limit time.Duration) (time.Time, error) {
	var err error
	select {
	case err = <-w.seen:
	case <-time.After(limit):
		err = fmt.Errorf("lab: %s did not show InitWait within %v", w.back, limit)
	}
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait()
	_, rerr := run(20*time.Second, "xenstore-rm", w.back, w.front)
	return w.at, errors.Join(err, rerr)
}
