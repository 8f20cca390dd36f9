package tpmback_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/xentest"
	"xenvtpm/drivers/drivertest"
	"xenvtpm/drivers/tpmback"
	"xenvtpm/drivers/tpmfront"
)

// inState waits until the backend shows a state.
func (l *lab) inState(dev xentest.Device, state string) {
	l.t.Helper()
	if !l.h.WaitUntil(time.Minute, func(v xentest.View) bool { s, _ := v.Get(dev.BackPath() + "/state"); return s == state }) {
		s, _ := l.h.Get(dev.BackPath() + "/state")
		l.t.Fatalf("the backend of %v is in state %q, want %q", dev, s, state)
	}
}

// record collects the backend's log.
func (l *lab) record() func() string {
	var mu sync.Mutex
	var lines []string
	l.cfg.Logf = func(f string, a ...any) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, fmt.Sprintf(f, a...))
	}
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(lines, "\n")
	}
}

// With xenstored's limits there is room for as many devices as the backend says
// at its start; the next one is refused by name, at the backend and at the
// frontend, the others do not notice, and it is served when there is room.
func TestRoom(t *testing.T) {
	const nodes = 65
	l := newLab(t)
	l.h.SetQuota(xentest.Quota{Nodes: nodes, Value: 2048, Watches: 4, Transactions: 10})
	log := l.record()
	rooms := make(chan tpmback.Room, 1)
	l.turn = func(b *tpmback.Backend) {
		l.turn = nil
		r, err := b.Room()
		if err != nil {
			t.Error(err)
		}
		rooms <- r
	}
	l.start()
	var room tpmback.Room
	l.h.Block(func() { room = <-rooms })
	if room.Nodes == 0 || room.Devices != 64 { // the default's room is above MaxFrontends
		t.Fatalf("%+v", room)
	}
	n := (nodes - room.Nodes) / 6
	var guests []*drivertest.LinuxFront
	for i := range n {
		guests = append(guests, l.up(abi.DomID(2+i), fmt.Sprintf("%08x-0000-0000-0000-000000000000", i)))
	}
	all := func() {
		t.Helper()
		for _, g := range guests {
			works(t, g, 30)
		}
	}
	all()
	if strings.Contains(log(), "REFUSED") {
		t.Fatalf("%d devices are too many:\n%s", n, log())
	}

	dom := l.h.NewDomain(19)
	dev, err := l.ts.AddVTPM(19, backendDom, 0, drivertest.UUID1)
	if err != nil {
		t.Fatalf("the toolstack: %v", err)
	}
	cfg := tpmfront.Config{Store: dom.Store, Channels: dom.Channels, Grants: dom.Grants, ConnectWait: 5 * time.Second}
	if _, err := tpmfront.Open(cfg); err == nil || !strings.Contains(err.Error(), "refuses the device") {
		t.Fatalf("the frontend one too many: %v", err)
	}
	if want := fmt.Sprintf("frontend 19/0: REFUSED, there is no room beside %d others", n); strings.Count(log(), want) != 1 {
		t.Fatalf("the log does not say %q once:\n%s", want, log())
	}
	all()

	l.h.SetQuota(xentest.Quota{Nodes: 2 * nodes, Value: 2048, Watches: 4, Transactions: 10})
	l.inState(dev, "2")
	f, err := tpmfront.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := drivertest.Command(0x17B, 20)
	if rsp, err := f.Send(cmd); err != nil || string(rsp) != string(drivertest.Echo(cmd)) {
		t.Fatalf("%x %v", rsp, err)
	}
	all()
	must(t, l.ts.Detach(guests[0].Dev))
}

// A device that goes makes room for one that was refused.
func TestRoomAfterDetach(t *testing.T) {
	l := newLab(t)
	l.h.SetQuota(xentest.Quota{Nodes: 24, Value: 2048, Watches: 4, Transactions: 10})
	log := l.record()
	l.start()
	var guests []*drivertest.LinuxFront
	for id := abi.DomID(2); ; id++ {
		f := l.guest(id, drivertest.UUID1)
		guests = append(guests, f)
		l.h.Sleep(2 * time.Second)
		if s, _ := l.h.Get(f.Dev.BackPath() + "/state"); s == "6" {
			break
		}
	}
	last := guests[len(guests)-1]
	if len(guests) < 3 || !strings.Contains(log(), fmt.Sprintf("frontend %d/0: REFUSED", last.Dom.ID)) {
		t.Fatalf("%d devices:\n%s", len(guests), log())
	}
	for _, f := range guests[:2] { // the toolstack's nodes of the refused one count as well
		must(t, l.ts.Detach(f.Dev))
	}
	l.inState(last.Dev, "2")
	must(t, last.Probe())
	must(t, last.Connect(3*time.Second))
	works(t, last, 20)
}
