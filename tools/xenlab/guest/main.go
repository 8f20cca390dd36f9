package guest

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"xenvtpm/tools/xenlab/report"
)

// Session is one run of the guest: the steps that its command line names.
type Session struct {
	out    *os.File
	start  time.Time
	dev    *Device
	params map[string]string
}

// DevicePath is where the kernel's TPM appears.
const DevicePath = "/dev/tpm0"

// Main runs the steps of the kernel's command line: lab=step,step... and
// lab.name=value for parameters. It returns when all are done.
func Main(out *os.File) {
	s := &Session{out: out, start: time.Now(), params: make(map[string]string)}
	cmdline, err := os.ReadFile("/proc/cmdline")
	s.Check("the guest reads its command line", err)
	steps := parseCommandLine(string(cmdline), s.params)
	ok := true
	for _, name := range steps {
		step, known := stepTable()[name]
		if !known {
			s.Check("step "+name, fmt.Errorf("the guest knows no such step"))
			ok = false
			continue
		}
		if err := step(s); err != nil {
			s.Check("step "+name, err)
			ok = false
		}
	}
	s.send(report.Record{Kind: report.Done, OK: ok})
}

// parseCommandLine returns the steps and stores parameters in params.
func parseCommandLine(line string, params map[string]string) (steps []string) {
	for word := range strings.FieldsSeq(line) {
		key, value, _ := strings.Cut(word, "=")
		switch {
		case key == "lab" && value != "":
			steps = strings.Split(value, ",")
		case strings.HasPrefix(key, "lab."):
			params[strings.TrimPrefix(key, "lab.")] = value
		}
	}
	return steps
}

// send writes a record as one line of the console, in one system call.
func (s *Session) send(r report.Record) {
	r.At = time.Since(s.start).Seconds()
	b, err := json.Marshal(r)
	if err != nil {
		return // a Record can always be encoded
	}
	fmt.Fprintf(s.out, "%s%s\n", report.GuestPrefix, b)
}

// Check reports that something was proven (err is nil) or refuted.
func (s *Session) Check(name string, err error) bool {
	r := report.Record{Kind: report.Check, Name: name, OK: err == nil}
	if err != nil {
		r.Text = err.Error()
	}
	s.send(r)
	return err == nil
}

// Value reports a value that dom0 keeps or compares.
func (s *Session) Value(name, value string) {
	s.send(report.Record{Kind: report.Value, Name: name, Text: value})
}

// Metric reports a measurement.
func (s *Session) Metric(name string, value float64, unit string) {
	s.send(report.Record{Kind: report.Metric, Name: name, Value: value, Unit: unit})
}

// device opens the TPM at its first use.
func (s *Session) device() (*Device, error) {
	if s.dev != nil {
		return s.dev, nil
	}
	var err error
	s.dev, err = OpenWhenReady(DevicePath, 20*time.Second)
	return s.dev, err
}

// release closes the TPM, for programs that open it themselves: it can be opened once.
func (s *Session) release() error {
	if s.dev == nil {
		return nil
	}
	d := s.dev
	s.dev = nil
	return d.Close()
}

// Reboot starts the guest again.
func Reboot() error { return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) }

// PowerOff switches the guest off.
func PowerOff() error { return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) }
