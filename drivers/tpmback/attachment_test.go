package tpmback_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"xenvtpm/drivers/drivertest"
	"xenvtpm/drivers/tpmback"
)

// attachments is a lab that notes the attachment of each request and the ends of
// attachments.
type attachments struct {
	*lab
	used  []tpmback.Attachment
	ended []uint64
	inOrd []bool // of ended: the frontend had closed
	said  strings.Builder
}

func newAttachments(t *testing.T) *attachments {
	l := &attachments{lab: newLab(t)}
	l.serve = func(_ *tpmback.Backend, req *tpmback.Request) {
		l.used = append(l.used, req.Attachment)
		_ = req.Respond(drivertest.Echo(req.Command)) // the frontend may be gone
	}
	l.cfg.Detached = func(a tpmback.Attachment, closed bool) {
		l.ended, l.inOrd = append(l.ended, a.ID), append(l.inOrd, closed)
	}
	l.cfg.Logf = func(format string, a ...any) { fmt.Fprintf(&l.said, format+"\n", a...) }
	l.start()
	return l
}

// ids are the attachments of the requests so far.
func (l *attachments) ids() (ids []uint64) {
	for _, a := range l.used {
		ids = append(ids, a.ID)
	}
	return ids
}

// However a driver comes and goes, its device is one attachment; each directory
// that the toolstack makes is another one, also under the same number.
func TestAttachmentIdentity(t *testing.T) {
	l := newAttachments(t)
	f := l.up(5, drivertest.UUID1)
	works(t, f, 20)
	for _, again := range []func() error{
		func() error { must(t, f.Unbind()); must(t, f.Run(time.Second)); return f.Probe() },
		func() error { must(t, f.Kexec()); return f.Probe() },
		f.Resume,
	} {
		must(t, again())
		must(t, f.Run(2*time.Second))
		works(t, f, 20)
	}
	must(t, l.ts.Destroy(f.Dom))
	g := l.up(5, drivertest.UUID1)
	works(t, g, 20)
	other := l.up(6, drivertest.UUID2)
	works(t, other, 20)
	if got := l.ids(); !slices.Equal(got, []uint64{1, 1, 1, 1, 2, 3}) {
		t.Fatalf("attachments %v", got)
	}
	if a := l.used[5]; a.Frontend.Domain != 6 || a.UUID.String() != drivertest.UUID2 || a.For != 0 || a.Boot != tpmback.BootUnsaid {
		t.Errorf("%+v", a)
	}
	if !slices.Equal(l.ended, []uint64{1}) {
		t.Errorf("ended: %v", l.ended)
	}
}

// A directory that is removed and made again before the backend looks is another
// attachment, also when the backend has written its state over the first one.
func TestAttachmentMadeAnew(t *testing.T) {
	for _, overwritten := range []bool{false, true} {
		l := newAttachments(t)
		f := l.up(5, drivertest.UUID1)
		works(t, f, 20)
		dev := f.Dev
		l.h.Remove(dev.FrontPath())
		l.h.Remove(dev.BackPath())
		f.Removed()
		l.ts.PlugVTPM(5, backendDom, 0, drivertest.UUID2)
		if overwritten {
			l.h.Set(dev.BackPath()+"/state", "2")
		}
		f = &drivertest.LinuxFront{Dom: f.Dom, Dev: dev}
		must(t, f.Probe())
		must(t, f.Run(3*time.Second))
		works(t, f, 20)
		if got := l.ids(); len(got) != 2 || got[0] == got[1] || l.used[1].UUID.String() != drivertest.UUID2 {
			t.Errorf("overwritten %t: attachments %+v", overwritten, l.used)
		}
		if !slices.Equal(l.ended, []uint64{1}) {
			t.Errorf("overwritten %t: ended %v", overwritten, l.ended)
		}
	}
}

// Whether a frontend has closed before its device is taken away. One that
// closes because it is taken away does not count.
func TestAttachmentClosed(t *testing.T) {
	shutdown := func(l *attachments, f *drivertest.LinuxFront) {
		stalled, err := f.Shutdown()
		if must(t, err); stalled {
			t.Error("the shutdown stalled")
		}
	}
	unbind := func(l *attachments, f *drivertest.LinuxFront) {
		must(t, f.Unbind())
		must(t, f.Run(time.Second))
	}
	for _, c := range []struct {
		name  string
		first func(*attachments, *drivertest.LinuxFront)
		want  bool
	}{
		{"destroyed in use", func(*attachments, *drivertest.LinuxFront) {}, false},
		{"shut down", shutdown, true},
		{"driver unbound", unbind, true},
		{"unbound and bound again", func(l *attachments, f *drivertest.LinuxFront) {
			unbind(l, f)
			must(t, f.Probe())
			must(t, f.Connect(3*time.Second))
		}, false},
		{"detached, and its kernel follows", func(l *attachments, f *drivertest.LinuxFront) {
			background(t, f)
			must(t, l.ts.Detach(f.Dev))
		}, false},
	} {
		l := newAttachments(t)
		f := l.up(5, drivertest.UUID1)
		works(t, f, 20)
		c.first(l, f)
		must(t, l.ts.Destroy(f.Dom))
		if !slices.Equal(l.inOrd, []bool{c.want}) {
			t.Errorf("%s: closed %v, want %t", c.name, l.inOrd, c.want)
		}
	}
}

// What the toolstack's side writes beside the device's own nodes, between xl
// create -p and xl unpause.
func TestAttachmentClaims(t *testing.T) {
	for _, c := range []struct {
		forDomain, boot string
		want            tpmback.Attachment
		refused         string
	}{
		{want: tpmback.Attachment{}},
		{forDomain: "7", want: tpmback.Attachment{For: 7}},
		{boot: "new", want: tpmback.Attachment{Boot: tpmback.BootNew}},
		{forDomain: "32751", boot: "restore", want: tpmback.Attachment{For: 32751, Boot: tpmback.BootRestore}},
		{forDomain: "0", refused: "for-domain"},
		{forDomain: "seven", refused: "for-domain"},
		{forDomain: "", boot: "Restore", refused: "boot"},
		{forDomain: "99999", refused: "for-domain"},
	} {
		l := newAttachments(t)
		f := l.guest(5, drivertest.UUID1)
		if c.forDomain != "" {
			l.h.Set(f.Dev.BackPath()+"/for-domain", c.forDomain)
		}
		if c.boot != "" {
			l.h.Set(f.Dev.BackPath()+"/boot", c.boot)
		}
		must(t, f.Probe())
		err := f.Connect(3 * time.Second)
		if c.refused != "" {
			if err == nil || len(l.used) > 0 || !strings.Contains(l.said.String(), c.refused+" is ") {
				t.Errorf("%+v: connected (%v), or the log does not say why not: %s", c, err, &l.said)
			}
			continue
		}
		must(t, err)
		works(t, f, 20)
		if got := l.used[0]; got.For != c.want.For || got.Boot != c.want.Boot {
			t.Errorf("%+v: got %+v", c, got)
		}
	}
}
