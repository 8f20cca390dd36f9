package xenstore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/xenstore"
	"xenvtpm/board/xen/xentest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newPair(t *testing.T) (h *xentest.Hypervisor, a, b *xentest.Domain) {
	t.Helper()
	h = xentest.New(t)
	return h, h.NewDomain(1), h.NewDomain(2)
}

func TestNodes(t *testing.T) {
	h, a, _ := newPair(t)
	xs := a.Store
	must(t, xs.Write("data/x", "value with \x00 inside"))
	v, err := xs.Read("/local/domain/1/data/x")
	if err != nil || v != "value with \x00 inside" {
		t.Errorf("%q, %v", v, err)
	}
	if v, ok := h.Get("/local/domain/1/data/x"); !ok || v != "value with \x00 inside" {
		t.Errorf("server has %q", v)
	}
	must(t, xs.Mkdir("data/dir"))
	must(t, xs.Mkdir("data/dir")) // again: no error
	must(t, xs.Write("data/deep/er/node", ""))
	names, err := xs.Directory("data")
	if err != nil || !slices.Equal(names, []string{"deep", "dir", "x"}) {
		t.Errorf("%q, %v", names, err)
	}
	if names, err = xs.Directory("data/dir"); err != nil || len(names) != 0 {
		t.Errorf("empty directory: %q, %v", names, err)
	}
	for path, want := range map[string]bool{"data/x": true, "data/y": false, "data/y/z": false} {
		if ok, err := xs.Exists(path); ok != want || err != nil {
			t.Errorf("Exists(%s) = %v, %v", path, ok, err)
		}
	}
	must(t, xs.Rm("data/deep"))
	must(t, xs.Rm("data/deep")) // parent exists: no error
	if _, err := xs.Read("data/deep/er/node"); !errors.Is(err, xenstore.ErrNotExist) {
		t.Errorf("read of a removed node: %v", err)
	}
	perms, err := xs.GetPerms("data/x")
	if err != nil || fmt.Sprint(perms) != "[n1]" {
		t.Errorf("%v, %v", perms, err)
	}
	want := []xenstore.Perm{{Dom: 1}, {Dom: 2, Read: true}, {Dom: 3, Read: true, Write: true}}
	must(t, xs.SetPerms("data/x", want))
	if perms, err = xs.GetPerms("data/x"); err != nil || !slices.Equal(perms, want) {
		t.Errorf("%v, %v", perms, err)
	}
}

func TestPermissions(t *testing.T) {
	h, a, b := newPair(t)
	must(t, a.Store.Write("data/secret", "s"))
	must(t, a.Store.Write("data/open", "o"))
	must(t, a.Store.SetPerms("data/open", []xenstore.Perm{{Dom: 1}, {Dom: 2, Read: true}}))
	if _, err := b.Store.Read("/local/domain/1/data/secret"); !errors.Is(err, xenstore.ErrPermission) {
		t.Errorf("stranger reads: %v", err)
	}
	if v, err := b.Store.Read("/local/domain/1/data/open"); err != nil || v != "o" {
		t.Errorf("friend reads %q, %v", v, err)
	}
	for name, err := range map[string]error{
		"write":                b.Store.Write("/local/domain/1/data/open", "x"),
		"create":               b.Store.Write("/local/domain/1/data/new", "x"),
		"remove":               b.Store.Rm("/local/domain/1/data/open"),
		"set perms":            b.Store.SetPerms("/local/domain/1/data/open", []xenstore.Perm{{Dom: 2}}),
		"give away":            a.Store.SetPerms("data/open", []xenstore.Perm{{Dom: 2}}),
		"own device directory": a.Store.Write("device/vtpm/0/backend", "x"),
		"uuid of a backend":    a.Store.Write("backend/vtpm/1/0/uuid", "x"),
	} {
		if !errors.Is(err, xenstore.ErrPermission) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if v, _ := h.Get("/local/domain/1/data/open"); v != "o" {
		t.Error("a refused write had an effect")
	}
}

func TestRefusedBeforeSending(t *testing.T) {
	_, a, _ := newPair(t)
	prod := a.StorePage.Load32(abi.XenstoreReqProd)
	for _, path := range []string{"", "a//b", "/x/", "a\x00b", strings.Repeat("a", 3000)} {
		if _, err := a.Store.Read(path); !errors.Is(err, xenstore.ErrInvalidPath) {
			t.Errorf("%.20q: %v", path, err)
		}
	}
	if err := a.Store.Write("data/x", strings.Repeat("v", 4096)); !errors.Is(err, xenstore.ErrTooLong) {
		t.Errorf("value too long: %v", err)
	}
	if _, err := a.Store.Watch("a b", func(string) {}); !errors.Is(err, xenstore.ErrInvalidPath) {
		t.Errorf("watch: %v", err)
	}
	if a.StorePage.Load32(abi.XenstoreReqProd) != prod {
		t.Error("something was sent")
	}
}

func TestQuota(t *testing.T) {
	h, a, _ := newPair(t)
	h.SetQuota(xentest.Quota{Nodes: 12, Value: 100, Watches: 2, Transactions: 1})
	if err := a.Store.Write("data/x", strings.Repeat("v", 101)); !errors.Is(err, xenstore.ErrQuota) {
		t.Errorf("value: %v", err)
	}
	var err error
	for i := 0; err == nil && i < 100; i++ {
		err = a.Store.Write(fmt.Sprintf("data/n%d", i), "")
	}
	if !errors.Is(err, xenstore.ErrQuota) || !errors.Is(err, abi.ENOSPC) {
		t.Errorf("nodes: %v", err)
	}
	for range 2 {
		_, err := a.Store.Watch("data", func(string) {})
		must(t, err)
	}
	if _, err := a.Store.Watch("data", func(string) {}); !errors.Is(err, xenstore.ErrQuota) {
		t.Errorf("watches: %v", err)
	}
	err = a.Store.Transaction(func(*xenstore.Tx) error {
		return a.Store.Transaction(func(*xenstore.Tx) error { return nil })
	})
	if !errors.Is(err, xenstore.ErrQuota) {
		t.Errorf("transactions: %v", err)
	}
}

func TestLongDirectory(t *testing.T) {
	h, a, _ := newPair(t)
	var want []string
	for i := range 2000 { // about 11 KB of names: three parts
		name := fmt.Sprintf("n%04d", i)
		want = append(want, name)
		h.Set("/local/domain/1/data/list/"+name, "", xenstore.Perm{Dom: 0, Read: true})
	}
	h.Set("/local/domain/1/data/list", "", xenstore.Perm{Dom: 0, Read: true})
	got, err := a.Store.Directory("data/list")
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%d names, %v", len(got), err)
	}
	// The directory changes after the first part: the listing starts again.
	changed := false
	h.StoreFault = func(_ abi.DomID, req xenstore.Packet) *xentest.StoreFault {
		if req.Type == abi.XS_DIRECTORY_PART && !strings.HasSuffix(string(req.Payload), "\x000\x00") && !changed {
			changed = true
			v := "some other generation\x00n9999\x00"
			return &xentest.StoreFault{Value: &v}
		}
		return nil
	}
	if got, err = a.Store.Directory("data/list"); err != nil || !slices.Equal(got, want) || !changed {
		t.Errorf("after a change: %d names, %v", len(got), err)
	}
	h.StoreFault = func(_ abi.DomID, req xenstore.Packet) *xentest.StoreFault {
		if req.Type == abi.XS_DIRECTORY_PART {
			v := "1\x00"
			return &xentest.StoreFault{Value: &v}
		}
		return nil
	}
	if _, err = a.Store.Directory("data/list"); !errors.Is(err, xenstore.ErrCorrupt) {
		t.Errorf("a part without an end: %v", err)
	}
}

func TestTransaction(t *testing.T) {
	h, a, _ := newPair(t)
	must(t, a.Store.Write("data/n", "0"))
	err := a.Store.Transaction(func(tx *xenstore.Tx) error {
		must(t, tx.Write("data/n", "1"))
		must(t, tx.Mkdir("data/dir"))
		if v, err := tx.Read("data/n"); err != nil || v != "1" {
			t.Errorf("inside: %q, %v", v, err)
		}
		if v, err := a.Store.Read("data/n"); err != nil || v != "0" {
			t.Errorf("outside: %q, %v", v, err)
		}
		return nil
	})
	must(t, err)
	if v, _ := h.Get("/local/domain/1/data/n"); v != "1" {
		t.Errorf("after commit: %q", v)
	}
	mine := errors.New("mine")
	err = a.Store.Transaction(func(tx *xenstore.Tx) error {
		must(t, tx.Write("data/n", "2"))
		return mine
	})
	if !errors.Is(err, mine) {
		t.Errorf("error from inside: %v", err)
	}
	if v, _ := h.Get("/local/domain/1/data/n"); v != "1" {
		t.Errorf("after abort: %q", v)
	}
	// The server has ended the aborted one: more than it allows can follow.
	for range 20 {
		if err := a.Store.Transaction(func(*xenstore.Tx) error { return mine }); !errors.Is(err, mine) {
			t.Fatal(err)
		}
	}
	// Read-modify-write against a busy neighbour: nothing gets lost.
	tries := 0
	err = a.Store.Transaction(func(tx *xenstore.Tx) error {
		v, err := tx.Read("data/n")
		if err != nil {
			return err
		}
		if tries++; tries < 4 {
			h.Set("/local/domain/1/data/n", fmt.Sprint(10*tries))
		}
		return tx.Write("data/n", v+"!")
	})
	must(t, err)
	if v, _ := h.Get("/local/domain/1/data/n"); v != "30!" || tries != 4 {
		t.Errorf("%q after %d tries", v, tries)
	}
	tries = 0
	err = a.Store.Transaction(func(tx *xenstore.Tx) error {
		_, err := tx.Read("data/n")
		tries++
		h.Set("/local/domain/1/data/n", fmt.Sprint(tries))
		return err
	})
	if !errors.Is(err, xenstore.ErrConflict) || tries < 10 || tries > 100 {
		t.Errorf("endless conflict: %v after %d tries", err, tries)
	}
}

func dispatch(t *testing.T, d *xentest.Domain) {
	t.Helper()
	must(t, d.Store.Dispatch())
}

func TestWatch(t *testing.T) {
	h, a, _ := newPair(t)
	var rel, abs []string
	w, err := a.Store.Watch("data", func(p string) { rel = append(rel, p) })
	must(t, err)
	_, err = a.Store.Watch("/local/domain/1/data/x", func(p string) { abs = append(abs, p) })
	must(t, err)
	if len(rel)+len(abs) != 0 {
		t.Error("a callback ran outside Dispatch")
	}
	dispatch(t, a)
	h.Set("/local/domain/1/data/x", "1")
	h.Set("/local/domain/1/data/x/sub", "2")
	h.Set("/local/domain/1/data/y", "3")
	h.Set("/local/domain/1/database", "4") // not below data
	h.Remove("/local/domain/1/data")
	if len(rel) != 1 {
		t.Error("a callback ran outside Dispatch")
	}
	dispatch(t, a)
	if want := []string{"data", "data/x", "data/x/sub", "data/y", "data"}; !slices.Equal(rel, want) {
		t.Errorf("relative watch: %q", rel)
	}
	x := "/local/domain/1/data/x"
	// The last event, x itself, is equal to the first that waits: one is enough.
	if want := []string{x, x, x + "/sub"}; !slices.Equal(abs, want) {
		t.Errorf("absolute watch: %q", abs)
	}
	h.Set("/local/domain/1/data", "again", xenstore.Perm{Dom: 1})
	must(t, w.Close())
	must(t, w.Close())
	rel = nil
	dispatch(t, a)
	h.Set("/local/domain/1/data/z", "")
	dispatch(t, a)
	if len(rel) != 0 {
		t.Errorf("events after Close: %q", rel)
	}
}

// TestEventsWakeTheMainLoop: events that come in with the answer to a request
// must not be left lying until the next event.
func TestEventsWakeTheMainLoop(t *testing.T) {
	h, a, _ := newPair(t)
	fired := 0
	_, err := a.Store.Watch("data", func(string) { fired++ })
	must(t, err)
	dispatch(t, a)
	h.Set("/local/domain/1/data/x", "1")
	_, err = a.Store.Read("data/x") // takes the event from the ring
	must(t, err)
	before := h.Now()
	a.Channels.Wait(before + int64(time.Hour))
	if h.Now()-before > int64(time.Second) {
		t.Error("Wait slept although an event waits for Dispatch")
	}
	dispatch(t, a)
	if fired != 2 {
		t.Errorf("fired %d times", fired)
	}
}

func TestCallbacksMayUseTheClient(t *testing.T) {
	h, a, _ := newPair(t)
	depth, calls := 0, 0
	var w *xenstore.Watch
	var err error
	w, err = a.Store.Watch("data", func(p string) {
		depth++
		calls++
		if depth > 1 {
			t.Error("callback inside a callback")
		}
		if _, err := a.Store.Read("domid"); err != nil {
			t.Error(err)
		}
		if calls < 3 {
			if err := a.Store.Write("data/c", fmt.Sprint(calls)); err != nil {
				t.Error(err)
			}
		}
		if err := a.Store.Dispatch(); err != nil { // its event is there, and must wait
			t.Error(err)
		}
		if calls == 3 {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}
		depth--
	})
	must(t, err)
	for range 10 {
		a.Channels.Wait(h.Now() + int64(time.Second))
		dispatch(t, a)
	}
	if calls != 3 {
		t.Errorf("%d calls", calls)
	}
}

// TestEventFlood: a neighbour that changes very many nodes costs bounded
// memory, and afterwards every watch has been told to look.
func TestEventFlood(t *testing.T) {
	h, a, _ := newPair(t)
	seen, whole, other := map[string]bool{}, 0, 0
	_, err := a.Store.Watch("data", func(p string) {
		seen[p] = true
		if p == "data" {
			whole++
		}
	})
	must(t, err)
	_, err = a.Store.Watch("control/shutdown", func(string) { other++ })
	must(t, err)
	dispatch(t, a)
	for i := range 1000 {
		h.Set(fmt.Sprintf("/local/domain/1/data/n%d", i), "", xenstore.Perm{Dom: 1})
	}
	h.Set("/local/domain/1/control/shutdown", "poweroff")
	for range 10 {
		a.Channels.Wait(h.Now() + int64(time.Second))
		dispatch(t, a)
	}
	if whole != 2 || other != 2 {
		t.Errorf("fired as a whole %d times, the other watch %d times", whole, other)
	}
	if len(seen) < 200 || len(seen) > 600 {
		t.Errorf("%d single events", len(seen))
	}
}

func TestIdleServesOthers(t *testing.T) {
	h, a, _ := newPair(t)
	idle, nested := 0, 0
	var xs *xenstore.Client
	fired := 0
	xs = xenstore.New(xenstore.Config{
		Transport: xenstore.NewRing(a.StorePage, a.Channels, a.StorePort),
		Timeout:   time.Second,
		Idle: func() {
			idle++
			if idle == 1 {
				if v, err := xs.Read("domid"); err == nil && v == "1" {
					nested++ // its answer must not be taken for the other's
				}
				before := fired
				if err := xs.Dispatch(); err != nil || fired != before {
					t.Errorf("Dispatch inside Idle ran a callback, or failed: %v", err)
				}
			}
		},
	})
	h.StoreFault = func(_ abi.DomID, req xenstore.Packet) *xentest.StoreFault {
		if string(req.Payload) == "never\x00" {
			return &xentest.StoreFault{Drop: true}
		}
		return nil
	}
	_, err := xs.Watch("data", func(string) { fired++ })
	must(t, err)
	if _, err := xs.Read("never"); !errors.Is(err, xenstore.ErrTimeout) {
		t.Errorf("%v", err)
	}
	must(t, xs.Dispatch())
	if fired != 1 {
		t.Errorf("fired %d times", fired)
	}
	if idle == 0 || nested != 1 {
		t.Errorf("idle ran %d times, nested request answered %d times", idle, nested)
	}
}

// TestBigTraffic pushes answers and requests larger than the ring.
func TestBigTraffic(t *testing.T) {
	h, a, _ := newPair(t)
	h.SetQuota(xentest.Quota{Nodes: 1000, Value: 4096, Watches: 128, Transactions: 10})
	for n := 0; n < 4000; n += 333 {
		want := strings.Repeat("x", n)
		must(t, a.Store.Write("data/big", want))
		got, err := a.Store.Read("data/big")
		if err != nil || got != want {
			t.Fatalf("%d bytes: got %d, %v", n, len(got), err)
		}
	}
}
