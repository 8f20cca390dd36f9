package tpmback_test

import (
	"strings"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/xentest"
	"xenvtpm/drivers/drivertest"
	"xenvtpm/drivers/tpmback"
)

// FuzzFrontendNodes lets a frontend publish anything. Whatever it is, its
// neighbour is served, and no more than two pages are ever mapped.
func FuzzFrontendNodes(f *testing.F) {
	f.Add("8", "1", "1", "3", uint64(0x0000000100000000))
	f.Add("", "", "", "", uint64(0))
	f.Add("4294967295", "4294967295", "1", "4", ^uint64(0))
	f.Add("-1", "0x1", "2", "9", uint64(0xff00000100000000))
	f.Add("08", "01", "1 ", "33", uint64(0x0000000300000000))
	f.Add("9", "2", "1", "5", uint64(0x0000000100000009))
	f.Fuzz(func(t *testing.T, ref, port, proto, state string, header uint64) {
		for _, s := range []string{ref, port, proto, state} {
			if len(s) > 1000 {
				t.Skip()
			}
		}
		l := newLab(t)
		l.cfg.Logf = func(string, ...any) {}
		l.start()
		good, bad := l.up(6, drivertest.UUID2), l.guest(5, drivertest.UUID1)
		must(t, bad.Publish())
		bad.Page.Store64(0, header)
		for n, v := range map[string]string{"ring-ref": ref, "event-channel": port, "feature-protocol-v2": proto, "state": state} {
			must(t, bad.Dom.Store.Write(bad.Dev.FrontPath()+"/"+n, v))
		}
		l.h.Sleep(2 * time.Second)
		_ = bad.Dom.Channels.Notify(bad.Port)
		l.h.Sleep(10 * time.Second)
		works(t, good, 50)
		if n := l.be.Mapped(); n > 2 {
			t.Fatalf("%d pages mapped", n)
		}
		must(t, l.ts.Destroy(bad.Dom))
		if z := l.h.Zombies(); len(z) > 0 {
			t.Fatalf("zombies %v", z)
		}
		works(t, good, 50)
	})
}

// FuzzOwnNodes puts anything in our own directory, which only the toolstack can
// write: no panic, no hang, and the others are served.
func FuzzOwnNodes(f *testing.F) {
	f.Add("/local/domain/5/device/vtpm/0", "5", drivertest.UUID1, "1", "1")
	f.Add("", "", "", "", "")
	f.Add("/local/domain/6/device/vtpm/0", "6", drivertest.UUID1, "0", "5")
	f.Add("/local/domain/5/", "5", "0102", "2", "6")
	f.Fuzz(func(t *testing.T, front, id, uuid, online, state string) {
		for _, s := range []string{front, id, uuid, online, state} {
			if len(s) > 1000 {
				t.Skip()
			}
		}
		l := newLab(t)
		l.cfg.Logf = func(string, ...any) {}
		l.start()
		good := l.up(6, drivertest.UUID2)
		dev := xentest.Device{Kind: "vtpm", Frontend: 5, Backend: backendDom}
		l.h.NewDomain(abi.DomID(5))
		l.ts.Plug(dev, map[string]string{"frontend": front, "frontend-id": id, "uuid": uuid, "online": online, "state": state}, nil)
		l.h.Sleep(5 * time.Second)
		works(t, good, 50)
		l.h.Remove(dev.BackPath())
		l.h.Sleep(2 * time.Second)
		works(t, good, 50)
	})
}

func FuzzUUID(f *testing.F) {
	f.Add(drivertest.UUID1)
	f.Add("")
	f.Add("01020304-0506-0708-090a-0b0c0d0e0f1")
	f.Add("--------------------------------0000")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := tpmback.ParseUUID(text)
		if err == nil && !strings.EqualFold(u.String(), text) {
			t.Fatalf("%q became %v", text, u)
		}
	})
}
