package dom0

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"xenvtpm/tools/xenlab/report"
	"xenvtpm/tools/xlconf"
)

// guestReports collects what a Debian guest says on its console.
type guestReports struct {
	mu   sync.Mutex
	recs []report.Record
}

// line takes one line of a guest's console; records are passed on to the host.
func (l *Lab) line(g *guestReports, name, text string) {
	raw, ok := strings.CutPrefix(text, report.GuestPrefix)
	if !ok {
		return
	}
	var rec report.Record
	if err := json.Unmarshal([]byte(raw), &rec); err != nil {
		// A damaged line could hide a failed check.
		l.Check("records of "+name+" arrive undamaged", fmt.Errorf("%w: %q", err, raw))
		return
	}
	g.mu.Lock()
	g.recs = append(g.recs, rec)
	g.mu.Unlock()
	if rec.Kind == report.Done {
		return
	}
	rec.Source = name
	if rec.Kind == report.Check && !rec.OK {
		l.failed.Add(1)
	}
	l.send(rec)
}

// find returns the last record of a kind and name; an empty name is any.
func (g *guestReports) find(kind report.Kind, name string) (report.Record, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := len(g.recs) - 1; i >= 0; i-- {
		if g.recs[i].Kind == kind && (name == "" || g.recs[i].Name == name) {
			return g.recs[i], true
		}
	}
	return report.Record{}, false
}

// guestConfig describes a Debian guest of the lab.
type guestConfig struct {
	name       string
	vtpm, uuid string   // its vTPM domain; empty for none
	steps      []string // for package guest
	params     string   // more words for its command line
	onCrash    string   // empty: preserve
	command    []string // of xl; empty: create
}

// guestArgs are the guest kernel's arguments. A PVH guest has no PCI bus and no serial port; looking for
// them costs seconds under emulation. With random addresses, QEMU would translate a program anew at each start.
const guestArgs = "console=hvc0 quiet loglevel=1 pci=off 8250.nr_uarts=0 mitigations=off norandmaps"

// startGuest starts the stock Debian kernel with the lab's process 1.
func (l *Lab) startGuest(g guestConfig) (*Domain, error) {
	initrd := GuestDir + "/initrd"
	if slices.Contains(g.steps, "tools") || slices.Contains(g.steps, "suite") {
		initrd = GuestDir + "/initrd-tools"
	}
	config, err := xlconf.Guest{
		Common: xlconf.Common{Name: g.name, MemoryMB: 256, NativeTSC: true, OnCrash: cmp.Or(g.onCrash, "preserve"),
			Extra: strings.TrimSpace(guestArgs + " lab=" + strings.Join(g.steps, ",") + " " + g.params)},
		Kernel: GuestDir + "/vmlinux", Ramdisk: initrd, VTPM: g.vtpm, UUID: g.uuid,
	}.Config()
	if err != nil {
		return nil, err
	}
	if len(g.command) > 0 {
		return l.createWith(g.name, config, append([]string{"xl"}, g.command...)...)
	}
	return l.create(g.name, config)
}

// guestLimit bounds a guest's boot and its steps under emulation.
const guestLimit = 6 * time.Minute

// Finished waits until the guest has done all its steps.
func (d *Domain) Finished(limit time.Duration) error {
	err := waitFor(limit, "guest "+d.Name+" to finish", func() bool {
		_, ok := d.reports.find(report.Done, "")
		return ok
	})
	if err != nil {
		return fmt.Errorf("%w; its last lines are:\n%s", err, d.Console.Tail(8))
	}
	return nil
}

// Value returns what the guest reported under a name.
func (d *Domain) Value(name string) string {
	r, _ := d.reports.find(report.Value, name)
	return r.Text
}

// WaitValue waits until the guest has reported a value.
func (d *Domain) WaitValue(name string, limit time.Duration) (string, error) {
	err := waitFor(limit, "the value "+name+" from "+d.Name, func() bool { return d.Value(name) != "" })
	return d.Value(name), err
}
