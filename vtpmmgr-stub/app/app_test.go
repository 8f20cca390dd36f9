package app

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/xentest"
	"xenvtpm/boot/startinfo"
	"xenvtpm/drivers/drivertest"
	"xenvtpm/drivers/tpmfront"
	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/manager"
	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/swtpmtest"
)

// host is a fake machine with a manager domain, a disk and a hardware TPM.
type host struct {
	t    testing.TB
	h    *xentest.Hypervisor
	ts   *xentest.Toolstack
	disk *xentest.Disk // nil: the manager gets none
	mode xentest.DiskConfig
	tpm  *swtpmtest.TPM
	mu   sync.Mutex
	log  []string
	next abi.DomID
	mgr  *xentest.Domain
	opts string // the manager's command line

	sleep func(time.Duration) // in the manager's domain
}

func newHost(t *testing.T) *host { return newHostWith(t, true) }

func newHostWith(t testing.TB, tpm2 bool) *host {
	t.Helper()
	h := xentest.New(t)
	l := &host{t: t, h: h, ts: h.Toolstack(), disk: xentest.NewDisk(2 << 20), mode: xentest.DiskConfig{Latency: time.Millisecond}, tpm: swtpmtest.Start(t, tpm2), next: 1}
	t.Cleanup(func() {
		for id := abi.DomID(1); id < l.next; id++ {
			if d := h.Domain(id); d != nil {
				h.Destroy(d)
			}
		}
		h.Join()
	})
	return l
}

func (l *host) newDomain() *xentest.Domain {
	d := l.h.NewDomain(l.next)
	l.next++
	return d
}

func (l *host) logf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log = append(l.log, fmt.Sprintf(format, args...))
}

func (l *host) logged(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(strings.Join(l.log, "\n"), s)
}

// boot starts a manager domain as main does.
func (l *host) boot(tpm func() (TPM, error)) {
	l.t.Helper()
	l.mgr = l.newDomain()
	d := l.mgr
	if l.disk != nil {
		l.ts.AddDisk(d.ID, 51712, l.disk, l.mode)
	}
	cmdline, err := startinfo.ParseCmdline(l.opts)
	if err != nil {
		l.t.Fatal(err)
	}
	opts, err := ParseOptions(cmdline)
	if err != nil {
		l.t.Fatal(err)
	}
	d.Run(func() {
		var a *App
		stop := false
		if _, err := d.Store.Watch("control/shutdown", func(string) {
			v, err := d.Store.Read("control/shutdown")
			if stop = err == nil && v != ""; stop && a != nil {
				a.Stop()
			}
		}); err != nil {
			l.t.Errorf("watch: %v", err)
			return
		}
		a, err = New(Config{Store: d.Store, Channels: d.Channels, Grants: d.Grants, Options: opts, Rand: rand.Reader, Now: time.Now, Logf: l.logf,
			OpenTPM: func(_ func(), sleep func(time.Duration), _ func(string, ...any)) (TPM, error) {
				l.sleep = sleep
				return tpm()
			}})
		if err != nil {
			l.t.Errorf("New: %v", err)
			return
		}
		if stop {
			a.Stop()
		}
		a.Run()
	})
}

func (l *host) bootWithTPM() {
	l.boot(func() (TPM, error) { return l.tpm, nil })
}

// reboot cuts the power of everything.
func (l *host) reboot() {
	l.h.Destroy(l.mgr)
	l.tpm.PowerCycle()
	l.disk = l.disk.PowerCut(nil)
}

// vtpm attaches a vTPM domain and runs f in it.
func (l *host) vtpm(uuid string, f func(d *xentest.Domain, c *proto.Client)) {
	l.t.Helper()
	d := l.newDomain()
	if _, err := l.ts.AddVTPM(d.ID, l.mgr.ID, 0, uuid); err != nil {
		l.t.Fatalf("attaching %s: %v", uuid, err)
	}
	done := make(chan struct{})
	d.Run(func() {
		defer close(done)
		dev, err := tpmfront.Open(tpmfront.Config{Store: d.Store, Channels: d.Channels, Grants: d.Grants})
		if err != nil {
			l.t.Errorf("tpmfront: %v", err)
			return
		}
		f(d, &proto.Client{S: dev})
		if err := dev.Close(); err != nil {
			l.t.Errorf("close: %v", err)
		}
	})
	l.await(done)
	if err := l.ts.Destroy(d); err != nil {
		l.t.Errorf("destroying: %v", err)
	}
}

// await lets virtual time pass until done is closed.
func (l *host) await(done <-chan struct{}) {
	l.t.Helper()
	for range 100_000 {
		select {
		case <-done:
			return
		default:
			l.h.Sleep(5 * time.Millisecond)
		}
	}
	l.t.Fatal("nothing happens any more")
}

func rec(b byte) (r proto.Record) {
	for i := range r {
		r[i] = b + byte(i)
	}
	return r
}

func TestManagerOnXen(t *testing.T) {
	l := newHost(t)
	l.bootWithTPM()
	l.vtpm(drivertest.UUID1, func(_ *xentest.Domain, c *proto.Client) {
		if _, err := c.LoadHashKey(); !errors.Is(err, proto.ErrNoRecord) {
			t.Errorf("first load: %v", err)
		}
		if err := c.SaveHashKey(rec(1)); err != nil {
			t.Errorf("save: %v", err)
		}
		if _, err := c.GetRandom(32); err != nil {
			t.Errorf("random: %v", err)
		}
		if _, err := c.HwPCRs(proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 0xFFFFFF}); err != nil {
			t.Errorf("PCRs: %v", err)
		}
		if _, err := c.Call(proto.TagMgmt, 0x02001001, []byte{0, 1}); !errors.Is(err, proto.AuthFail) {
			t.Errorf("administration by a vTPM: %v", err)
		}
	})
	older := l.disk.Snapshot()
	l.vtpm(drivertest.UUID2, func(_ *xentest.Domain, c *proto.Client) {
		if err := c.SaveHashKey(rec(2)); err != nil {
			t.Errorf("save: %v", err)
		}
	})
	l.reboot()
	l.bootWithTPM()
	for uuid, want := range map[string]byte{drivertest.UUID1: 1, drivertest.UUID2: 2} {
		l.vtpm(uuid, func(_ *xentest.Domain, c *proto.Client) {
			if r, err := c.LoadHashKey(); err != nil || r != rec(want) {
				t.Errorf("%s after the power cut: %v", uuid, err)
			}
		})
	}
	l.ts.Shutdown(l.mgr, "poweroff")
	l.h.Sleep(2 * time.Second)
	l.reboot()
	l.disk = older
	l.bootWithTPM()
	l.vtpm(drivertest.UUID1, func(_ *xentest.Domain, c *proto.Client) {
		if _, err := c.LoadHashKey(); !errors.Is(err, proto.Fail) {
			t.Errorf("load from an older disk: %v, want FAIL", err)
		}
		if err := c.SaveHashKey(rec(9)); !errors.Is(err, proto.Fail) {
			t.Errorf("save to an older disk: %v, want FAIL", err)
		}
	})
	if !l.logged(manager.ErrRollback.Error()) {
		t.Errorf("the log does not name the rollback")
	}
}

// The same on TPM 1.2 hardware.
func TestManagerOnTPM12(t *testing.T) {
	l := newHostWith(t, false)
	l.bootWithTPM()
	l.vtpm(drivertest.UUID1, func(_ *xentest.Domain, c *proto.Client) {
		if err := c.SaveHashKey(rec(1)); err != nil {
			t.Errorf("save: %v", err)
		}
		if h, err := c.Hello(); err != nil || h.Flags != proto.HelloTPM12 {
			t.Errorf("hello: %+v %v", h, err)
		}
		if _, err := c.PCRRead(0); err != nil {
			t.Errorf("PCR: %v", err)
		}
	})
	older := l.disk.Snapshot()
	l.vtpm(drivertest.UUID1, func(_ *xentest.Domain, c *proto.Client) {
		if err := c.SaveHashKey(rec(2)); err != nil {
			t.Errorf("save: %v", err)
		}
	})
	l.reboot()
	l.bootWithTPM()
	l.vtpm(drivertest.UUID1, func(_ *xentest.Domain, c *proto.Client) {
		if r, err := c.LoadHashKey(); err != nil || r != rec(2) {
			t.Errorf("after the power cut: %v", err)
		}
	})
	l.reboot()
	l.disk = older
	l.bootWithTPM()
	l.vtpm(drivertest.UUID1, func(_ *xentest.Domain, c *proto.Client) {
		if _, err := c.LoadHashKey(); !errors.Is(err, proto.Fail) {
			t.Errorf("load from an older disk: %v, want FAIL", err)
		}
	})
	if !l.logged(manager.ErrRollback.Error()) {
		t.Error("the log does not name the rollback")
	}
}

func TestNoTPM(t *testing.T) {
	l := newHost(t)
	l.boot(func() (TPM, error) { return nil, errors.New("reads as ones") })
	l.vtpm(drivertest.UUID1, func(_ *xentest.Domain, c *proto.Client) {
		if _, err := c.LoadHashKey(); !errors.Is(err, proto.Fail) {
			t.Errorf("load: %v, want FAIL", err)
		}
		if h, err := c.Hello(); err != nil || h.Flags&proto.HelloDegraded == 0 {
			t.Errorf("hello: %+v %v", h, err)
		}
	})
	if !l.logged(hwtpm.ErrNoTPM.Error()) || !l.logged("reads as ones") {
		t.Error("the log does not say that the TPM is missing, and why")
	}
}

// A second domain that the toolstack gave the same uuid is refused while the
// first is there, also when the first was destroyed without a word.
func TestSameUUIDTwice(t *testing.T) {
	l := newHost(t)
	l.bootWithTPM()
	first := l.newDomain()
	if _, err := l.ts.AddVTPM(first.ID, l.mgr.ID, 0, drivertest.UUID1); err != nil {
		t.Fatal(err)
	}
	saved := make(chan struct{})
	first.Run(func() {
		dev, err := tpmfront.Open(tpmfront.Config{Store: first.Store, Channels: first.Channels, Grants: first.Grants})
		if err == nil {
			err = (&proto.Client{S: dev}).SaveHashKey(rec(1))
		}
		if err != nil {
			t.Error(err)
		}
		close(saved)
	})
	l.await(saved)
	l.vtpm(drivertest.UUID1, func(_ *xentest.Domain, c *proto.Client) {
		if _, err := c.LoadHashKey(); !errors.Is(err, proto.Disabled) {
			t.Errorf("second client: %v, want DISABLED", err)
		}
	})
	if err := l.ts.Destroy(first); err != nil {
		t.Errorf("destroy: %v", err)
	}
	l.h.Sleep(time.Second)
	l.vtpm(drivertest.UUID1, func(_ *xentest.Domain, c *proto.Client) {
		if r, err := c.LoadHashKey(); err != nil || r != rec(1) {
			t.Errorf("after the first is gone: %v", err)
		}
	})
}

// TestStorm: many vTPM domains save at once, one of them hostile. None starves,
// and saves share commits.
func TestStorm(t *testing.T) {
	const domains, saves = 20, 10
	l := newHost(t)
	l.bootWithTPM()
	var wg sync.WaitGroup
	for i := range domains {
		d := l.newDomain()
		uuid := fmt.Sprintf("00000000-0000-0000-0000-0000000000%02d", i)
		if _, err := l.ts.AddVTPM(d.ID, l.mgr.ID, 0, uuid); err != nil {
			t.Fatal(err)
		}
		wg.Add(1)
		d.Run(func() {
			defer wg.Done()
			dev, err := tpmfront.Open(tpmfront.Config{Store: d.Store, Channels: d.Channels, Grants: d.Grants})
			if err != nil {
				t.Error(err)
				return
			}
			if i == 0 {
				for n := range 20 * saves {
					_, _ = dev.Send([]byte{1, 0xC1, 0, 0, 0, byte(n), 0, 0, 0, byte(n)}) // answers do not matter
				}
				return
			}
			for n := range saves {
				if err := (&proto.Client{S: dev}).SaveHashKey(rec(byte(n))); err != nil {
					t.Errorf("domain %d, save %d: %v", d.ID, n, err)
				}
			}
		})
	}
	before := l.disk.Ops()
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	l.await(done)
	flushes := l.disk.Ops().Flushes - before.Flushes
	t.Logf("%d saves, %d flushes", (domains-1)*saves, flushes)
	if flushes >= 2*(domains-1)*saves {
		t.Error("saves share no commits")
	}
}
