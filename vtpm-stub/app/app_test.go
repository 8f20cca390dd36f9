package app_test

import (
	"bytes"
	"encoding/binary"
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
	"xenvtpm/drivers/tpmback"
	"xenvtpm/drivers/tpmwire"
	"xenvtpm/vtpm-stub/app"
	"xenvtpm/vtpmmgr-stub/proto"
)

// Domains and identities of the tests.
const (
	managerDom = abi.DomID(1)
	vtpmDom    = abi.DomID(2)
	guestDom   = abi.DomID(3)

	vtpmUUID  = "11111111-2222-3333-4444-555555555555"
	guestUUID = "66666666-7777-8888-9999-aaaaaaaaaaaa"
)

// host is a fake Xen with a manager, a vTPM domain and a guest. What survives a
// power cut is in durable.
type host struct {
	t  *testing.T
	h  *xentest.Hypervisor
	ts *xentest.Toolstack

	vtpm *xentest.Domain
	fe   *drivertest.LinuxFront
	log  *lines
}

// durable is the disk and the manager's records.
type durable struct {
	disk    *xentest.Disk
	mode    xentest.DiskConfig
	records map[tpmback.UUID][]byte
	refuse  proto.Result // answer to every LOAD and SAVE
	random  byte

	// swallow, if set, sees a request first, and reports whether it gets no answer.
	swallow func(proto.Request) bool

	certify   bool // the manager knows CERTIFY_KEY
	certified int  // how often it was asked
}

func newDurable() *durable {
	return &durable{disk: xentest.NewDisk(2 << 20), records: make(map[tpmback.UUID][]byte)}
}

// lines collects the vTPM's log.
type lines struct {
	mu  sync.Mutex
	all []string
	t   *testing.T
}

func (l *lines) logf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, fmt.Sprintf(format, args...))
	l.t.Logf(format, args...)
}

func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, s := range l.all {
		if strings.Contains(s, part) {
			n++
		}
	}
	return n
}

// boot starts everything: manager, vTPM, guest.
func boot(t *testing.T, d *durable, cmdline string) *host {
	t.Helper()
	return bootAs(t, d, cmdline, "")
}

// bootAs is boot with what the toolstack says of the guest's start, "" for
// nothing.
func bootAs(t *testing.T, d *durable, cmdline, said string) *host {
	t.Helper()
	x := &host{t: t, h: xentest.New(t), log: &lines{t: t}}
	x.ts = x.h.Toolstack()
	t.Cleanup(x.off)
	mgr := x.h.NewDomain(managerDom)
	mgr.Run(func() { d.manager(t, mgr) })
	x.vtpm = x.h.NewDomain(vtpmDom)
	if _, err := x.ts.AddVTPM(vtpmDom, managerDom, 0, vtpmUUID); err != nil {
		t.Fatal(err)
	}
	x.ts.AddDisk(vtpmDom, 51712, d.disk, d.mode)
	x.startVTPM(cmdline)
	guest := x.h.NewDomain(guestDom)
	dev, err := x.ts.AddVTPM(guestDom, vtpmDom, 0, guestUUID)
	if err != nil {
		t.Fatal(err)
	}
	if said != "" {
		x.h.Set(dev.BackPath()+"/boot", said)
	}
	x.fe = &drivertest.LinuxFront{Dom: guest, Dev: dev}
	if err := x.fe.Probe(); err != nil {
		t.Fatal(err)
	}
	if err := x.fe.Connect(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *host) startVTPM(cmdline string) {
	opts, err := startinfo.ParseCmdline(cmdline)
	if err != nil {
		x.t.Fatal(err)
	}
	d := x.vtpm
	d.Run(func() {
		a, err := app.New(app.Config{
			Store: d.Store, Channels: d.Channels, Grants: d.Grants, Options: opts, Logf: x.log.logf,
			Report: func() string { return "report" },
		})
		if err != nil {
			x.t.Errorf("app.New: %v", err)
			return
		}
		if _, err := d.Store.Watch("control/shutdown", func(string) {
			if v, err := d.Store.Read("control/shutdown"); err == nil && v != "" {
				a.Stop()
			}
		}); err != nil {
			x.t.Errorf("watch: %v", err)
			return
		}
		if err := a.Run(); err != nil && !d.Dead() {
			x.t.Errorf("Run: %v", err)
		}
	})
}

// off destroys all domains, as a power cut does.
func (x *host) off() {
	for id := abi.DomID(1); id < 20; id++ {
		if d := x.h.Domain(id); d != nil {
			x.h.Destroy(d)
		}
	}
	x.h.Join()
}

// manager serves the protocol as the real one does, from memory.
func (d *durable) manager(t *testing.T, dom *xentest.Domain) {
	b, err := tpmback.New(tpmback.Config{Store: dom.Store, Channels: dom.Channels, Grants: dom.Grants})
	if err != nil {
		t.Errorf("manager: %v", err)
		return
	}
	dom.Store.SetIdle(b.Poll)
	for dom.Store.Dispatch() == nil {
		b.Poll()
		for req := b.Next(); req != nil; req = b.Next() {
			r, err := proto.ParseRequest(req.Command)
			if err != nil {
				t.Errorf("manager: %v", err)
			}
			if d.swallow != nil && d.swallow(r) {
				continue
			}
			result, body := d.answer(req.UUID, r)
			_ = req.Respond(proto.AppendResponse(nil, r.Tag, result, body)) // the vTPM may be gone
		}
		if !dom.Store.Pending() {
			dom.Channels.Wait(b.Deadline())
		}
	}
}

func (d *durable) answer(u tpmback.UUID, r proto.Request) (proto.Result, []byte) {
	switch {
	case r.Tag == proto.TagRqu && r.Ordinal == proto.OrdTPMGetRandom:
		n := min(binary.BigEndian.Uint32(r.Body), 20) // less than asked, as hardware may
		d.random++
		return proto.Success, append(binary.BigEndian.AppendUint32(nil, n), bytes.Repeat([]byte{d.random}, int(n))...)
	case r.Tag == proto.TagRqu && r.Ordinal == proto.OrdTPMPcrRead:
		return proto.Success, bytes.Repeat([]byte{r.Body[3]}, 20)
	case r.Tag != proto.TagVTPM:
		return proto.BadTag, nil
	case r.Ordinal == proto.OrdCertifyKey:
		d.certified++
		if !d.certify {
			return proto.BadOrdinal, nil
		}
		return proto.Success, certificate(r.Body)
	case r.Ordinal == proto.OrdSaveHashKey || r.Ordinal == proto.OrdLoadHashKey:
		if d.refuse != 0 {
			return d.refuse, nil
		}
		if r.Ordinal == proto.OrdSaveHashKey {
			d.records[u] = bytes.Clone(r.Body)
			return proto.Success, nil
		}
		if rec := d.records[u]; rec != nil {
			return proto.Success, rec
		}
		return proto.BadParameter, nil
	}
	return proto.BadOrdinal, nil
}

// send is one write and read of /dev/tpm0.
func (x *host) send(cmd []byte) (tpmwire.Header, []byte) {
	x.t.Helper()
	rsp, err := x.fe.Command(cmd, 120*time.Second)
	if err != nil {
		x.t.Fatalf("command %x: %v", cmd, err)
	}
	h, err := tpmwire.ParsePacket(rsp)
	if err != nil {
		x.t.Fatalf("answer %x: %v", rsp, err)
	}
	return h, rsp[tpmwire.HeaderSize:]
}

// packet builds a command from a tag, a code and big-endian parts.
func packet(tag tpmwire.Tag, code uint32, parts ...any) []byte {
	var body []byte
	for _, p := range parts {
		switch v := p.(type) {
		case uint8:
			body = append(body, v)
		case uint16:
			body = binary.BigEndian.AppendUint16(body, v)
		case uint32:
			body = binary.BigEndian.AppendUint32(body, v)
		case []byte:
			body = append(body, v...)
		default:
			panic("packet: type")
		}
	}
	h := tpmwire.Header{Tag: tag, Size: uint32(tpmwire.HeaderSize + len(body)), Code: code}
	return append(h.Append(nil), body...)
}

// password is the authorization area of an empty password.
var password = packetArea()

func packetArea() []byte {
	area := binary.BigEndian.AppendUint32(nil, 0x40000009)
	area = append(area, 0, 0, 0, 0, 0) // no nonce, attributes, empty password
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(area))), area...)
}

func nvDefine(index uint32) []byte {
	pub := binary.BigEndian.AppendUint32(nil, index)
	pub = append(pub, 0x00, 0x0B)             // SHA-256
	pub = append(pub, 0x00, 0x04, 0x00, 0x04) // AUTHREAD, AUTHWRITE
	pub = append(pub, 0, 0, 0, 8)             // no policy, 8 bytes
	return packet(tpmwire.TagSessions, 0x12A, uint32(0x40000001), password, uint16(0), uint16(len(pub)), pub)
}

func nvWrite(index uint32, data string) []byte {
	return packet(tpmwire.TagSessions, 0x137, index, index, password, uint16(len(data)), []byte(data), uint16(0))
}

func nvRead(index uint32) []byte {
	return packet(tpmwire.TagSessions, 0x14E, index, index, password, uint16(8), uint16(0))
}

const index = 0x01500001

// A whole life: a new TPM, an NV index written, a power cut, the same TPM.
func TestStateSurvivesPowerCut(t *testing.T) {
	d := newDurable()
	x := boot(t, d, "")
	if h, _ := x.send(nvDefine(index)); h.Code != 0 {
		t.Fatalf("NV_DefineSpace: %#x", h.Code)
	}
	if h, _ := x.send(nvWrite(index, "survives")); h.Code != 0 {
		t.Fatalf("NV_Write: %#x", h.Code)
	}
	if x.log.count("making a new TPM") != 1 || len(d.records) != 1 {
		t.Fatal("no new TPM was made and saved")
	}
	x.off()
	d.disk = d.disk.PowerCut(func(i int) bool { return i%2 == 0 })

	x = boot(t, d, "")
	h, body := x.send(nvRead(index))
	if h.Code != 0 || !bytes.Contains(body, []byte("survives")) {
		t.Fatalf("NV_Read: %#x %q", h.Code, body)
	}
	if x.log.count("making a new TPM") != 0 {
		t.Fatal("a new TPM was made")
	}
	x.ts.Shutdown(x.vtpm, "poweroff")
	x.h.WaitUntil(5*time.Second, func(xentest.View) bool { return x.log.count("commands; report") == 1 })
	if x.log.count("commands; report") != 1 {
		t.Error("no orderly end")
	}
}

// The first commands of Linux's xen-tpmfront, and its sysfs.
func TestLinux12(t *testing.T) {
	x := boot(t, newDurable(), "")
	rqu := func(ord uint32, parts ...any) (tpmwire.Header, []byte) {
		t.Helper()
		h, body := x.send(packet(tpmwire.TagRquCommand, ord, parts...))
		if h.Tag != tpmwire.TagRspCommand {
			t.Fatalf("ordinal %#x: tag %#x", ord, h.Tag)
		}
		return h, body
	}
	prop := func(p uint32) []byte {
		t.Helper()
		h, body := rqu(101, uint32(5), uint32(4), p)
		if h.Code != 0 {
			t.Fatalf("property %#x: %d", p, h.Code)
		}
		if n := binary.BigEndian.Uint32(body); int(n) != len(body)-4 {
			t.Fatalf("property %#x: size %d of %d", p, n, len(body))
		}
		return body[4:]
	}
	if len(prop(0x115)) != 16 || len(prop(0x120)) != 12 {
		t.Fatal("timeouts or durations")
	}
	if short := binary.BigEndian.Uint32(prop(0x120)); short < 10000 {
		t.Errorf("short duration %d us would be taken for ms", short)
	}
	digest := bytes.Repeat([]byte{7}, 20)
	h, before := rqu(21, uint32(10))
	if h.Code != 0 || !bytes.Equal(before, make([]byte, 20)) {
		t.Fatalf("PCRRead: %d %x", h.Code, before)
	}
	h, after := rqu(20, uint32(10), digest)
	if h.Code != 0 || bytes.Equal(after, before) {
		t.Fatalf("Extend: %d %x", h.Code, after)
	}
	if h, again := rqu(21, uint32(10)); h.Code != 0 || !bytes.Equal(again, after) {
		t.Fatalf("PCRRead after Extend: %x", again)
	}
	if h, rnd := rqu(70, uint32(128)); h.Code != 0 || len(rnd) != 132 || bytes.Equal(rnd[4:24], rnd[24:44]) {
		t.Fatalf("GetRandom: %d, %d bytes", h.Code, len(rnd))
	}
	if h, _ := rqu(124, bytes.Repeat([]byte{0}, 20)); h.Code != 10 {
		t.Errorf("ReadPubek: %d", h.Code)
	}
}

// What must end in failure mode: nothing is written, every command is refused,
// and the log says why.
func TestRefusals(t *testing.T) {
	used := func() *durable {
		d := newDurable()
		x := boot(t, d, "")
		if h, _ := x.send(nvDefine(index)); h.Code != 0 {
			t.Fatalf("NV_DefineSpace: %#x", h.Code)
		}
		x.off()
		d.disk = d.disk.PowerCut(func(i int) bool { return i%2 == 0 })
		return d
	}
	older := newDurable()
	var olderImage []byte
	{
		x := boot(t, older, "")
		olderImage = image(t, older.disk)
		for range 2 {
			if h, _ := x.send(nvDefine(index)); h.Code != 0 {
				t.Fatalf("NV_DefineSpace: %#x", h.Code)
			}
			x.send(packet(tpmwire.TagSessions, 0x122, uint32(0x40000001), uint32(index), password))
		}
		x.off()
	}
	for _, c := range []struct {
		name    string
		prepare func() *durable
		cmdline string
		log     string
	}{
		{"flipped byte", func() *durable {
			d := used()
			for _, at := range []int64{0, 1 << 20} {
				flip(t, d.disk, at+70)
			}
			return d
		}, "", "matches neither slot"},
		{"older disk", func() *durable {
			write(t, older.disk, olderImage)
			return older
		}, "", "matches neither slot"},
		{"lost record", func() *durable {
			d := used()
			d.records = map[tpmback.UUID][]byte{}
			return d
		}, "", "not blank"},
		{"blank disk", func() *durable {
			d := used()
			d.disk = xentest.NewDisk(2 << 20)
			return d
		}, "", "matches neither slot"},
		{"manager refuses", func() *durable {
			d := used()
			d.refuse = proto.Disabled
			return d
		}, "", "DISABLED"},
		{"manager fails on a blank disk", func() *durable {
			d := newDurable()
			d.refuse = proto.Fail
			return d
		}, "", "FAIL"},
		{"small disk", func() *durable {
			d := newDurable()
			d.disk = xentest.NewDisk(512 << 10)
			return d
		}, "", "too small"},
		{"misspelt option", newDurable, "localty=0", "localty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := c.prepare()
			before, records := image(t, d.disk), fmt.Sprint(d.records)
			x := boot(t, d, c.cmdline)
			for _, cmd := range [][]byte{
				nvRead(index), nvDefine(index), packet(tpmwire.TagNoSessions, 0x17B, uint16(8)),
			} {
				if h, _ := x.send(cmd); h.Code != tpmwire.RCFailure || h.Tag != tpmwire.TagNoSessions {
					t.Errorf("answer %+v", h)
				}
			}
			if h, _ := x.send(packet(tpmwire.TagRquCommand, 101, uint32(5), uint32(4), uint32(0x115))); h.Code != tpmwire.Result12Fail {
				t.Errorf("1.2 answer %+v", h)
			}
			if x.log.count("FAILURE MODE") != 1 || x.log.count(c.log) == 0 {
				t.Errorf("the log does not say %q once", c.log)
			}
			x.off()
			if !bytes.Equal(before, image(t, d.disk)) || records != fmt.Sprint(d.records) {
				t.Error("a refusal wrote something")
			}
		})
	}
}

// Disk errors have the same outcome.
func TestDiskFails(t *testing.T) {
	for _, op := range []string{"write", "flush"} {
		d := newDurable()
		x := boot(t, d, "")
		x.send(nvDefine(index))
		bad := false
		d.disk.Fault = func(o string, _ int64, _ int) error {
			if bad && o == op {
				return errors.New("medium error")
			}
			return nil
		}
		bad = true
		if h, _ := x.send(nvWrite(index, "not kept")); h.Code != tpmwire.RCFailure {
			t.Fatalf("%s: NV_Write: %#x", op, h.Code)
		}
		x.off()
		bad = false
		d.disk = d.disk.PowerCut(func(i int) bool { return i%2 == 0 })
		x = boot(t, d, "")
		if h, _ := x.send(nvRead(index)); h.Code == tpmwire.RCFailure {
			t.Fatalf("%s: the old state is not found", op)
		}
		x.off()
	}
}

// Packets that are none, or not for a vTPM.
func TestBadPackets(t *testing.T) {
	x := boot(t, newDurable(), "locality=1-2")
	for _, c := range []struct {
		name string
		cmd  []byte
		tag  tpmwire.Tag
		code uint32
	}{
		{"manager's tag", packet(tpmwire.TagVTPMRequest, 2), 0x01C4, tpmwire.Result12BadTag},
		{"administration", packet(tpmwire.TagVTPMManage, 0x02000101), 0x01C5, tpmwire.Result12BadTag},
		{"unknown tag", packet(0x1234, 1), tpmwire.TagRspCommand, tpmwire.RCBadTag},
		{"locality 0 not allowed, 2.0", packet(tpmwire.TagNoSessions, 0x17B, uint16(8)), tpmwire.TagNoSessions, tpmwire.RCLocality},
		{"locality 0 not allowed, 1.2", packet(tpmwire.TagRquCommand, 70, uint32(8)), tpmwire.TagRspCommand, 0x3D},
	} {
		h, _ := x.send(c.cmd)
		if h.Tag != c.tag || h.Code != c.code {
			t.Errorf("%s: %+v", c.name, h)
		}
	}
}

// A guest that comes before the manager waits for its answer and gets it.
func TestManagerComesLate(t *testing.T) {
	d := newDurable()
	x := &host{t: t, h: xentest.New(t), log: &lines{t: t}}
	x.ts = x.h.Toolstack()
	t.Cleanup(x.off)
	x.vtpm = x.h.NewDomain(vtpmDom)
	mgr := x.h.NewDomain(managerDom)
	x.ts.PlugVTPM(vtpmDom, managerDom, 0, vtpmUUID)
	x.ts.AddDisk(vtpmDom, 51712, d.disk, xentest.DiskConfig{})
	x.startVTPM("")
	guest := x.h.NewDomain(guestDom)
	dev, err := x.ts.AddVTPM(guestDom, vtpmDom, 0, guestUUID)
	if err != nil {
		t.Fatal("a guest cannot be created while the vTPM waits for the manager:", err)
	}
	x.fe = &drivertest.LinuxFront{Dom: guest, Dev: dev}
	if err := x.fe.Probe(); err != nil {
		t.Fatal(err)
	}
	x.h.Go(func() {
		x.h.Sleep(10 * time.Second)
		mgr.Run(func() { d.manager(t, mgr) })
	})
	if h, _ := x.send(packet(tpmwire.TagNoSessions, 0x17B, uint16(8))); h.Code != 0 {
		t.Fatalf("GetRandom: %#x", h.Code)
	}
}

func image(t *testing.T, d *xentest.Disk) []byte {
	t.Helper()
	b := make([]byte, d.Size())
	if _, err := d.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, d *xentest.Disk, b []byte) {
	t.Helper()
	if _, err := d.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
}

func flip(t *testing.T, d *xentest.Disk, at int64) {
	t.Helper()
	b := image(t, d)
	b[at] ^= 1
	write(t, d, b)
}

// The manager is restarted while a guest works: nothing is lost and the guest
// sees no error.
func TestManagerRestarts(t *testing.T) {
	d := newDurable()
	x := boot(t, d, "")
	if h, _ := x.send(nvDefine(index)); h.Code != 0 {
		t.Fatalf("NV_DefineSpace: %#x", h.Code)
	}
	// libxl destroys the domain and gives the vTPM a new device on a new one.
	x.h.Destroy(x.h.Domain(managerDom))
	x.h.Go(func() {
		x.h.Sleep(3 * time.Second)
		mgr := x.h.NewDomain(managerDom + 10)
		mgr.Run(func() { d.manager(t, mgr) })
		x.ts.PlugVTPM(vtpmDom, managerDom+10, 0, vtpmUUID)
	})
	if h, _ := x.send(nvWrite(index, "restart!")); h.Code != 0 {
		t.Fatalf("NV_Write: %#x", h.Code)
	}
	if h, body := x.send(nvRead(index)); h.Code != 0 || !bytes.Contains(body, []byte("restart!")) {
		t.Fatalf("NV_Read: %#x %q", h.Code, body)
	}
}
