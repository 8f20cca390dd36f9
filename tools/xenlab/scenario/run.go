package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"xenvtpm/tools/xenlab/debs"
	"xenvtpm/tools/xenlab/machine"
	"xenvtpm/tools/xenlab/report"
)

// Phase is one power-on of the machine: dom0 runs one job, then the power is cut.
type Phase struct {
	Name    string
	Job     report.Job
	Timeout time.Duration // from power-on
	// OpenTPM leaves the platform's TPM to dom0's own driver at first, for
	// jobs that measure something into it before Xen's domains use it.
	OpenTPM bool
	// OtherTPM puts another, new TPM into the machine from this phase on: it is another machine then.
	OtherTPM bool
	// Guest boots the Debian guest alone, without Xen, with these steps. Its TPM is the platform's.
	Guest string
}

// Scenario is a list of phases on one machine, which keeps its disk and its TPM.
type Scenario struct {
	Name   string
	About  string
	Needs  []string          // images of build/images, as patterns
	Images map[string]string // name in dom0 -> file on the host
	Guest  bool              // needs the Debian guest
	TPM    machine.TPMVersion
	Phases []Phase
	Dir    string // log folder below build/lab; empty is Name
	Finish func(*Result)
	// Fill adds to the files that dom0 finds in dom0.FilesDir. It runs before the first power-on and may use the
	// machine's TPM, whose state folder it is given.
	Fill func(ctx context.Context, files, tpm string) error
	// Interactive connects the terminal to dom0's console. Such a scenario checks nothing.
	Interactive bool
}

// Result is what a run has shown.
type Result struct {
	Scenario string          `json:"scenario"`
	OK       bool            `json:"ok"`
	Seconds  float64         `json:"seconds"`
	Error    string          `json:"error,omitempty"`
	Checks   []report.Record `json:"checks"`
	Metrics  []report.Record `json:"metrics,omitempty"`
	Logs     string          `json:"logs"`
	Void     int             `json:"void,omitempty"` // runs before this one in which the emulator broke a domain
}

// Options are the person's choices.
type Options struct {
	KVM     bool
	Verbose bool              // show all consoles
	Print   func(line string) // progress for a person
}

// runner is the state of one run.
type runner struct {
	w       *Workshop
	s       *Scenario
	opt     Options
	dir     string
	sock    string
	tpm     *machine.TPM
	disk    string // persistent
	files   string // read-only
	res     Result
	logs    map[string]*os.File
	mu      sync.Mutex
	started time.Time
}

// Run runs a scenario and returns what was proven. The error is not nil when the run as a whole
// could not be done; a failed check makes Result.OK false.
//
// A run in which the emulator broke a domain shows nothing and is repeated, which Result.Void counts.
func (w *Workshop) Run(ctx context.Context, s *Scenario, opt Options) (Result, error) {
	for void := 0; ; void++ {
		res, err := w.runOnce(ctx, s, opt)
		res.Void = void
		if !errors.Is(err, errEmulator) || void == attempts-1 {
			return res, err
		}
		if opt.Print != nil {
			opt.Print(fmt.Sprintf("%v\nthis run is void; the scenario begins anew", err))
		}
	}
}

func (w *Workshop) runOnce(ctx context.Context, s *Scenario, opt Options) (Result, error) {
	r := &runner{w: w, s: s, opt: opt, started: time.Now(), logs: make(map[string]*os.File)}
	r.res = Result{Scenario: s.Name}
	err := r.run(ctx)
	if s.Finish != nil && err == nil {
		s.Finish(&r.res)
	}
	r.res.Seconds = time.Since(r.started).Seconds()
	r.res.OK = err == nil
	for _, c := range r.res.Checks {
		r.res.OK = r.res.OK && c.OK
	}
	if err == nil && len(r.res.Checks) == 0 && !s.Interactive {
		r.res.OK, err = false, errors.New("the scenario ended without having checked anything")
	}
	if err != nil {
		r.res.Error = err.Error()
	}
	return r.res, err
}

func (r *runner) run(ctx context.Context) (err error) {
	if err := r.w.images(r.s); err != nil {
		return err
	}
	unlock, err := r.folders()
	if err != nil {
		return err
	}
	defer unlock()
	defer func() {
		// The machine's disks are of no use without it; a failed run keeps the persistent one.
		_ = os.Remove(r.files)
		if err == nil && !r.failedCheck() {
			_ = os.Remove(r.disk)
		}
	}()
	defer os.RemoveAll(r.sock)
	defer func() {
		for _, f := range r.logs {
			_ = f.Close() // a log of consoles; nothing depends on it
		}
	}()
	if err := r.makeDisks(ctx); err != nil {
		return err
	}
	if r.s.TPM != 0 {
		r.tpm, err = machine.StartTPM(debs.LookPath("swtpm"), r.tpmState(), r.sock, r.dir, r.s.TPM)
		if err != nil {
			return err
		}
		defer func() { r.tpm.Close() }() // the one that is in the machine at the end
	}
	for i, p := range r.s.Phases {
		if p.OtherTPM {
			if err := r.exchangeTPM(p.Name); err != nil {
				return err
			}
		}
		if err := r.phase(ctx, p); err != nil {
			return fmt.Errorf("phase %s: %w", p.Name, err)
		}
		// What follows rests on this phase: its results would mean nothing.
		if i < len(r.s.Phases)-1 && r.failedCheck() {
			r.say("a check of phase %s failed: the phases after it are not run", p.Name)
			return nil
		}
	}
	return nil
}

// tpmState is where the machine's first TPM keeps its state.
func (r *runner) tpmState() string { return filepath.Join(r.dir, "tpm") }

// exchangeTPM takes the TPM out of the machine and puts a new one in.
func (r *runner) exchangeTPM(label string) error {
	r.tpm.Close()
	dir := filepath.Join(r.dir, label)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("xenlab: %w", err)
	}
	if err := os.Remove(r.tpm.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("xenlab: %w", err)
	}
	tpm, err := machine.StartTPM(debs.LookPath("swtpm"), filepath.Join(r.dir, "tpm-"+label), r.sock, dir, r.s.TPM)
	if err == nil {
		r.tpm = tpm
	}
	return err
}

// folders makes an empty log folder that no other run uses.
func (r *runner) folders() (unlock func(), err error) {
	name := r.s.Dir
	if name == "" {
		name = r.s.Name
	}
	r.dir = filepath.Join(r.w.Build, "lab", name)
	if err := os.MkdirAll(filepath.Dir(r.dir), 0o755); err != nil {
		return nil, fmt.Errorf("xenlab: %w", err)
	}
	lock, err := os.OpenFile(r.dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("xenlab: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("xenlab: another run uses %s", r.dir), lock.Close())
	}
	if err = os.RemoveAll(r.dir); err == nil {
		err = os.MkdirAll(r.dir, 0o755)
	}
	if err == nil {
		r.sock, err = os.MkdirTemp("", "xenlab")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("xenlab: %w", err), lock.Close())
	}
	r.res.Logs = r.dir
	return func() { _ = lock.Close() }, nil
}

// phase switches the machine on, follows the job to its end and cuts the power.
func (r *runner) phase(ctx context.Context, p Phase) error {
	dir := r.dir
	if len(r.s.Phases) > 1 {
		dir = filepath.Join(r.dir, p.Name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("xenlab: %w", err)
		}
	}
	job, err := json.Marshal(p.Job)
	if err != nil {
		return fmt.Errorf("xenlab: %w", err)
	}
	var initrd string
	if p.Guest != "" {
		r.say("[%s] power on: Linux %s without Xen", p.Name, r.w.Version)
		initrd = filepath.Join(dir, "guest.initrd")
		err = r.w.guestInitrd(initrd)
	} else {
		r.say("[%s] power on: Xen, dom0 with Linux %s", p.Name, r.w.Version)
		initrd, err = r.w.dom0Initrd(dir, string(job))
	}
	if err != nil {
		return err
	}
	defer os.Remove(initrd)
	conf := r.config(p, dir, initrd)
	ctx, cancel := context.WithTimeoutCause(ctx, p.Timeout, fmt.Errorf("the time limit of %v is over", p.Timeout))
	defer cancel()
	m, err := machine.Start(ctx, conf)
	if err != nil {
		return err
	}
	defer m.PowerCut()
	if r.s.Interactive {
		restore, err := terminal(m.Console())
		if err != nil {
			return err
		}
		defer restore()
	}
	return r.follow(ctx, m, p, conf)
}

func (r *runner) config(p Phase, dir, initrd string) machine.Config {
	// Nobody attacks this machine through its processor, and the memory it starts with is zero. With random
	// addresses, QEMU would translate a program anew at each start.
	args := "console=hvc0 loglevel=5 oops=panic panic=1 mitigations=off norandmaps"
	if !p.OpenTPM {
		// dom0 would drive the manager's TPM, and Xen does not stop it.
		args += " initcall_blacklist=init_tis"
	}
	if p.Guest != "" {
		return machine.Config{
			QEMU: debs.LookPath("qemu-system-x86_64"), KVM: r.opt.KVM, MemoryMB: 256, Direct: true, Kernel: r.w.Kernel,
			KernelArgs: "console=ttyS0 quiet loglevel=1 panic=1 lab=" + p.Guest, Initrd: initrd, TPM: r.tpm, Dir: dir, SockDir: r.sock,
		}
	}
	return machine.Config{
		QEMU: debs.LookPath("qemu-system-x86_64"), KVM: r.opt.KVM, MemoryMB: 2048,
		Xen: r.w.Xen, XenArgs: "console=com1 com1=115200,8n1 dom0_mem=1024M,max:1024M bootscrub=0 spec-ctrl=no loglvl=all guest_loglvl=all",
		Kernel: r.w.Kernel, KernelArgs: args, Initrd: initrd, Disk: r.disk, Files: r.files, TPM: r.tpm,
		Dir: dir, SockDir: r.sock, Interactive: r.s.Interactive,
	}
}

// follow reads reports until the job is done, the time is over or the machine dies.
func (r *runner) follow(ctx context.Context, m *machine.Machine, p Phase, conf machine.Config) error {
	type end struct {
		done report.Record
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		read := report.Read
		if p.Guest != "" {
			read = report.ReadConsole
		}
		done, err := read(m.Control(), func(rec report.Record) { r.record(p, rec) })
		ended <- end{done, err}
	}()
	check := time.NewTicker(2 * time.Second)
	defer check.Stop()
	for {
		select {
		case e := <-ended:
			if e.err == nil && e.done.OK {
				return nil
			}
			if e.err != nil {
				e.err = fmt.Errorf("the machine stopped before its job was done: %w", e.err)
			}
			return r.whyNot(m, conf, e.done, e.err)
		case <-ctx.Done():
			return r.whyNot(m, conf, report.Record{}, context.Cause(ctx))
		case <-check.C:
			// What such a domain's peers would wait for will never come.
			if brokenDomain(conf.ConsoleLog(), foreign) != "" {
				return r.whyNot(m, conf, report.Record{}, errEmulator)
			}
		}
	}
}

// whyNot ends a machine whose job did not succeed, and says why.
func (r *runner) whyNot(m *machine.Machine, conf machine.Config, done report.Record, err error) error {
	if vcpu := brokenDomain(conf.ConsoleLog(), excused); vcpu != "" {
		m.PowerCut()
		return fmt.Errorf("%w: %s in %s", errEmulator, vcpu, conf.ConsoleLog())
	}
	if err == nil {
		if r.failedCheck() && strings.HasSuffix(done.Text, "checks failed") {
			return nil // the table says which
		}
		return fmt.Errorf("%s\nfull logs are in %s", done.Text, r.dir)
	}
	m.PowerCut()
	return fmt.Errorf("%w\n%s", err, r.lastWords(conf))
}

func (r *runner) failedCheck() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.res.Checks {
		if !c.OK {
			return true
		}
	}
	return false
}

// lastWords quotes the end of each log.
func (r *runner) lastWords(conf machine.Config) string {
	var b strings.Builder
	logs := []string{conf.ConsoleLog()}
	r.mu.Lock()
	for _, f := range r.logs {
		logs = append(logs, f.Name())
	}
	r.mu.Unlock()
	for _, name := range logs {
		fmt.Fprintf(&b, "last lines of %s:\n%s\n", name, machine.Tail(name, 12))
	}
	return b.String()
}

// record keeps and shows one report.
func (r *runner) record(p Phase, rec report.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log(p, rec)
	switch rec.Kind {
	case report.Check:
		rec.Source = p.Name
		r.res.Checks = append(r.res.Checks, rec)
		verdict := "ok  "
		if !rec.OK {
			verdict = "FAIL"
		}
		r.say("[%s] %s %s%s", p.Name, verdict, rec.Name, indent(rec.Text))
	case report.Metric:
		rec.Source = p.Name
		r.res.Metrics = append(r.res.Metrics, rec)
		r.say("[%s]      %s: %.4g %s", p.Name, rec.Name, rec.Value, rec.Unit)
	case report.Value:
		r.say("[%s]      %s = %s", p.Name, rec.Name, rec.Text)
	case report.Log:
		r.say("[%s] %s", p.Name, rec.Text)
	case report.Console:
		if r.opt.Verbose {
			r.say("    %s| %s", rec.Source, rec.Text)
		}
	}
}

func indent(s string) string {
	if s == "" {
		return ""
	}
	return "\n      " + strings.ReplaceAll(s, "\n", "\n      ")
}

// log appends a record to the log of its source.
func (r *runner) log(p Phase, rec report.Record) {
	name := "dom0"
	if rec.Kind == report.Console {
		name = "guest-" + rec.Source
	}
	f := r.logs[name]
	if f == nil {
		var err error
		if f, err = os.Create(filepath.Join(r.dir, name+".log")); err != nil {
			r.say("xenlab: %v", err)
			return
		}
		r.logs[name] = f
	}
	if rec.Kind == report.Console {
		fmt.Fprintf(f, "[%s %8.3f] %s\n", p.Name, rec.At, rec.Text)
		return
	}
	line, err := json.Marshal(rec)
	if err == nil {
		fmt.Fprintf(f, "[%s] %s\n", p.Name, line)
	}
}

func (r *runner) say(format string, a ...any) {
	if r.opt.Print != nil {
		r.opt.Print(fmt.Sprintf("%6.1f ", time.Since(r.started).Seconds()) + fmt.Sprintf(format, a...))
	}
}
