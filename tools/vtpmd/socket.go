package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"xenvtpm/tools/vtpmd/options"
	"xenvtpm/tools/vtpmd/seccomp"
	"xenvtpm/tools/vtpmd/server"
	"xenvtpm/tools/vtpmd/statefile"
)

// daemon is a running vtpmd.
type daemon struct {
	opt     *options.Options
	machine *server.Machine
	storage storage
	control *server.Control
	logf    func(string, ...any)
	stop    chan struct{}
	once    sync.Once
	wg      sync.WaitGroup
	// attached: a data socket that came over the control channel is being served.
	attached atomic.Bool
}

// storage is what both layouts of state on disk can do.
type storage interface {
	server.Storage
	Close() error
	Sizes() map[statefile.Kind]int64
}

func socketMain(args []string, stdout io.Writer) error {
	o, err := options.Parse(args, os.Getenv)
	if err != nil {
		return err
	}
	switch {
	case o.Help:
		fmt.Fprint(stdout, usage)
		return nil
	case o.PrintCapabilities:
		return printCapabilities(stdout)
	case !o.TPM2:
		return errNo12
	case o.PrintProfiles:
		return printProfiles(stdout)
	case o.PrintStates:
		return printStates(o, stdout)
	case o.Device != "" || o.VTPMProxy:
		return fmt.Errorf("%w: --chardev and --vtpm-proxy belong to vtpmd chardev", options.ErrUsage)
	case o.Server == nil && o.Ctrl == nil:
		return fmt.Errorf("%w: give --server or --ctrl", options.ErrUsage)
	case o.Daemon && !isDaemonChild():
		return daemonize(append([]string{"socket"}, args...), stdout)
	}
	// From here on a signal finds us ready to clean up.
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	d, err := start(o, false)
	if err == nil {
		err = d.listenAll()
	}
	if err = reportReady(err, "", stdout); err != nil {
		return err
	}
	return d.wait(sig)
}

// errNo12 is honest: there is no TPM 1.2 engine behind vtpmd yet.
var errNo12 = fmt.Errorf("%w: this vtpmd serves TPM 2.0 only; say --tpm2", options.ErrUsage)

// start opens state and makes the machine; the TPM gets power where the flags
// say so. With rootAgain something remains to be done with asRoot.
func start(o *options.Options, rootAgain bool) (*daemon, error) {
	// Before any file is touched, so that all of them are the user's.
	if err := runAs(o.RunAs, rootAgain); err != nil {
		return nil, err
	}
	logf, err := openLog(o.Log)
	if err != nil {
		return nil, err
	}
	d := &daemon{opt: o, logf: logf, stop: make(chan struct{})}
	d.event("vtpmd %s, process %d, state in %s", version(), os.Getpid(), o.StateDir+o.StateFile)
	fileKey, err := keyOf(o.Key)
	if err != nil {
		return nil, fmt.Errorf("--key: %w", err)
	}
	migrationKey, err := keyOf(o.MigrationKey)
	if err != nil {
		return nil, fmt.Errorf("--migration-key: %w", err)
	}
	if d.storage, err = openStorage(o, fileKey, logf); err != nil {
		return nil, err
	}
	profile, err := profileOf(o.Profile)
	if err != nil {
		return nil, errors.Join(err, d.storage.Close())
	}
	source := newSource(logf, profile, o)
	d.machine = server.New(server.Config{
		Power: source.power, Storage: d.storage, FileKey: fileKey, MigrationKey: migrationKey,
		RejectLocality4: o.RejectLocality4, AllowSetLocality: o.AllowSetLocality, TPM2: true, Startup: startupCommand(o.Startup), Logf: logf,
		LogLevel: server.LogLevel(o.Log.Level),
	})
	d.control = &server.Control{Machine: d.machine, Shutdown: d.shutdown, Attach: d.attach,
		Info: func(flags uint64) string { return info(flags, source.offered.Load()) }}
	if err := writePID(o); err != nil {
		return nil, errors.Join(err, d.storage.Close())
	}
	if o.NotNeedInit {
		if err := d.machine.Start(); err != nil {
			return nil, errors.Join(err, d.storage.Close())
		}
	}
	return d, nil
}

// event logs what --log level=1 asks for.
func (d *daemon) event(format string, a ...any) {
	if server.LogLevel(d.opt.Log.Level) >= server.LogEvents {
		d.logf(format, a...)
	}
}

func keyOf(spec *options.KeySpec) (*statefile.Key, error) {
	if spec == nil {
		return nil, nil
	}
	secret, err := spec.Secret()
	if err != nil {
		return nil, err
	}
	return statefile.NewKey(secret)
}

func stateOptions(o *options.Options, key *statefile.Key) statefile.Options {
	return statefile.Options{Dir: o.StateDir, Prefix: "tpm2-00", Mode: o.StateMode, NoFsync: o.NoFsync, Key: key}
}

func openStorage(o *options.Options, key *statefile.Key, logf func(string, ...any)) (storage, error) {
	// A short wait lets a predecessor that was just told to stop finish.
	const retry = time.Second
	if o.StateFile != "" {
		return statefile.OpenLinear(o.StateFile, stateOptions(o, key), retry)
	}
	opt := stateOptions(o, key)
	opt.Logf = logf
	return statefile.OpenDir(opt, retry)
}

// startupCommand is TPM2_Startup(CLEAR or STATE).
func startupCommand(kind string) []byte {
	switch kind {
	case "clear":
		return []byte{0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0}
	case "state":
		return []byte{0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 1}
	}
	return nil
}

// listenAll opens the sockets, then sets the system call filter, then serves.
func (d *daemon) listenAll() error {
	data, err := d.listen(d.opt.Server, "--server")
	if err != nil {
		return err
	}
	ctrl, err := d.listen(d.opt.Ctrl, "--ctrl")
	if err != nil {
		return err
	}
	action, on, err := seccomp.Parse(d.opt.Seccomp)
	if err == nil && on {
		err = seccomp.Install(action)
	}
	if err != nil {
		return err
	}
	if data != nil {
		d.accept(data, func(c net.Conn) { d.serveData(c) })
	}
	if ctrl != nil {
		d.accept(ctrl, d.serveControl)
	}
	return nil
}

func (d *daemon) listen(e *options.Endpoint, name string) (*server.Listener, error) {
	if e == nil {
		return nil, nil
	}
	return server.Listen(e, name)
}

// accept serves one connection of a listener at a time, as swtpm does.
func (d *daemon) accept(ln *server.Listener, serve func(net.Conn)) {
	go func() {
		<-d.stop
		_ = ln.Close() // makes Accept return
	}()
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		for {
			conn, err := ln.Accept()
			if err != nil && (ln.Once() || errors.Is(err, net.ErrClosed)) {
				return
			}
			if err != nil {
				// Out of descriptors or memory, which passes.
				d.logf("accept: %v", err)
				d.pause(acceptPause)
				continue
			}
			serve(conn)
		}
	}()
}

// Waits of the serving goroutines.
const (
	acceptPause = 100 * time.Millisecond // after an error of accept
	answerGrace = 2 * time.Second        // for a client to take its last answer when we stop
)

// pause waits, or less when the daemon stops.
func (d *daemon) pause(limit time.Duration) {
	select {
	case <-d.stop:
	case <-time.After(limit):
	}
}

// hold closes a connection when the daemon stops; the returned function lets go.
func (d *daemon) hold(conn net.Conn) func() {
	done := make(chan struct{})
	go func() {
		select {
		case <-d.stop:
			letGo(conn, done)
		case <-done:
		}
		_ = conn.Close() // nothing is left to be written
	}()
	return func() { close(done) }
}

// letGo ends what waits for a client: a read at once, the write of an answer
// that the client does not take after a while. Closing would not do that to
// the blocking calls on a copy of the descriptor.
func letGo(conn net.Conn, done <-chan struct{}) {
	c, ok := conn.(interface {
		CloseRead() error
		CloseWrite() error
	})
	if !ok {
		return
	}
	_ = c.CloseRead() // fails when the other side is gone
	select {
	case <-done:
	case <-time.After(answerGrace):
		_ = c.CloseWrite() // as above
	}
}

func (d *daemon) serveData(conn net.Conn) {
	release := d.hold(conn)
	defer release()
	once := d.opt.Server != nil && d.opt.Server.Disconnect
	if err := server.ServeData(d.machine, conn, once); err != nil && !errors.Is(err, net.ErrClosed) {
		d.logf("data channel: %v", err)
	}
	if d.opt.Terminate && !once {
		d.shutdown()
	}
}

func (d *daemon) serveControl(conn net.Conn) {
	release := d.hold(conn)
	defer release()
	if err := d.control.Serve(conn); err != nil && !errors.Is(err, net.ErrClosed) {
		d.logf("control channel: %v", err)
	}
	// With no data socket of its own, the control connection is the client.
	if d.opt.Terminate && d.opt.Server == nil {
		d.shutdown()
	}
}

// attach serves a data socket that came over the control channel, one at a time.
func (d *daemon) attach(conn net.Conn) error {
	if !d.attached.CompareAndSwap(false, true) {
		return errors.Join(server.ErrAttached, conn.Close())
	}
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		defer d.attached.Store(false)
		d.serveData(conn)
	}()
	return nil
}

func (d *daemon) shutdown() { d.once.Do(func() { close(d.stop) }) }

// wait serves until a signal or a shutdown request, then lets go of everything.
func (d *daemon) wait(sig <-chan os.Signal) error {
	select {
	case <-sig:
	case <-d.stop:
	}
	d.shutdown()
	d.machine.Cancel()
	d.wg.Wait()
	d.machine.PowerOff()
	defer d.event("vtpmd ends")
	return errors.Join(d.storage.Close(), removeSockets(d.opt))
}

// removeSockets deletes the socket files that this process made.
func removeSockets(o *options.Options) error {
	var errs []error
	for _, e := range []*options.Endpoint{o.Server, o.Ctrl} {
		if e != nil && e.Network == "unix" {
			if err := os.Remove(e.Address); err != nil && !os.IsNotExist(err) {
				errs = append(errs, err)
			}
		}
	}
	if o.PIDFile != "" {
		if err := os.Remove(o.PIDFile); err != nil && !os.IsNotExist(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
