package machine

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// Process is a child in a process group of its own that dies with us, however we die.
type Process struct {
	Name string
	cmd  *exec.Cmd
	done chan struct{} // closed when the child has been waited for
	err  error         // valid after done
	once sync.Once
}

// startProcess starts a command with its output in the file logName.
func startProcess(name, logName string, args ...string) (*Process, error) {
	log, err := os.Create(logName)
	if err != nil {
		return nil, fmt.Errorf("machine: %w", err)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &Process{Name: name, cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Pdeathsig follows the thread that forked, so that thread must live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("machine: starting %s: %w", name, err)
	}
	return p, nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Kill ends the process group at once and waits for it.
func (p *Process) Kill() {
	p.once.Do(func() {
		// ESRCH means that it has already ended, which is what is wanted.
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	})
	<-p.done
}
