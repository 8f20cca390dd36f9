package manager

import (
	"bytes"
	"errors"
	"testing"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/store"
	"xenvtpm/vtpmmgr-stub/swtpmtest"
)

func TestSaveLoadAcrossRestart(t *testing.T) {
	d, hw := newDisk(diskSize), newTPM()
	m := start(t, config(t, d, hw))
	c := vtpmClient(m, 1)
	if _, err := c.LoadHashKey(); !errors.Is(err, proto.ErrNoRecord) {
		t.Fatalf("unknown uuid: %v", err)
	}
	for i := range 3 {
		if err := c.SaveHashKey(record(i)); err != nil {
			t.Fatal(err)
		}
	}
	m = start(t, config(t, diskOf(d.live), hw.restart()))
	if r, err := vtpmClient(m, 1).LoadHashKey(); err != nil || r != record(2) {
		t.Fatalf("%x %v", r, err)
	}
	if _, err := vtpmClient(m, 2).LoadHashKey(); !errors.Is(err, proto.ErrNoRecord) {
		t.Fatalf("another uuid: %v", err)
	}
	r := record(2)
	if bytes.Contains(d.live, r[32:]) {
		t.Error("a vTPM's key is on the disk in the clear")
	}
}

func TestOpenTwice(t *testing.T) {
	m := start(t, config(t, newDisk(diskSize), newTPM()))
	a := client{m: m, id: ClientID{Domain: 5}, uuid: uuid(1)}
	b := client{m: m, id: ClientID{Domain: 6}, uuid: uuid(1)}
	ca, cb := &proto.Client{S: a}, &proto.Client{S: b}
	if err := ca.SaveHashKey(record(1)); err != nil { // the first save opens, too
		t.Fatal(err)
	}
	if _, err := cb.LoadHashKey(); !errors.Is(err, proto.Disabled) {
		t.Errorf("load by a second client: %v", err)
	}
	if err := cb.SaveHashKey(record(2)); !errors.Is(err, proto.Disabled) {
		t.Errorf("save by a second client: %v", err)
	}
	if r, err := ca.LoadHashKey(); err != nil || r != record(1) {
		t.Errorf("the first client: %v", err)
	}
	m.Disconnected(a.id)
	if r, err := cb.LoadHashKey(); err != nil || r != record(1) {
		t.Errorf("after the first disconnected: %v", err)
	}
}

func TestBatchSharesOneCommit(t *testing.T) {
	d, hw := newDisk(diskSize), newTPM()
	m := start(t, config(t, d, hw))
	var batch []Request
	for i := range 100 {
		batch = append(batch, Request{Client: ClientID{Domain: uint16(i)}, UUID: uuid(i), Frame: saveFrame(record(i))})
	}
	flushes, increases := d.flushes, hw.increases
	for i, rsp := range m.Handle(batch) {
		if r, err := proto.ParseResponse(rsp); err != nil || r.Result != proto.Success {
			t.Fatalf("save %d: %v %v", i, r, err)
		}
	}
	if f, n := d.flushes-flushes, hw.increases-increases; f != 2 || n != 1 {
		t.Errorf("100 saves cost %d flushes and %d increments, want 2 and 1", f, n)
	}
}

func TestDispatch(t *testing.T) {
	m := start(t, config(t, newDisk(diskSize), newTPM()))
	frame := func(tag proto.Tag, ord uint32, body ...byte) []byte {
		f, _ := proto.Request{Tag: tag, Ordinal: ord, Body: body}.Append(nil)
		return f
	}
	for name, c := range map[string]struct {
		frame []byte
		want  proto.Result
		tag   proto.Tag
	}{
		"empty":              {nil, proto.BadParameter, proto.TagRspPlain},
		"short":              {[]byte{1, 0xC1, 0}, proto.BadParameter, proto.TagRsp},
		"wrong size":         {[]byte{1, 0xC1, 0, 0, 0, 11, 0, 0, 0, 2}, proto.BadParameter, proto.TagRsp},
		"unknown tag":        {frame(0x1234, 2), proto.BadTag, proto.TagRspPlain},
		"2.0 tag":            {frame(0x8001, 0x17B), proto.BadTag, proto.TagRspPlain},
		"unknown ordinal":    {frame(proto.TagVTPM, 99), proto.BadOrdinal, proto.TagRsp},
		"save 51":            {frame(proto.TagVTPM, 1, make([]byte, 51)...), proto.BadParameter, proto.TagRsp},
		"save 65":            {frame(proto.TagVTPM, 1, make([]byte, 65)...), proto.BadParameter, proto.TagRsp},
		"save 52":            {frame(proto.TagVTPM, 1, make([]byte, 52)...), proto.Success, proto.TagRsp},
		"load with body":     {frame(proto.TagVTPM, 2, 1), proto.BadParameter, proto.TagRsp},
		"boot hash":          {frame(proto.TagVTPM, 3), proto.Success, proto.TagRsp},
		"boot hash + body":   {frame(proto.TagVTPM, 3, 1), proto.BadParameter, proto.TagRsp},
		"quote":              {frame(proto.TagVTPM, 4), proto.DisabledCmd, proto.TagRsp},
		"admin":              {frame(proto.TagMgmt, 0x02000101), proto.AuthFail, proto.TagRsp},
		"extend":             {frame(proto.TagRqu, 20, make([]byte, 24)...), proto.DisabledCmd, proto.TagRspPlain},
		"extend with auth":   {frame(proto.TagRquAuth1, 20), proto.DisabledCmd, proto.TagRspPlain},
		"owner clear":        {frame(proto.TagRqu, 91), proto.DisabledCmd, proto.TagRspPlain},
		"random":             {frame(proto.TagRqu, 70, 0, 0, 0, 8), proto.Success, proto.TagRspPlain},
		"random huge":        {frame(proto.TagRqu, 70, 0xFF, 0xFF, 0xFF, 0xFF), proto.Success, proto.TagRspPlain},
		"random no count":    {frame(proto.TagRqu, 70), proto.BadParameter, proto.TagRspPlain},
		"time-outs":          {frame(proto.TagRqu, 101, 0, 0, 0, 5, 0, 0, 0, 4, 0, 0, 1, 0x15), proto.Success, proto.TagRspPlain},
		"durations":          {frame(proto.TagRqu, 101, 0, 0, 0, 5, 0, 0, 0, 4, 0, 0, 1, 0x20), proto.Success, proto.TagRspPlain},
		"other capability":   {frame(proto.TagRqu, 101, 0, 0, 0, 5, 0, 0, 0, 4, 0, 0, 1, 1), proto.DisabledCmd, proto.TagRspPlain},
		"cut capability":     {frame(proto.TagRqu, 101, 0, 0, 0, 5), proto.BadParameter, proto.TagRspPlain},
		"pcr":                {frame(proto.TagRqu, 21, 0, 0, 0, 23), proto.Success, proto.TagRspPlain},
		"pcr 24":             {frame(proto.TagRqu, 21, 0, 0, 0, 24), proto.BadIndex, proto.TagRspPlain},
		"pcr 2^32-1":         {frame(proto.TagRqu, 21, 0xFF, 0xFF, 0xFF, 0xFF), proto.BadIndex, proto.TagRspPlain},
		"hw pcrs":            {frame(proto.TagVTPM, 0x102, 0, 1, 0, 11, 0, 0, 0, 3), proto.Success, proto.TagRsp},
		"hw pcrs version 2":  {frame(proto.TagVTPM, 0x102, 0, 2, 0, 11, 0, 0, 0, 3), proto.BadVersion, proto.TagRsp},
		"hw pcrs bad bank":   {frame(proto.TagVTPM, 0x102, 0, 1, 0, 99, 0, 0, 0, 3), proto.BadParameter, proto.TagRsp},
		"hw pcrs bad mask":   {frame(proto.TagVTPM, 0x102, 0, 1, 0, 11, 1, 0, 0, 3), proto.BadParameter, proto.TagRsp},
		"hw pcrs truncated":  {frame(proto.TagVTPM, 0x102, 0, 1, 0), proto.BadParameter, proto.TagRsp},
		"hello with garbage": {frame(proto.TagVTPM, 0x101, 1), proto.BadParameter, proto.TagRsp},
	} {
		rsp := m.Handle([]Request{{Client: ClientID{Domain: 9}, UUID: uuid(9), Frame: c.frame}})[0]
		r, err := proto.ParseResponse(rsp)
		if err != nil || r.Result != c.want || r.Tag != c.tag {
			t.Errorf("%s: tag %#x %v %v, want %v", name, r.Tag, r.Result, err, c.want)
		}
	}
}

func TestPassThroughValues(t *testing.T) {
	m := start(t, config(t, newDisk(diskSize), newTPM()))
	c := vtpmClient(m, 1)
	if b, err := c.GetRandom(16); err != nil || len(b) != 16 {
		t.Errorf("random: %x %v", b, err)
	}
	if v, err := c.PCRRead(7); err != nil || v != [20]byte(bytes.Repeat([]byte{7}, 20)) {
		t.Errorf("PCR 7: %x %v", v, err)
	}
	v, err := c.HwPCRs(proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 1<<3 | 1<<10})
	if err != nil || len(v) != 2 || v[0][0] != 3 || v[1][0] != 10 || len(v[0]) != 32 {
		t.Errorf("PCRs 3 and 10: %x %v", v, err)
	}
	h, err := c.Hello()
	if err != nil || h.Version != proto.Version || h.Flags != 0 || h.Manager != m.store.ID() {
		t.Errorf("hello: %+v %v", h, err)
	}
}

// TestRefusals: what is put before the manager, and by what name it refuses. A
// refusing manager answers FAIL, goes on giving random bytes, and writes nothing.
func TestRefusals(t *testing.T) {
	d, hw := newDisk(diskSize), newTPM()
	m := start(t, config(t, d, hw))
	if err := vtpmClient(m, 1).SaveHashKey(record(1)); err != nil {
		t.Fatal(err)
	}
	older := bytes.Clone(d.live)
	if err := vtpmClient(m, 1).SaveHashKey(record(2)); err != nil {
		t.Fatal(err)
	}
	newest := bytes.Clone(d.live)
	otherDisk, otherTPM := newDisk(diskSize), newTPM()
	start(t, quiet(otherDisk, otherTPM))

	flip := func(at int) []byte {
		b := bytes.Clone(newest)
		b[at] ^= 1
		return b
	}
	for name, c := range map[string]struct {
		disk []byte
		tpm  func(*fakeTPM)
		cfg  func(*Config)
		want error
	}{
		"older disk":            {disk: older, want: ErrRollback},
		"blank disk":            {disk: make([]byte, diskSize), want: ErrBlanked},
		"foreign disk":          {disk: bytes.Repeat([]byte("data"), diskSize/4), want: store.ErrForeign},
		"small disk":            {disk: make([]byte, 4096), want: store.ErrTooSmall},
		"disk of another":       {disk: otherDisk.live, want: ErrOtherManager},
		"both key areas":        {disk: func() []byte { b := flip(80); b[8*4096+80] ^= 1; return b }(), want: store.ErrKeyArea},
		"newest superblock":     {disk: flipSupers(newest, older), want: ErrRollback},
		"changed PCR":           {tpm: func(h *fakeTPM) { h.pcr[0]++ }, want: hwtpm.ErrPCRMismatch},
		"cleared TPM":           {tpm: func(h *fakeTPM) { *h = *newTPM() }, want: hwtpm.ErrReplaced},
		"counter gone":          {tpm: func(h *fakeTPM) { h.defined = false }, want: hwtpm.ErrCounterMissing},
		"counter of another":    {tpm: func(h *fakeTPM) { h.auth = []byte{1} }, want: hwtpm.ErrCounterReplaced},
		"counter behind":        {tpm: func(h *fakeTPM) { h.counter -= 5 }, want: ErrCounterBehind},
		"counter ahead":         {tpm: func(h *fakeTPM) { h.counter++ }, want: ErrRollback},
		"TPM missing":           {cfg: func(c *Config) { c.HW, c.HWErr = nil, hwtpm.ErrNoTPM }, want: hwtpm.ErrNoTPM},
		"disk missing":          {cfg: func(c *Config) { c.Disk, c.DiskErr = nil, store.ErrIO }, want: store.ErrIO},
		"TPM owned by others":   {tpm: func(h *fakeTPM) { h.fail = failOp("unseal", hwtpm.ErrOwned) }, want: hwtpm.ErrOwned},
		"TPM in failure mode":   {tpm: func(h *fakeTPM) { h.fail = failOp("anchor", hwtpm.ErrFailureMode) }, want: hwtpm.ErrFailureMode},
		"anchor in use":         {tpm: func(h *fakeTPM) { h.fail = failOp("anchor", hwtpm.ErrIndexInUse) }, want: hwtpm.ErrIndexInUse},
		"read-only disk":        {cfg: func(c *Config) { c.Disk.(*simDisk).failWrite = errors.New("read-only") }, want: store.ErrIO},
		"increment fails":       {tpm: func(h *fakeTPM) { h.fail = failOp("increment", hwtpm.ErrBusy) }, want: hwtpm.ErrBusy},
		"anchor of another":     {tpm: func(h *fakeTPM) { h.anchor.Manager[0] ^= 1 }, want: ErrOtherManager},
		"forget another's uuid": {disk: make([]byte, diskSize), cfg: func(c *Config) { c.Forget = proto.UUID{1} }, want: ErrBlanked},
	} {
		t.Run(name, func(t *testing.T) {
			if c.disk == nil {
				c.disk = newest
			}
			disk, tpm := diskOf(c.disk), hw.restart()
			if c.tpm != nil {
				c.tpm(tpm)
			}
			cfg := config(t, disk, tpm)
			if c.cfg != nil {
				c.cfg(&cfg)
			}
			m, err := New(cfg)
			if !errors.Is(err, c.want) || !errors.Is(m.Degraded(), c.want) {
				t.Fatalf("start: %v, want %v", err, c.want)
			}
			c1 := vtpmClient(m, 1)
			if _, err := c1.LoadHashKey(); !errors.Is(err, proto.Fail) {
				t.Errorf("load: %v, want FAIL", err)
			}
			if err := c1.SaveHashKey(record(3)); !errors.Is(err, proto.Fail) {
				t.Errorf("save: %v, want FAIL", err)
			}
			if h, err := c1.Hello(); err != nil || h.Flags&proto.HelloDegraded == 0 {
				t.Errorf("hello: %+v %v", h, err)
			}
			if _, err := c1.GetRandom(8); err != nil && cfg.HW != nil {
				t.Errorf("random: %v", err)
			}
			if name != "increment fails" && !bytes.Equal(disk.live, c.disk) {
				t.Error("a refusing manager wrote to the disk")
			}
		})
	}
}

// flipSupers spoils both copies of the newest superblock. Commits alternate
// between the slots; the older disk of the same store differs in the other one.
func flipSupers(newest, older []byte) []byte {
	b := bytes.Clone(newest)
	for _, slot := range []int{16, 18} {
		at := slot * store.SectorSize
		if !bytes.Equal(newest[at:at+store.SectorSize], older[at:at+store.SectorSize]) {
			b[at+100] ^= 1
			b[at+store.SectorSize+100] ^= 1
		}
	}
	return b
}

func failOp(op string, err error) func(string) error {
	return func(name string) error {
		if name == op {
			return err
		}
		return nil
	}
}

func TestForget(t *testing.T) {
	hw := newTPM()
	m := start(t, config(t, newDisk(diskSize), hw))
	c := config(t, newDisk(diskSize), hw.restart())
	c.Forget = m.store.ID()
	m2 := start(t, c)
	if m2.store.ID() == m.store.ID() {
		t.Error("a new store has the old identity")
	}
}

func TestDiskFull(t *testing.T) {
	d := newDisk(diskSize)
	m := start(t, config(t, d, newTPM()))
	m.logf = func(string, ...any) {}
	n := 0
	for {
		err := vtpmClient(m, n).SaveHashKey(record(n))
		if errors.Is(err, proto.NoSpace) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	t.Logf("1 MiB holds %d vTPMs", n)
	for i := range 50 {
		if err := vtpmClient(m, i).SaveHashKey(record(i + 1)); err != nil {
			t.Fatalf("save of vTPM %d on a full disk: %v", i, err)
		}
	}
	if m.Degraded() != nil {
		t.Error("a full disk degrades the manager")
	}
	s := &site{t: t, m: m, a: &proto.Client{S: client{m: m, admin: true}}}
	if !s.hasEvent(EventFull, "no free sectors left") {
		t.Error("no event")
	}
	for i := range 2 * maxPending { // more events than memory keeps
		s.m.events.add(Event{Kind: EventDamaged, Count: 1, UUID: uuid(i)})
		if i%maxPending == 0 {
			if err := vtpmClient(m, 0).SaveHashKey(record(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := vtpmClient(m, 0).SaveHashKey(record(0)); err != nil || len(m.events.pending) > 2*maxPending+1 || !s.hasEvent(EventLost, " events were not kept") {
		t.Errorf("%d events in memory: %v", len(m.events.pending), err)
	}
	for i := range n / 2 { // what is not needed any more can be deleted, and then there is room
		m.Disconnected(ClientID{Domain: uint16(i) + 10})
		if err := s.do(proto.OrdDelete, proto.Target{UUID: uuid(i)}); err != nil {
			t.Fatalf("delete on a full disk: %v", err)
		}
	}
	if err := vtpmClient(m, n+1).SaveHashKey(record(1)); err != nil || len(m.events.pending) > 0 {
		t.Errorf("after deletes: %v, %d events in memory", err, len(m.events.pending))
	}
}

func TestOnSwtpm(t *testing.T) {
	s := swtpmtest.Start(t, true)
	hw := func() Hardware {
		tpm, err := hwtpm.Open(s, hwtpm.Config{Logf: t.Logf})
		if err != nil {
			t.Fatal(err)
		}
		return tpm
	}
	d := newDisk(diskSize)
	m := start(t, config(t, d, hw()))
	if err := vtpmClient(m, 1).SaveHashKey(record(1)); err != nil {
		t.Fatal(err)
	}
	old := bytes.Clone(d.live)
	if err := vtpmClient(m, 1).SaveHashKey(record(2)); err != nil {
		t.Fatal(err)
	}
	if _, err := vtpmClient(m, 1).PCRRead(0); err != nil {
		t.Errorf("PCR 0 of the SHA-1 bank: %v", err)
	}
	s.PowerCycle()
	m = start(t, config(t, d, hw()))
	if r, err := vtpmClient(m, 1).LoadHashKey(); err != nil || r != record(2) {
		t.Fatalf("after a power cycle: %v", err)
	}
	s.PowerCycle()
	if _, err := New(config(t, diskOf(old), hw())); !errors.Is(err, ErrRollback) {
		t.Errorf("older disk: %v", err)
	}
	if _, err := New(config(t, newDisk(diskSize), hw())); !errors.Is(err, ErrBlanked) {
		t.Errorf("blank disk: %v", err)
	}
	s.Erase()
	if _, err := New(config(t, d, hw())); !errors.Is(err, hwtpm.ErrReplaced) {
		t.Errorf("another TPM: %v", err)
	}
}

func FuzzHandle(f *testing.F) {
	f.Add([]byte{1, 0xC1, 0, 0, 0, 10, 0, 0, 0, 2}, false)
	f.Add(saveFrame(record(1)), false)
	f.Add([]byte{0, 0xC1, 0, 0, 0, 14, 0, 0, 0, 70, 0, 0, 0, 32}, true)
	f.Add([]byte{1, 0xC2, 0, 0, 0, 12, 2, 0, 0x10, 1, 0, 1}, true)
	for ord := range adminOps {
		body := append([]byte{0, 1, 0}, `{"uuid":"00000000-0000-0000-0000-000000000001","group":"00000000-0000-0000-0000-000000000000"}`...)
		frame, _ := proto.Request{Tag: proto.TagMgmt, Ordinal: ord, Body: body}.Append(nil)
		f.Add(frame, true)
		frame, _ = proto.Request{Tag: proto.TagMgmt, Ordinal: ord, Body: append([]byte{0, 1, 0}, `{}`...)}.Append(nil)
		f.Add(frame, true)
	}
	m, err := New(quiet(newDisk(4<<20), newTPM()))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, frame []byte, admin bool) {
		rsp := m.Handle([]Request{{UUID: uuid(len(frame) % 50), Admin: admin, Frame: frame}})[0]
		if _, err := proto.ParseResponse(rsp); err != nil {
			t.Fatalf("answer %x: %v", rsp, err)
		}
		if m.Degraded() != nil {
			t.Fatal(m.Degraded())
		}
	})
}
