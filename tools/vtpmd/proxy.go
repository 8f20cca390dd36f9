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
	"xenvtpm/tools/vtpmd/seccomp"
	"xenvtpm/tools/vtpmd/server"
	"xenvtpm/tools/vtpmd/vtpmx"
)

// proxyMain makes a proxy device and serves it until a signal comes. The
// device's name is the one line on standard output.
func proxyMain(args []string, stdout io.Writer) error {
	o, err := options.Parse(args, os.Getenv)
	if err != nil {
		return err
	}
	switch {
	case o.Help:
		fmt.Fprint(stdout, usage)
		return nil
	case !o.TPM2:
		return errNo12
	case o.Server != nil || o.Ctrl != nil:
		return fmt.Errorf("%w: proxy has no --server or --ctrl", options.ErrUsage)
	case o.Daemon && !isDaemonChild():
		return daemonize(append([]string{"proxy"}, args...))
	}
	// The kernel driver announces localities by command, and sends no init.
	o.AllowSetLocality, o.NotNeedInit = true, true
	if o.Startup == "" {
		o.Startup = "clear"
	}
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	dev, d, err := startProxy(o)
	reportReady(err)
	if err != nil {
		return err
	}
	line := map[string]any{"device": dev.Path(), "major": dev.Major, "minor": dev.Minor}
	if err := json.NewEncoder(stdout).Encode(line); err != nil {
		return errors.Join(err, dev.File.Close())
	}
	return serveProxy(dev, d, sig)
}

func startProxy(o *options.Options) (*vtpmx.Device, *daemon, error) {
	d, err := start(o)
	if err != nil {
		return nil, nil, err
	}
	// The driver's first commands ask for self tests and wait two seconds, which can be
	// short on a slow machine. Tests that were done are not repeated.
	var dev *vtpmx.Device
	if err = selfTest(d.machine); err == nil {
		dev, err = vtpmx.New("/dev/vtpmx", true)
	}
	if err == nil {
		var action seccomp.Action
		var on bool
		if action, on, err = seccomp.Parse(o.Seccomp); err == nil && on {
			err = seccomp.Install(action)
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, d.storage.Close())
	}
	return dev, d, nil
}

// selfTest runs TPM2_SelfTest(fullTest = YES).
func selfTest(m *server.Machine) error {
	rsp := m.Execute([]byte{0x80, 0x01, 0, 0, 0, 11, 0, 0, 0x01, 0x43, 1}, nil)
	if len(rsp) != 10 || binary.BigEndian.Uint32(rsp[6:]) != 0 {
		return fmt.Errorf("the TPM's self test: response %x", rsp)
	}
	return nil
}

func serveProxy(dev *vtpmx.Device, d *daemon, sig <-chan os.Signal) error {
	done := make(chan error, 1)
	go func() { done <- server.ServeData(d.machine, dev.File, false) }()
	var err error
	select {
	case <-sig:
		d.machine.Cancel()
	case err = <-done:
		// The driver ends reads with EPIPE when its client side is gone.
		if errors.Is(err, syscall.EPIPE) {
			err = nil
		}
	}
	d.machine.PowerOff()
	return errors.Join(err, dev.File.Close(), d.storage.Close())
}
