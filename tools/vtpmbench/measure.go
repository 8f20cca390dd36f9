package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// stat sums up the times of one command on one TPM.
type stat struct {
	Count  int           `json:"count"`
	Median time.Duration `json:"median_ns"`
	P95    time.Duration `json:"p95_ns"`
}

func summarize(d []time.Duration) stat {
	if len(d) == 0 {
		return stat{}
	}
	d = slices.Sorted(slices.Values(d))
	return stat{len(d), d[len(d)/2], d[min(len(d)-1, len(d)*95/100)]}
}

// row is one line of the table. Ratio is how many times as fast vtpmd is.
type row struct {
	Name    string  `json:"name"`
	Swtpm   stat    `json:"swtpm"`
	Vtpmd   stat    `json:"vtpmd"`
	Ratio   float64 `json:"ratio"`
	Durable *stat   `json:"vtpmd_durable,omitempty"`
	KeyGen  bool    `json:"keygen,omitempty"`
}

// memory is in KiB.
type memory struct {
	Now  int `json:"rss_kib"`
	Peak int `json:"peak_kib"`
}

type result struct {
	Date    string            `json:"date"`
	CPU     string            `json:"cpu"`
	Version string            `json:"swtpm_version"`
	Rows    []row             `json:"rows"`
	Mean    float64           `json:"geometric_mean"`
	Memory  map[string]memory `json:"memory"`
	// Floor is what a command costs that a process in C's manner answers at once, with
	// one read and one write: no TPM behind a socket can be faster.
	Floor stat `json:"floor"`
	// InProcess is what the engine takes without a socket.
	InProcess []engineTime `json:"in_process"`
}

// measure runs everything.
func measure(cfg config) (r *result, err error) {
	r = &result{Date: time.Now().UTC().Format(time.DateOnly), CPU: cpuModel(), Version: versionOf(cfg.swtpm), Memory: map[string]memory{}}
	programs := []program{{name: "swtpm", path: cfg.swtpm}, {name: "vtpmd", path: cfg.vtpmd, nofsync: true}, {name: "vtpmd-durable", path: cfg.vtpmd}}
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, err
	}
	if err := r.measureShort(cfg, programs, &all); err != nil {
		return nil, err
	}
	if err := confine(&all, os.Getpid()); err != nil {
		return nil, err
	}
	// Fresh processes, as a Go program that was started on one processor takes a while to
	// notice that it has more, and without company: where the other processor is kept
	// awake, the scheduler leaves a woken thread where it is.
	if err := r.compareAll(cfg, programs, true); err != nil {
		return nil, err
	}
	slices.SortFunc(r.Rows, func(a, b row) int { return place(a.Name) - place(b.Name) })
	r.mean()
	return r, nil
}

// place is a row's place in the table: that of ops, then the start.
func place(name string) int {
	if i := slices.IndexFunc(ops, func(o op) bool { return o.name == name }); i >= 0 {
		return i
	}
	return len(ops)
}

// measureShort measures what takes microseconds, on one processor, and the start, on all,
// while the processors are kept awake.
func (r *result) measureShort(cfg config, programs []program, all *unix.CPUSet) (err error) {
	stop, err := keepAwake()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if cfg.only.MatchString(startName) {
		w, err := compareStart(cfg, programs[:2])
		if err != nil {
			return fmt.Errorf("%s: %w", startName, err)
		}
		r.Rows = append(r.Rows, w)
	}
	// The TPMs are started on that processor, too.
	if err := confine(oneOf(all), os.Getpid()); err != nil {
		return err
	}
	if err := r.compareAll(cfg, programs, false); err != nil {
		return err
	}
	if r.InProcess, err = measureInProcess(cfg); err != nil {
		return err
	}
	r.Floor, err = measureFloor(cfg.budget)
	return err
}

// compareAll starts the TPMs and measures the chosen commands that may, or may not, use
// all processors.
func (r *result) compareAll(cfg config, programs []program, parallel bool) (err error) {
	var cs []*contender
	defer func() {
		for _, c := range cs {
			err = errors.Join(err, c.close())
		}
	}()
	for _, p := range programs {
		state, err := os.MkdirTemp(cfg.dir, "state-"+p.name+"-")
		if err != nil {
			return err
		}
		c, err := startTPM(p, state, cfg.dir)
		if err != nil {
			return err
		}
		cs = append(cs, c)
	}
	for _, o := range ops {
		if o.parallel != parallel || !cfg.only.MatchString(o.name) {
			continue
		}
		w, err := compare(cfg, o, cs)
		if err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
		r.Rows = append(r.Rows, w)
	}
	for _, c := range cs[:2] {
		now, peak, err := c.rss()
		if err != nil {
			return err
		}
		m := r.Memory[c.name]
		r.Memory[c.name] = memory{max(m.Now, now), max(m.Peak, peak)}
	}
	return nil
}

func (r *result) mean() {
	sum := 0.0
	for i := range r.Rows {
		w := &r.Rows[i]
		w.Ratio = float64(w.Swtpm.Median) / float64(max(w.Vtpmd.Median, 1))
		sum += math.Log(w.Ratio)
	}
	if n := len(r.Rows); n > 0 {
		r.Mean = math.Exp(sum / float64(n))
	}
}

// turn is how long one TPM is asked before the other is. When a Go program has slept, its
// runtime looks after it every twenty microseconds for a millisecond or more, and what is
// asked then takes up to a fifth longer; a turn is many times that.
const turn = 20 * time.Millisecond

// compare measures one op on the TPMs in turns. Those after the second take part in durable ops only.
func compare(cfg config, o op, cs []*contender) (row, error) {
	if !o.durable {
		cs = cs[:2]
	}
	steps := make([]func() error, len(cs))
	times := make([][]time.Duration, len(cs))
	for i, c := range cs {
		var err error
		if steps[i], err = o.setup(c); err == nil {
			err = steps[i]() // the first time is slower
		}
		if err != nil {
			return row{}, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	enough := func(spent time.Duration) bool {
		if o.keygen {
			return len(times[0]) >= cfg.keys
		}
		return spent >= cfg.budget && len(times[0]) >= 5
	}
	for spent := time.Duration(0); !enough(spent); {
		for i, c := range cs {
			from := time.Now()
			for more := true; more; more = !o.keygen && time.Since(from) < turn {
				c.elapsed = 0
				if err := steps[i](); err != nil {
					return row{}, fmt.Errorf("%s: %w", c.name, err)
				}
				times[i] = append(times[i], c.elapsed)
			}
			if i < 2 {
				spent += time.Since(from) / 2
			}
		}
	}
	w := row{Name: o.name, Swtpm: summarize(times[0]), Vtpmd: summarize(times[1]), KeyGen: o.keygen}
	if o.durable {
		s := summarize(times[2])
		w.Durable = &s
	}
	for _, c := range cs {
		if err := c.flushAll(); err != nil {
			return row{}, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return w, nil
}

// flushAll removes what an op left: transient objects and loaded sessions.
func (c *contender) flushAll() error {
	for _, kind := range []byte{0x80, 0x02} {
		rsp, err := c.Send([]byte{0x80, 0x01, 0, 0, 0, 22, 0, 0, 0x01, 0x7a, 0, 0, 0, 1, kind, 0, 0, 0, 0, 0, 0, 64})
		if err != nil {
			return err
		}
		for h := rsp[min(19, len(rsp)):]; len(h) >= 4; h = h[4:] {
			if _, err := c.Send(append([]byte{0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x65}, h[:4]...)); err != nil {
				return err
			}
		}
	}
	return nil
}

const startName = "process start to first answer"

func compareStart(cfg config, programs []program) (row, error) {
	times := make([][]time.Duration, len(programs))
	for i, p := range programs {
		if err := os.Mkdir(filepath.Join(cfg.dir, "start-"+p.name), 0o700); err != nil {
			return row{}, err
		}
		if _, err := startTime(p, filepath.Join(cfg.dir, "start-"+p.name), cfg.dir); err != nil { // makes the state
			return row{}, err
		}
		times[i] = nil
	}
	for range 20 {
		for i, p := range programs {
			d, err := startTime(p, filepath.Join(cfg.dir, "start-"+p.name), cfg.dir)
			if err != nil {
				return row{}, err
			}
			times[i] = append(times[i], d)
		}
	}
	return row{Name: startName, Swtpm: summarize(times[0]), Vtpmd: summarize(times[1])}, nil
}

func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	_, rest, _ := strings.Cut(string(b), "model name\t: ")
	name, _, _ := strings.Cut(rest, "\n")
	return name
}

func versionOf(program string) string {
	out, err := exec.Command(program, "--version").Output()
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(out), ",")
	return strings.TrimPrefix(strings.TrimSpace(line), "TPM emulator version ")
}
