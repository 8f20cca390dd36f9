// Package machine runs the lab's emulated computer: QEMU with Xen as its
// multiboot kernel, dom0 as the module beside it, a data disk, and swtpm as
// the platform's TPM. Software emulation is the default, because a machine
// can have /dev/kvm and yet hang such guests.
package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Config describes one power-on.
type Config struct {
	QEMU       string // program
	Xen        string // uncompressed multiboot image
	XenArgs    string
	Kernel     string // dom0's kernel
	KernelArgs string
	Initrd     string
	Disk       string // raw image; survives the power cycle
	Files      string // raw image of what dom0 reads only
	TPM        *TPM
	MemoryMB   int
	KVM        bool // hardware virtualisation instead of emulation
	// Direct boots Kernel without Xen, for comparison. Its serial console is then the control stream.
	Direct      bool
	Interactive bool   // the serial console can be typed at: Machine.Console
	Dir         string // for console.log and qemu.log
	SockDir     string // for sockets: their path must be short
}

// Machine is a computer that is switched on.
type Machine struct {
	qemu    *Process
	control net.Conn
	console net.Conn // nil unless Interactive
	conf    Config
}

// ConsoleLog is the serial console of Xen and dom0.
func (c *Config) ConsoleLog() string { return filepath.Join(c.Dir, "console.log") }

func (c *Config) qemuLog() string { return filepath.Join(c.Dir, "qemu.log") }

// emulatedCPU hides what the emulation gets wrong under Xen. With SMAP, SMEP, PKU or five-level
// paging a PV dom0 dies at its first page fault. With XSAVE, and so AVX, the vector registers of
// one domain are now and then seen by another.
const emulatedCPU = "max,-smap,-smep,-pku,-la57,-xsave,-xsaveopt,-xsavec,-xsaves,-xgetbv1," +
	"-avx,-avx2,-f16c,-fma,-vaes,-vpclmulqdq"

// DomainCPUs are the processors that Xen may run domains on, as xl.conf writes them: all but the first. In QEMU
// 7.2 every processor that executes FXRSTOR, FRSTOR or FLDENV clears a bit in a word of the first processor, without
// a lock. That word also says whether nested paging and interrupts are on (hflags2: IGNNE, NPT, GIF). With a thread
// for each processor, such a write can undo what the first one does at VMRUN or #VMEXIT in that moment: a domain runs
// without nested paging, or Xen runs with it. dom0, which is paravirtualised, changes neither and may run there.
const DomainCPUs = "1"

// args builds QEMU's command line.
func (c *Config) args(control string) []string {
	accel, cpu := "tcg,thread=multi", emulatedCPU
	if c.KVM {
		accel, cpu = "kvm", "host"
	}
	// QEMU takes a comma in -initrd as the next module, a doubled one as itself.
	module := func(s string) string { return strings.ReplaceAll(s, ",", ",,") }
	args := []string{c.QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "pc", "-accel", accel, "-cpu", cpu, "-smp", "2", "-m", fmt.Sprint(c.MemoryMB),
		"-chardev", "socket,id=ctl,path=" + control,
	}
	if c.Direct {
		args = append(args, "-kernel", c.Kernel, "-append", c.KernelArgs, "-initrd", c.Initrd, "-serial", "chardev:ctl")
	} else {
		args = append(args, "-kernel", c.Xen, "-append", c.XenArgs,
			"-initrd", module(c.Kernel+" "+c.KernelArgs)+","+module(c.Initrd),
			"-device", "virtio-serial-pci", "-device", "virtserialport,chardev=ctl,name="+ControlPort)
	}
	switch {
	case c.Direct:
	case c.Interactive:
		args = append(args, "-chardev", "socket,id=con,path="+c.consoleSocket()+",logfile="+module(c.ConsoleLog()), "-serial", "chardev:con")
	default:
		args = append(args, "-serial", "file:"+c.ConsoleLog())
	}
	if c.Disk != "" {
		// The disk has a write cache that the guest must flush.
		// A power cut kills QEMU, not the host: what QEMU has written is in the host's page cache
		// and stays. To have the host sync it as well would prove nothing, and stops the machine
		// for as long as the host's disk is busy.
		args = append(args, "-drive", "file="+module(c.Disk)+",format=raw,if=virtio,cache=unsafe")
	}
	if c.Files != "" {
		args = append(args, "-drive", "file="+module(c.Files)+",format=raw,if=virtio,readonly=on")
	}
	if c.TPM != nil {
		args = append(args, "-chardev", "socket,id=tpmchr,path="+c.TPM.Socket,
			"-tpmdev", "emulator,id=tpm0,chardev=tpmchr", "-device", "tpm-tis,tpmdev=tpm0")
	}
	return args
}

// ControlPort is the name of the virtio serial port that carries reports.
const ControlPort = "xenlab"

func (c *Config) consoleSocket() string { return filepath.Join(c.SockDir, "con.sock") }

// Start switches the machine on and waits until QEMU has connected its
// control port.
func Start(ctx context.Context, c Config) (*Machine, error) {
	sock := filepath.Join(c.SockDir, "ctl.sock")
	control, err := listen(sock)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	m := &Machine{conf: c}
	var console net.Listener
	if c.Interactive {
		if console, err = listen(c.consoleSocket()); err != nil {
			return nil, err
		}
		defer console.Close()
	}
	if err := os.WriteFile(c.ConsoleLog(), nil, 0o644); err != nil {
		return nil, fmt.Errorf("machine: %w", err)
	}
	if m.qemu, err = startProcess("qemu", c.qemuLog(), c.args(sock)...); err != nil {
		return nil, err
	}
	if m.control, err = m.accept(ctx, control); err == nil && c.Interactive {
		m.console, err = m.accept(ctx, console)
	}
	if err != nil {
		m.qemu.Kill()
		return nil, err
	}
	return m, nil
}

func listen(sock string) (net.Listener, error) {
	if err := os.Remove(sock); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("machine: %w", err)
	}
	l, err := net.Listen("unix", sock)
	if err != nil {
		return nil, fmt.Errorf("machine: %w", err)
	}
	return l, nil
}

// accept waits until QEMU connects to one of our sockets.
func (m *Machine) accept(ctx context.Context, l net.Listener) (net.Conn, error) {
	type accepted struct {
		conn net.Conn
		err  error
	}
	got := make(chan accepted, 1)
	go func() {
		conn, err := l.Accept()
		got <- accepted{conn, err}
	}()
	select {
	case a := <-got:
		if a.err != nil {
			return nil, fmt.Errorf("machine: %w", a.err)
		}
		return a.conn, nil
	case <-m.qemu.Done():
		return nil, fmt.Errorf("machine: QEMU ended at once: %v\n%s", m.qemu.err, Tail(m.conf.qemuLog(), 10))
	case <-time.After(30 * time.Second):
		return nil, errors.New("machine: QEMU did not start within 30 s")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Console is the serial console of an Interactive machine.
func (m *Machine) Console() io.ReadWriter { return m.console }

// Control is the stream of reports from dom0. It ends when the machine does.
func (m *Machine) Control() io.ReadWriter { return m.control }

// Done is closed when the machine has switched itself off.
func (m *Machine) Done() <-chan struct{} { return m.qemu.Done() }

// PowerCut switches the machine off without warning it.
func (m *Machine) PowerCut() {
	m.qemu.Kill()
	_ = m.control.Close() // its peer is gone
}

// Tail returns the last n lines of a text file, for error messages.
func Tail(name string, n int) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\r\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	for i := range lines {
		lines[i] = "  | " + strings.TrimRight(lines[i], "\r")
	}
	return strings.Join(lines, "\n")
}
