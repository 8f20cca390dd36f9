// Package tpmproc runs a software TPM (vtpmd or swtpm) as a child process,
// for tests and benchmarks that drive it through its sockets.
package tpmproc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Build compiles vtpmd into a file. It has to be called inside the module.
func Build(ctx context.Context, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", out, "xenvtpm/tools/vtpmd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is released
	if msg, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build vtpmd: %w\n%s", err, msg)
	}
	return nil
}

// Process is a running child. It leads a process group of its own and dies
// with us, however we die.
type Process struct {
	cmd  *exec.Cmd
	out  output
	done chan struct{} // closed when the child was waited for
	err  error         // valid after done
}

// output collects what a child prints; it is read while the child runs.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Start runs a program. The files become descriptors 3, 4 and so on of the child.
func Start(files []*os.File, program string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(program, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.ExtraFiles = files
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// Pdeathsig follows the thread that forked, so it must live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := p.cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return p, nil
}

// Output is what the child has printed so far.
func (p *Process) Output() string { return p.out.String() }

// PID is the child's process number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal to the child.
func (p *Process) Signal(s syscall.Signal) error { return syscall.Kill(p.PID(), s) }

// Kill ends the child's process group at once and waits for it.
func (p *Process) Kill() {
	select {
	case <-p.done:
		return // its number may belong to somebody else by now
	default:
	}
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL) // ESRCH: it ended meanwhile
	<-p.done
}

// ErrTimeout says that a child did not end in time.
var ErrTimeout = errors.New("the process did not end in time")

// Wait waits until the child ends by itself; its error is that of exec.Cmd.Wait.
func (p *Process) Wait(limit time.Duration) error {
	select {
	case <-p.done:
		return p.err
	case <-time.After(limit):
		return ErrTimeout
	}
}

// Stop asks the child to end and waits; it is an error when the child does not.
func (p *Process) Stop(limit time.Duration) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	if err := p.Wait(limit); err != nil && !strings.Contains(err.Error(), "signal: terminated") {
		p.Kill()
		return fmt.Errorf("stop: %w\n%s", err, p.Output())
	}
	return nil
}
