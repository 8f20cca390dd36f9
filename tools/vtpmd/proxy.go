package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"xenvtpm/tools/vtpmd/options"
	"xenvtpm/tools/vtpmd/server"
	"xenvtpm/tools/vtpmd/vtpmx"
)

// deviceMain serves a TPM on a character device, until a signal or a shutdown request comes or
// the device ends: a proxy device that it makes, or (chardev) one that is there.
// A made device's name is the one line on standard output, with --daemon too.
func deviceMain(name string, args []string, stdout io.Writer) error {
	o, err := options.Parse(args, func(key string) string {
		if key == "TPM_PORT" {
			return "" // that is for sockets
		}
		return os.Getenv(key)
	})
	if err == nil && name == "proxy" {
		o.VTPMProxy = true
	}
	switch {
	case err != nil:
		return err
	case o.Help:
		fmt.Fprint(stdout, usage)
		return nil
	case o.PrintProfiles:
		return printProfiles(stdout)
	case o.PrintCapabilities:
		return printCapabilities(stdout)
	case !o.TPM2:
		return errNo12
	case o.PrintStates:
		return printStates(o, stdout)
	}
	if err := checkDevice(o); err != nil {
		return err
	}
	if o.Daemon && !isDaemonChild() {
		return daemonize(append([]string{name}, args...), stdout)
	}
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	d, f, text, err := startDevice(o, name)
	if err = reportReady(err, text, stdout); err != nil {
		return err
	}
	return d.waitDevice(f, sig)
}

// checkDevice wants one source of commands. --fd and --server are one thing to the parser.
func checkDevice(o *options.Options) error {
	sources := 0
	for _, given := range []bool{o.VTPMProxy, o.Device != "", o.Server != nil && o.Server.FD >= 0} {
		if given {
			sources++
		}
	}
	if sources != 1 || o.Server != nil && o.Server.FD < 0 {
		return fmt.Errorf("%w: a device takes commands from one of --vtpm-proxy, --chardev and --fd; sockets are for vtpmd socket", options.ErrUsage)
	}
	return nil
}

// startDevice returns a daemon, its device, and what is to be printed.
func startDevice(o *options.Options, name string) (d *daemon, f *os.File, text string, err error) {
	if o.VTPMProxy {
		// The kernel driver announces localities by command, and sends no init.
		o.AllowSetLocality, o.NotNeedInit = true, true
		if o.Startup == "" {
			o.Startup = "clear"
		}
	}
	// As whoever started us: the user of --runas may not open it.
	if f, err = openDevice(o); err != nil {
		return nil, nil, "", err
	}
	o.Server, o.Terminate = nil, false // the parser's way to say --fd
	if d, err = start(o, o.VTPMProxy); err != nil {
		return nil, nil, "", err
	}
	d.attached.Store(true)
	if o.VTPMProxy {
		f, text, err = d.makeDevice(f, name)
	}
	if err == nil {
		// The socket, if there is one, before the filter.
		err = d.listenAll()
	}
	if err != nil {
		return nil, nil, "", errors.Join(err, d.storage.Close())
	}
	return d, f, text, nil
}

// openDevice opens the device, or what makes devices.
func openDevice(o *options.Options) (*os.File, error) {
	if o.VTPMProxy {
		return vtpmx.Open("/dev/vtpmx")
	}
	var f *os.File
	if o.Device != "" {
		var err error
		if f, err = os.OpenFile(o.Device, os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
			return nil, fmt.Errorf("--chardev: %w", err)
		}
	} else if f = os.NewFile(uintptr(o.Server.FD), "--fd"); f == nil {
		return nil, fmt.Errorf("%w: --fd %d is no descriptor", options.ErrUsage, o.Server.FD)
	}
	st, err := f.Stat()
	if err == nil && st.Mode()&os.ModeCharDevice == 0 {
		err = fmt.Errorf("%w: %s is not a character device", options.ErrUsage, f.Name())
	}
	return f, err
}

// makeDevice makes a proxy device and the line that tells of it: swtpm's for
// scripts that parse it, JSON otherwise.
func (d *daemon) makeDevice(ctl *os.File, name string) (*os.File, string, error) {
	// The driver's first commands ask for self tests and wait two seconds, which can be
	// short on a slow machine. Tests that were done are not repeated.
	err := selfTest(d.machine)
	var dev *vtpmx.Device
	if err == nil {
		err = asRoot(d.opt.RunAs, func() (err error) {
			dev, err = vtpmx.New(ctl, true)
			return err
		})
	}
	if err = errors.Join(err, ctl.Close()); err != nil { // the device outlives it
		return nil, "", err
	}
	if name == "chardev" {
		return dev.File, fmt.Sprintf("New TPM device: %s (major/minor = %d/%d)\n", dev.Path(), dev.Major, dev.Minor), nil
	}
	line, err := json.Marshal(map[string]any{"device": dev.Path(), "major": dev.Major, "minor": dev.Minor})
	return dev.File, string(line) + "\n", err
}

// selfTest runs TPM2_SelfTest(fullTest = YES).
func selfTest(m *server.Machine) error {
	rsp := m.Execute([]byte{0x80, 0x01, 0, 0, 0, 11, 0, 0, 0x01, 0x43, 1}, nil)
	if len(rsp) != 10 || binary.BigEndian.Uint32(rsp[6:]) != 0 {
		return fmt.Errorf("the TPM's self test: response %x", rsp)
	}
	return nil
}

// waitDevice serves the device and, beside it, the control channel.
func (d *daemon) waitDevice(f *os.File, sig <-chan os.Signal) error {
	done := make(chan error, 1)
	go func() { done <- server.ServeData(d.machine, f, false) }()
	var err error
	select {
	case <-sig:
	case <-d.stop:
	case err = <-done:
		// The driver ends reads with EPIPE when its client side is gone.
		if errors.Is(err, syscall.EPIPE) {
			err = nil
		}
	}
	d.shutdown()
	d.machine.Cancel()
	d.wg.Wait()
	d.machine.PowerOff()
	defer d.event("vtpmd ends")
	return errors.Join(err, f.Close(), d.storage.Close(), removeSockets(d.opt))
}
