package dom0

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// xlLimit bounds every call of xl: libxl's own limits are 10 s each, and a
// removal can wait for two of them.
const xlLimit = 3 * time.Minute

// listEvery is how often xl list may be called. Under emulation each call costs a good part of
// a processor for a tenth of a second.
const listEvery = 400 * time.Millisecond

// xl calls Xen's toolstack and measures it.
type xl struct{}

// do runs xl and returns its output and how long it took.
func (xl) do(args ...string) (string, time.Duration, error) {
	start := time.Now()
	out, err := run(xlLimit, append([]string{"xl"}, args...)...)
	return out, time.Since(start), err
}

// Entry is a line of xl list.
type Entry struct {
	Name  string
	ID    int
	State string  // such as "-b----" or "---sc-"
	CPU   float64 // seconds used
}

// Shutdown reports whether the domain has stopped running.
func (e Entry) Shutdown() bool { return strings.ContainsAny(e.State, "scd") }

// Crashed reports whether it stopped with the crash reason.
func (e Entry) Crashed() bool { return strings.Contains(e.State, "c") }

func (x xl) list() ([]Entry, error) {
	out, _, err := x.do("list")
	if err != nil {
		return nil, err
	}
	return parseList(out)
}

// parseList reads: Name ID Mem VCPUs State Time(s). A zombie's name is "(null)".
func parseList(out string) ([]Entry, error) {
	var list []Entry
	for i, line := range strings.Split(strings.TrimSpace(out), "\n") {
		f := strings.Fields(line)
		if i == 0 || len(f) == 0 {
			continue
		}
		if len(f) != 6 {
			return nil, fmt.Errorf("xl list: cannot read the line %q", line)
		}
		id, err1 := strconv.Atoi(f[1])
		cpu, err2 := strconv.ParseFloat(f[5], 64)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("xl list: cannot read the line %q", line)
		}
		list = append(list, Entry{Name: f[0], ID: id, State: f[4], CPU: cpu})
	}
	return list, nil
}

func (x xl) find(id int) (Entry, bool, error) {
	list, err := x.list()
	for _, e := range list {
		if e.ID == id {
			return e, true, err
		}
	}
	return Entry{}, false, err
}

// Domain is one that the job created.
type Domain struct {
	Name    string
	ID      int
	Created time.Duration // time that xl create took
	Console *Console
	reports *guestReports
	xl      xl
}

// create writes a configuration and starts the domain.
func (l *Lab) create(name, config string) (*Domain, error) {
	return l.createWith(name, config, "xl", "create")
}

// createWith starts the domain by a command that takes its configuration.
func (l *Lab) createWith(name, config string, command ...string) (*Domain, error) {
	file := filepath.Join(runDir, name+".cfg")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	d := &Domain{Name: name, reports: &guestReports{}}
	d.Console = l.follow(name, d.reports)
	start := time.Now()
	_, err := run(xlLimit, append(command, file)...)
	took := time.Since(start)
	if err != nil {
		d.Console.Close()
		return nil, fmt.Errorf("%w\n%s", err, tail("/var/log/xen/xl-"+name+".log", 5))
	}
	d.Created = took
	out, _, err := l.xl.do("domid", name)
	if err == nil {
		d.ID, err = strconv.Atoi(strings.TrimSpace(out))
	}
	if err != nil {
		// It can have come and gone already, with on_poweroff destroy.
		d.ID = -1
	}
	return d, nil
}

// Stopped waits until the domain has shut down or is gone. gone is true in the latter case.
func (d *Domain) Stopped(limit time.Duration) (e Entry, gone bool, err error) {
	err = waitEvery(listEvery, limit, "domain "+d.Name+" to stop", func() bool {
		found := false
		var lerr error
		e, found, lerr = d.xl.find(d.ID)
		gone = lerr == nil && !found
		return gone || found && e.Shutdown()
	})
	return e, gone, err
}

// Destroy removes the domain and returns how long that took.
func (d *Domain) Destroy() (time.Duration, error) {
	_, took, err := d.xl.do("destroy", d.Name)
	return took, err
}

// ShutDown asks the domain to power off and waits until it is gone.
func (d *Domain) ShutDown(limit time.Duration) (time.Duration, error) {
	start := time.Now()
	if _, _, err := d.xl.do("shutdown", d.Name); err != nil {
		return time.Since(start), err
	}
	err := waitEvery(listEvery, limit, "domain "+d.Name+" to disappear", func() bool {
		if _, found, err := d.xl.find(d.ID); err != nil || found {
			return false
		}
		// libxl removes the name from xenstore a moment after the domain is gone; until then nobody can take it.
		_, _, err := d.xl.do("domid", d.Name)
		return err != nil
	})
	return time.Since(start), err
}

func tail(name string, n int) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
