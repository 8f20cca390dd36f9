package xenstore_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/ring"
	"xenvtpm/board/xen/xenstore"
	"xenvtpm/board/xen/xentest"
)

// TestBadServer: whatever the server answers, there is a named error within the
// time limit, and after a late or wrong answer the next request works.
func TestBadServer(t *testing.T) {
	value := func(s string) *xentest.StoreFault { return &xentest.StoreFault{Value: &s} }
	raw := func(p xenstore.Packet) *xentest.StoreFault { return &xentest.StoreFault{Raw: p.Append(nil)} }
	read := func(xs *xenstore.Client) error { _, err := xs.Read("domid"); return err }
	list := func(xs *xenstore.Client) error { _, err := xs.Directory("data"); return err }
	perms := func(xs *xenstore.Client) error { _, err := xs.GetPerms("data"); return err }
	tx := func(xs *xenstore.Client) error { return xs.Transaction(func(*xenstore.Tx) error { return nil }) }
	for _, tc := range []struct {
		name  string
		fault *xentest.StoreFault
		op    func(*xenstore.Client) error
		want  error
		fatal bool // the connection is lost for good
	}{
		{"silence", &xentest.StoreFault{Drop: true}, read, xenstore.ErrTimeout, false},
		{"EAGAIN outside a transaction", &xentest.StoreFault{Errno: abi.EAGAIN}, read, xenstore.ErrConflict, false},
		{"an error it did not name", raw(xenstore.Packet{Type: abi.XS_ERROR, ReqID: 1}), read, &xenstore.Error{}, false},
		{"an error we do not know", raw(xenstore.Packet{Type: abi.XS_ERROR, ReqID: 1, Payload: []byte("EFOO\x00")}), read, &xenstore.Error{}, false},
		{"an error with dirt in it", raw(xenstore.Packet{Type: abi.XS_ERROR, ReqID: 1, Payload: []byte("\x1b[2J")}), read, &xenstore.Error{}, false},
		{"an answer of another type", raw(xenstore.Packet{Type: abi.XS_WRITE, ReqID: 1}), read, xenstore.ErrCorrupt, false},
		{"an answer to another request", raw(xenstore.Packet{Type: abi.XS_READ, ReqID: 99}), read, xenstore.ErrTimeout, false},
		{"a watch event without a token", raw(xenstore.Packet{Type: abi.XS_WATCH_EVENT, Payload: []byte("x")}), read, xenstore.ErrTimeout, false},
		{"a watch event of nobody", raw(xenstore.Packet{Type: abi.XS_WATCH_EVENT, Payload: []byte("x\x00t\x00")}), read, xenstore.ErrTimeout, false},
		{"a length of 4097", &xentest.StoreFault{Raw: []byte("\x02\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x10\x00\x00")}, read, xenstore.ErrCorrupt, true},
		{"a length of 2^32-1", &xentest.StoreFault{Raw: []byte("\x02\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff")}, read, xenstore.ErrCorrupt, true},
		{"half a header", &xentest.StoreFault{Raw: []byte("\x02\x00\x00")}, read, xenstore.ErrTimeout, false},
		{"children with slashes", value("a/b\x00"), list, xenstore.ErrCorrupt, false},
		{"children without a name", value("a\x00\x00b\x00"), list, xenstore.ErrCorrupt, false},
		{"children with control bytes", value("a\x1b\x00"), list, xenstore.ErrCorrupt, false},
		{"permissions of nobody", value(""), perms, xenstore.ErrCorrupt, false},
		{"permissions that are none", value("r1\x00zz\x00"), perms, xenstore.ErrCorrupt, false},
		{"transaction 0", value("0\x00"), tx, xenstore.ErrCorrupt, false},
		{"transaction that is no number", value("one\x00"), tx, xenstore.ErrCorrupt, false},
		{"transaction too large", value("4294967296\x00"), tx, xenstore.ErrCorrupt, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, a, _ := newPair(t)
			xs := xenstore.New(xenstore.Config{
				Transport: xenstore.NewRing(a.StorePage, a.Channels, a.StorePort), Timeout: time.Second, Logf: t.Logf,
			})
			h.StoreFault = func(abi.DomID, xenstore.Packet) *xentest.StoreFault { return tc.fault }
			before := h.Now()
			err := tc.op(xs)
			var named *xenstore.Error
			if _, wantNamed := tc.want.(*xenstore.Error); wantNamed {
				if !errors.As(err, &named) || strings.ContainsAny(err.Error(), "\x1b\n") {
					t.Errorf("%v", err)
				}
			} else if !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
			if d := time.Duration(h.Now() - before); d > 2*time.Second {
				t.Errorf("took %v", d)
			}
			h.StoreFault = nil
			if string(tc.fault.Raw) == "\x02\x00\x00" {
				return // the rest of the stream is read as the rest of that header
			}
			switch err := read(xs); {
			case tc.fatal && !errors.Is(err, xenstore.ErrCorrupt):
				t.Errorf("after the stream was lost: %v", err)
			case !tc.fatal && err != nil:
				t.Errorf("the next request: %v", err)
			}
		})
	}
}

// TestCorruptRing: indices that cannot be end the connection, by name.
func TestCorruptRing(t *testing.T) {
	for _, off := range []int{abi.XenstoreReqCons, abi.XenstoreRspProd} {
		_, a, _ := newPair(t)
		a.StorePage.Store32(off, 0x40000000)
		err := a.Store.Dispatch() // looks at what arrives
		if off == abi.XenstoreReqCons {
			_, err = a.Store.Read("domid") // looks at what has room
		}
		if !errors.Is(err, ring.ErrCorrupt) {
			t.Errorf("offset %d: %v", off, err)
		}
		if err := a.Store.Dispatch(); !errors.Is(err, ring.ErrCorrupt) {
			t.Errorf("offset %d: Dispatch goes on: %v", off, err)
		}
	}
}

// TestServerThatDoesNotRead: requests fail in time and what is kept for the
// server is bounded.
func TestServerThatDoesNotRead(t *testing.T) {
	h, a, _ := newPair(t)
	dead := deaf{h: h}
	xs := xenstore.New(xenstore.Config{Transport: &dead, Timeout: time.Second})
	for range 40 {
		if err := xs.Write("data/x", strings.Repeat("v", 4000)); !errors.Is(err, xenstore.ErrTimeout) {
			t.Fatal(err)
		}
	}
	if dead.longest > 80<<10 {
		t.Errorf("%d bytes kept", dead.longest)
	}
	_ = a
}

// deaf is a Transport that takes nothing.
type deaf struct {
	h       *xentest.Hypervisor
	longest int
}

func (d *deaf) Send(p []byte) (int, error)    { d.longest = max(d.longest, len(p)); return 0, nil }
func (d *deaf) Receive(p []byte) (int, error) { return 0, nil }
func (d *deaf) Wait(deadline int64, _ bool)   { d.h.Sleep(time.Duration(deadline - d.Now())) }
func (d *deaf) Rearm()                        {}
func (d *deaf) Nudge() error                  { return nil }
func (d *deaf) Now() int64                    { return d.h.Now() }
