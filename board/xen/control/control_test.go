package control

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/xenstore"
	"xenvtpm/board/xen/xentest"
)

const dir = "/local/domain/1/"

// domain makes a domain with the nodes that libxl makes for its guest to write.
func domain(t *testing.T) (*xentest.Hypervisor, *xentest.Domain) {
	h := xentest.New(t)
	d := h.NewDomain(1)
	for _, n := range []string{"shutdown", "feature-poweroff", "feature-reboot"} {
		h.Set(dir+"control/"+n, "", xenstore.Perm{Dom: 1})
	}
	return h, d
}

func TestOnShutdown(t *testing.T) {
	for _, tt := range []struct {
		request string
		want    []Reason
		left    string // in the node
		log     string
	}{
		{"", nil, "", ""},
		{"poweroff", []Reason{PowerOff}, "", ""},
		{"halt", []Reason{PowerOff}, "", ""},
		{"reboot", []Reason{Reboot}, "", ""},
		{"suspend", nil, "suspend", `cannot "suspend"`},
		{"poweroff\x00", nil, "poweroff\x00", "cannot"},
		{strings.Repeat("x", 2000), nil, strings.Repeat("x", 2000), `cannot "xxxx`},
	} {
		h, d := domain(t)
		var got []Reason
		var log strings.Builder
		logf := func(format string, args ...any) { fmt.Fprintf(&log, format+"\n", args...) }
		if err := OnShutdown(d.Store, logf, func(r Reason) { got = append(got, r) }); err != nil {
			t.Fatal(err)
		}
		turns(t, h, d, 3)
		if log.Len() > 0 || len(got) > 0 {
			t.Fatalf("without a request: %v, %s", got, &log)
		}
		for _, f := range []string{"poweroff", "reboot"} {
			if v, _ := h.Get(dir + "control/feature-" + f); v != "1" {
				t.Errorf("control/feature-%s is %q", f, v)
			}
		}
		h.Set(dir+"control/shutdown", tt.request)
		turns(t, h, d, 5)
		left, _ := h.Get(dir + "control/shutdown")
		if fmt.Sprint(got) != fmt.Sprint(tt.want) || left != tt.left || !strings.Contains(log.String(), tt.log) || len(log.String()) > 200 {
			t.Errorf("%.20q: asked for %v, node is %.20q, log %s", tt.request, got, left, &log)
		}
	}
}

// TestConflict: when somebody else writes while we acknowledge, the request is
// read again, and acted on once; the next request is seen too.
func TestConflict(t *testing.T) {
	h, d := domain(t)
	const node = dir + "control/shutdown"
	var got []Reason
	if err := OnShutdown(d.Store, t.Logf, func(r Reason) { got = append(got, r) }); err != nil {
		t.Fatal(err)
	}
	turns(t, h, d, 3)
	h.Set(node, "poweroff")
	h.StoreFault = func(_ abi.DomID, req xenstore.Packet) *xentest.StoreFault {
		if req.Type == abi.XS_TRANSACTION_END {
			h.StoreFault = nil
			return &xentest.StoreFault{Errno: abi.EAGAIN}
		}
		return nil
	}
	turns(t, h, d, 2)
	h.Set(node, "reboot")
	turns(t, h, d, 5)
	if fmt.Sprint(got) != fmt.Sprint([]Reason{PowerOff, Reboot}) {
		t.Errorf("asked for %v", got)
	}
	if v, _ := h.Get(node); v != "" {
		t.Errorf("the node is %q", v)
	}
}

// turns runs the main loop of d some times.
func turns(t *testing.T, h *xentest.Hypervisor, d *xentest.Domain, n int) {
	t.Helper()
	for range n {
		if err := d.Store.Dispatch(); err != nil {
			t.Fatal(err)
		}
		h.Sleep(time.Millisecond)
	}
}

func TestReasons(t *testing.T) {
	for r, want := range map[Reason]string{PowerOff: "power off", Reboot: "reboot", Crash: "crash", 9: "shutdown reason 9"} {
		if r.String() != want {
			t.Errorf("%d is %q", uint32(r), r)
		}
	}
}
