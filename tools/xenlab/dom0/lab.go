package dom0

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"xenvtpm/tools/xenlab/machine"
	"xenvtpm/tools/xenlab/pid1"
	"xenvtpm/tools/xenlab/report"
)

// Lab is the state of one job.
type Lab struct {
	out    *report.Writer
	params map[string]string
	images []string // in ImageDir
	failed atomic.Int32
	xl     xl
}

// Step is a job that dom0 can do.
type Step func(*Lab) error

// Steps returns all jobs by name.
func Steps() map[string]Step {
	return map[string]Step{
		"boot":      bootStep,
		"toolstack": toolstackStep,
		"smoke":     smokeStep,
		"first":     firstStep,
		"again":     againStep,
		"tamper":    tamperStep,
		"changed":   changedStep,
		"restored":  restoredStep,
		"lifecycle": lifecycleStep,
		"presence":  presenceStep,
		"bench":     benchStep,
		"manager":   managerStep,
		"manager12": manager12Step,
		"foreign":   foreignStep,
		"moved":     movedStep,
		"storm":     stormStep,
		"large":     largeStep,
		"many":      manyStep,
		"restart":   restartStep,
		"tools":     toolsStep,
		"shell":     shellStep,
	}
}

// Main brings dom0 up, runs the job in JobFile and reports its result. It does not return.
func Main() {
	l, err := setUp()
	if err != nil {
		// Without a channel the console is all there is.
		fmt.Fprintln(os.Stderr, "xenlab: dom0 did not come up:", err)
		if l == nil {
			select {}
		}
	} else {
		err = l.runJob()
	}
	ok := err == nil && l.failed.Load() == 0
	text := ""
	if err != nil {
		text = err.Error()
	} else if l.failed.Load() > 0 {
		text = fmt.Sprintf("%d checks failed", l.failed.Load())
	}
	l.send(report.Record{Kind: report.Done, OK: ok, Text: text})
	select {} // the host switches the machine off
}

// setUp returns a Lab as soon as there is a channel to the host.
func setUp() (*Lab, error) {
	if err := pid1.LoadModules(); err != nil {
		fmt.Fprintln(os.Stderr, "xenlab:", err)
	}
	port, err := openControl()
	if err != nil {
		return nil, err
	}
	l := &Lab{out: report.NewWriter(port)}
	raw, err := os.ReadFile(JobFile)
	if err != nil {
		return l, err
	}
	var job report.Job
	if err := json.Unmarshal(raw, &job); err != nil {
		return l, fmt.Errorf("%s: %w", JobFile, err)
	}
	l.params = map[string]string{"step": job.Step}
	maps.Copy(l.params, job.Params)
	l.images = strings.FieldsFunc(job.Images, func(r rune) bool { return r == ',' })
	if err := mountDisks(); err != nil {
		return l, err
	}
	if err := startToolstack(); err != nil {
		return l, err
	}
	uptime, _ := os.ReadFile("/proc/uptime") // informative only
	l.Logf("dom0 is up (uptime %s s)", strings.Split(string(uptime), " ")[0])
	return l, nil
}

func (l *Lab) runJob() error {
	name := l.params["step"]
	step, ok := Steps()[name]
	if !ok {
		return fmt.Errorf("dom0 knows no step %q", name)
	}
	return step(l)
}

// openControl opens the virtio serial port that the host named for us.
func openControl() (*os.File, error) {
	var dev string
	err := waitFor(20*time.Second, "the control port", func() bool {
		ports, _ := filepath.Glob("/sys/class/virtio-ports/*/name") // the pattern is valid
		for _, p := range ports {
			name, err := os.ReadFile(p)
			if err == nil && strings.TrimSpace(string(name)) == machine.ControlPort {
				dev = "/dev/" + filepath.Base(filepath.Dir(p))
				_, err = os.Stat(dev)
				return err == nil
			}
		}
		return false
	})
	if err != nil {
		return nil, err
	}
	return os.OpenFile(dev, os.O_RDWR, 0)
}

func (l *Lab) send(r report.Record) {
	if err := l.out.Send(r); err != nil {
		fmt.Fprintln(os.Stderr, "xenlab: report:", err)
	}
}

// Logf reports progress.
func (l *Lab) Logf(format string, a ...any) {
	l.send(report.Record{Kind: report.Log, Source: "dom0", Text: fmt.Sprintf(format, a...)})
}

// Check reports that something was proven (err is nil) or refuted.
func (l *Lab) Check(name string, err error) bool {
	r := report.Record{Kind: report.Check, Name: name, OK: err == nil}
	if err != nil {
		r.Text = err.Error()
		l.failed.Add(1)
	}
	l.send(r)
	return err == nil
}

// Metric reports a measurement.
func (l *Lab) Metric(name string, value float64, unit string) {
	l.send(report.Record{Kind: report.Metric, Name: name, Value: value, Unit: unit})
}

func (l *Lab) param(name, fallback string) string {
	if v := l.params[name]; v != "" {
		return v
	}
	return fallback
}

func (l *Lab) duration(name string, fallback time.Duration) time.Duration {
	d, err := time.ParseDuration(l.params[name])
	if err != nil {
		return fallback
	}
	return d
}
