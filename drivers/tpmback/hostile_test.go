package tpmback_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/shm"
	"xenvtpm/board/xen/xenstore"
	"xenvtpm/board/xen/xentest"
	"xenvtpm/drivers/drivertest"
	"xenvtpm/drivers/tpmback"
	"xenvtpm/drivers/tpmif"
)

// header writes the page's first eight bytes in one store.
func header(p *shm.Page, length uint32, state, extra uint8) {
	p.Store64(0, uint64(length)|uint64(state)<<32|uint64(extra)<<56)
}

// answer waits for Finish or Idle and returns the state and what stands at off.
func answer(t *testing.T, f *drivertest.LinuxFront, off int) (state uint8, rsp string) {
	t.Helper()
	_ = f.Dom.Channels.Notify(f.Port)
	for range 100 {
		must(t, f.Run(5*time.Millisecond))
		if s := f.Page.Load8(4); s != 1 && s != 3 {
			b := make([]byte, 10)
			f.Page.CopyOut(b, off)
			return s, hex.EncodeToString(b)
		}
	}
	return f.Page.Load8(4), ""
}

// TestHostilePage: each misuse of the page has its outcome, and a neighbour is
// served before and after it.
func TestHostilePage(t *testing.T) {
	l := newLab(t).start()
	bad, good := l.up(5, drivertest.UUID1), l.up(6, drivertest.UUID2)
	cmd20 := drivertest.Command(0x17B, 12)
	cmd12 := append([]byte{0x00, 0xC1}, cmd20[2:]...)
	for _, tt := range []struct {
		name   string
		length uint32
		extra  uint8
		packet []byte
		want   string
	}{
		{"length 0", 0, 0, cmd20, "80010000000a00000142"},
		{"length 9", 9, 0, cmd20, "80010000000a00000142"},
		{"length 9 of TPM 1.2", 9, 0, cmd12, "00c40000000a00000019"},
		{"length 4089", 4089, 0, cmd20, "80010000000a00000142"},
		{"length 2^32-1", 1<<32 - 1, 0, cmd20, "80010000000a00000142"},
		{"size field too large", 11, 0, cmd20, "80010000000a00000142"},
		{"size field too small", 13, 0, cmd12, "00c40000000a00000019"},
		{"255 extra pages", 12, 255, cmd20, "80010000000a00000142"},
		{"all ones in the packet", 12, 0, []byte(strings.Repeat("\xff", 12)), "00c40000000a0000001e"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			works(t, good, 20)
			off := 8 + 4*int(tt.extra)
			bad.Page.CopyIn(off, tt.packet)
			header(bad.Page, tt.length, 1, tt.extra)
			if s, rsp := answer(t, bad, off); s != 2 || rsp != tt.want {
				t.Fatalf("state %d, %s, want %s", s, rsp, tt.want)
			}
			works(t, bad, 20)
			works(t, good, 20)
		})
	}
}

// TestHostileStates: state bytes out of order and events without a request
// change nothing, and a cancel without a command ends in Idle.
func TestHostileStates(t *testing.T) {
	l := newLab(t).start()
	bad, good := l.up(5, drivertest.UUID1), l.up(6, drivertest.UUID2)
	for s := 0; s < 256; s++ {
		if s == 1 {
			continue
		}
		header(bad.Page, 12, uint8(s), 0)
		_ = bad.Dom.Channels.Notify(bad.Port)
		must(t, bad.Run(2*time.Millisecond))
		want := uint8(s)
		if s == 3 {
			want = 0
		}
		if got := bad.Page.Load8(4); got != want {
			t.Fatalf("state %d became %d", s, got)
		}
	}
	for range 200 {
		_ = bad.Dom.Channels.Notify(bad.Port)
	}
	works(t, good, 20)
	header(bad.Page, 0, 0, 0)
	works(t, bad, 20)
}

// The length and everything else changes after the request was taken.
func TestChangedAfterSubmit(t *testing.T) {
	l := newLab(t)
	var taken string
	l.serve = func(b *tpmback.Backend, req *tpmback.Request) {
		f := l.h.Domain(req.Frontend.Domain)
		if f.ID == 5 {
			l.h.Sleep(50 * time.Millisecond)
			b.Poll()
			taken = hex.EncodeToString(req.Command)
		}
		if err := req.Respond(drivertest.Echo(req.Command)); err != nil {
			t.Errorf("Respond: %v", err)
		}
	}
	l.start()
	bad := l.up(5, drivertest.UUID1)
	cmd := drivertest.Command(0x17B, 20)
	bad.Page.CopyIn(8, cmd)
	header(bad.Page, 20, 1, 0)
	_ = bad.Dom.Channels.Notify(bad.Port)
	must(t, bad.Run(10*time.Millisecond))
	bad.Page.CopyIn(8, []byte(strings.Repeat("\xee", 100)))
	header(bad.Page, 1<<31, 1, 255)
	must(t, bad.Run(100*time.Millisecond))
	if taken != hex.EncodeToString(cmd) {
		t.Fatalf("served %s", taken)
	}
	got := make([]byte, 20)
	bad.Page.CopyOut(got, 8)
	if hex.EncodeToString(got) != hex.EncodeToString(drivertest.Echo(cmd)) || bad.Page.Load32(0) != 20 {
		t.Fatalf("answer %x", got)
	}
}

// A page that is taken away under the backend disconnects that frontend alone.
func TestPageUnmapped(t *testing.T) {
	l := newLab(t).start()
	bad, good := l.up(5, drivertest.UUID1), l.up(6, drivertest.UUID2)
	bad.Dom.Revoke(bad.Ref)
	_ = bad.Dom.Channels.Notify(bad.Port)
	must(t, bad.Run(100*time.Millisecond))
	if !bad.Gone || l.be.Mapped() != 1 {
		t.Fatalf("not disconnected, %d pages mapped", l.be.Mapped())
	}
	works(t, good, 20)
	must(t, bad.Run(time.Second)) // its driver ends
	must(t, l.ts.Detach(bad.Dev))
	works(t, good, 20)
	if n := l.be.Mapped(); n != 1 {
		t.Fatalf("%d pages mapped", n)
	}
}

// TestHostileNodes: what a frontend publishes may be anything.
func TestHostileNodes(t *testing.T) {
	fe := func(f *drivertest.LinuxFront, node, value string) error {
		return f.Dom.Store.Write(f.Dev.FrontPath()+"/"+node, value)
	}
	long := strings.Repeat("9", 1900)
	for _, tt := range []struct {
		name string
		do   func(f *drivertest.LinuxFront) error
	}{
		{"ring-ref missing", func(f *drivertest.LinuxFront) error { return f.Dom.Store.Rm(f.Dev.FrontPath() + "/ring-ref") }},
		{"ring-ref empty", func(f *drivertest.LinuxFront) error { return fe(f, "ring-ref", "") }},
		{"ring-ref a word", func(f *drivertest.LinuxFront) error { return fe(f, "ring-ref", "none") }},
		{"ring-ref negative", func(f *drivertest.LinuxFront) error { return fe(f, "ring-ref", "-1") }},
		{"ring-ref 2^32", func(f *drivertest.LinuxFront) error { return fe(f, "ring-ref", "4294967296") }},
		{"ring-ref 2^32-1", func(f *drivertest.LinuxFront) error { return fe(f, "ring-ref", "4294967295") }},
		{"ring-ref of another's page", func(f *drivertest.LinuxFront) error { return fe(f, "ring-ref", "1") }},
		{"ring-ref of 1900 digits", func(f *drivertest.LinuxFront) error { return fe(f, "ring-ref", long) }},
		{"event-channel missing", func(f *drivertest.LinuxFront) error {
			return f.Dom.Store.Rm(f.Dev.FrontPath() + "/event-channel")
		}},
		{"event-channel 0", func(f *drivertest.LinuxFront) error { return fe(f, "event-channel", "0") }},
		{"event-channel not bound to us", func(f *drivertest.LinuxFront) error { return fe(f, "event-channel", "4000") }},
		{"protocol missing", func(f *drivertest.LinuxFront) error {
			return f.Dom.Store.Rm(f.Dev.FrontPath() + "/feature-protocol-v2")
		}},
		{"protocol 3", func(f *drivertest.LinuxFront) error { return fe(f, "feature-protocol-v2", "3") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t).start()
			good, bad := l.up(6, drivertest.UUID2), l.guest(5, drivertest.UUID1)
			must(t, bad.Share())
			must(t, tt.do(bad))
			must(t, bad.Show(3))
			l.h.Sleep(20 * time.Second)
			works(t, good, 20)
			if s, _ := l.h.Get(bad.Dev.BackPath() + "/state"); s != "5" {
				t.Fatalf("state %q, want Closing after five attempts", s)
			}
			if n := l.be.Mapped(); n != 1 {
				t.Fatalf("%d pages mapped", n)
			}
			// A frontend that mends its ways is served.
			must(t, bad.Show(6))
			l.h.Sleep(time.Second)
			must(t, bad.Probe())
			must(t, bad.Connect(2*time.Second))
			works(t, bad, 20)
			works(t, good, 20)
		})
	}
}

// TestAbsurdDirectories: what should never stand in our own directory leaves
// that device alone and the others served.
func TestAbsurdDirectories(t *testing.T) {
	mine := xenstore.Perm{Dom: backendDom}
	dev := xentest.Device{Kind: "vtpm", Frontend: 7, Backend: backendDom}
	for _, tt := range []struct {
		name, node, value string
	}{
		{"uuid missing", "uuid", ""},
		{"uuid short", "uuid", "1234"},
		{"uuid with other letters", "uuid", "0102030g-0506-0708-090a-0b0c0d0e0f10"},
		{"uuid without dashes", "uuid", "010203040506070809010a0b0c0d0e0f1011"},
		{"frontend-id of another", "frontend-id", "6"},
		{"frontend-id absurd", "frontend-id", "seven"},
		{"frontend-id reserved", "frontend-id", "32752"},
		{"frontend of another", "frontend", "/local/domain/6/device/vtpm/0"},
		{"frontend is no path", "frontend", "/local/domain/7/\x01//"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t).start()
			good := l.up(6, drivertest.UUID2)
			l.h.NewDomain(7)
			nodes := map[string]string{"handle": "0", "uuid": drivertest.UUID1}
			nodes[tt.node] = tt.value
			l.ts.Plug(dev, nodes, nil)
			l.h.Sleep(5 * time.Second)
			if s, _ := l.h.Get(dev.BackPath() + "/state"); s != "1" {
				t.Fatalf("state %q: a device without an identity was taken", s)
			}
			works(t, good, 20)
			// The toolstack takes it away without a wait.
			must(t, l.ts.Detach(dev))
			works(t, good, 20)
		})
	}
	t.Run("names that are no devices", func(t *testing.T) {
		l := newLab(t)
		for _, n := range []string{"x/0", "-1/0", "32752/0", "5/x", "5/-1", "99999999999/0", "5/4294967296"} {
			l.h.Set("/local/domain/1/backend/vtpm/"+n+"/state", "1", mine)
		}
		l.start()
		works(t, l.up(6, drivertest.UUID2), 20)
	})
}

// TestStoreFails: xenstore errors and silence delay a device, they don't lose
// it.
func TestStoreFails(t *testing.T) {
	for _, fault := range []xentest.StoreFault{{Errno: abi.EIO}, {Errno: abi.ENOMEM}, {Errno: abi.EAGAIN}, {Drop: true}} {
		t.Run(fmt.Sprintf("%+v", fault), func(t *testing.T) {
			l := newLab(t)
			n := 0
			l.h.StoreFault = func(dom abi.DomID, req xenstore.Packet) *xentest.StoreFault {
				// Watches are set up once; of the rest every fifth fails.
				if dom != backendDom || req.Type == abi.XS_WATCH || req.Type == abi.XS_UNWATCH {
					return nil
				}
				if n++; n%5 == 0 && n < 100 {
					return &fault
				}
				return nil
			}
			l.start()
			dom := l.h.NewDomain(5)
			f := &drivertest.LinuxFront{Dom: dom, Dev: l.ts.PlugVTPM(5, backendDom, 0, drivertest.UUID1)}
			must(t, f.Probe())
			must(t, f.Connect(5*time.Minute))
			works(t, f, 20)
			background(t, f)
			l.h.Set(f.Dev.BackPath()+"/state", "5")
			l.h.Set(f.Dev.BackPath()+"/online", "0")
			gone := l.h.WaitUntil(5*time.Minute, func(v xentest.View) bool {
				_, there := v.Get(f.Dev.BackPath() + "/state")
				return !there
			})
			if !gone {
				t.Fatal("the directory stays")
			}
			drivertest.Leaks(t, l.h, l.be)
		})
	}
}

// A frontend that changes its state as fast as it can does not keep others from
// being served.
func TestFlappingFrontend(t *testing.T) {
	l := newLab(t)
	lines := 0
	l.cfg.Logf = func(string, ...any) { lines++ }
	l.start()
	good, bad := l.up(6, drivertest.UUID2), l.guest(5, drivertest.UUID1)
	bad.Dom.Run(func() {
		if err := bad.Publish(); err != nil {
			t.Errorf("publish: %v", err)
		}
		for i := 0; ; i++ {
			if err := bad.Show([]int{3, 5, 4, 1, 6, 7, 0, 3, 2, 8}[i%10]); err != nil {
				t.Errorf("show: %v", err)
				return
			}
			bad.Dom.Fire(bad.Port)
			_ = bad.Dom.Channels.Notify(bad.Port)
		}
	})
	start := l.h.Now()
	for range 50 {
		works(t, good, 100)
	}
	if limit := 100 + int(time.Duration(l.h.Now()-start).Seconds()); lines > limit {
		t.Fatalf("%d lines in the log, want at most %d", lines, limit)
	}
	must(t, l.ts.Destroy(bad.Dom))
	works(t, good, 100)
	if z := l.h.Zombies(); len(z) > 0 {
		t.Fatalf("zombies %v", z)
	}
}

func TestResponseTooLarge(t *testing.T) {
	l := newLab(t)
	size := 0
	l.serve = func(_ *tpmback.Backend, req *tpmback.Request) {
		err := req.Respond(make([]byte, size))
		if err == nil {
			t.Errorf("a response of %d bytes was taken", size)
		}
	}
	l.start()
	f := l.up(5, drivertest.UUID1)
	for _, size = range []int{0, 9, tpmif.MaxPacket + 1, 1 << 20} {
		rsp, err := f.Command(drivertest.Command(1, 10), time.Second)
		if err != nil || hex.EncodeToString(rsp) != "80010000000a00000101" {
			t.Fatalf("%d bytes: %x %v", size, rsp, err)
		}
	}
}

func TestCancel(t *testing.T) {
	l := newLab(t)
	l.serve = func(b *tpmback.Backend, req *tpmback.Request) {
		for i := 0; !req.Cancelled(); i++ {
			if i > 100 {
				t.Error("the cancel was not seen")
				break
			}
			l.h.Sleep(50 * time.Millisecond)
			b.Poll()
		}
		var err error
		if req.Command[9] == 1 {
			err = req.Drop()
		} else {
			err = req.Respond(drivertest.Echo(req.Command))
		}
		if err != nil {
			t.Errorf("end: %v", err)
		}
	}
	l.start()
	f := l.up(5, drivertest.UUID1)
	for _, code := range []uint32{1, 2} { // dropped, finished in spite of it
		if _, err := f.Command(drivertest.Command(code, 10), 300*time.Millisecond); err != drivertest.ErrTimedOut {
			t.Fatalf("%v", err)
		}
		must(t, f.Run(time.Second))
		if s := f.Page.Load8(4); s != 0 && s != 2 {
			t.Fatalf("page in state %d", s)
		}
	}
}
