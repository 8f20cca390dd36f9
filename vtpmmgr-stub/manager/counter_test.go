package manager

import (
	"bytes"
	"errors"
	"testing"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

func TestRollbackOff(t *testing.T) {
	d, hw := newDisk(diskSize), newTPM()
	off := func(d *simDisk, hw *fakeTPM) Config {
		c := config(t, d, hw)
		c.RollbackOff = true
		return c
	}
	m := start(t, off(d, hw))
	n := hw.increases
	if err := vtpmClient(m, 1).SaveHashKey(record(1)); err != nil {
		t.Fatal(err)
	}
	older := bytes.Clone(d.live)
	if err := vtpmClient(m, 1).SaveHashKey(record(2)); err != nil {
		t.Fatal(err)
	}
	if hw.increases != n {
		t.Error("rollback=off increments")
	}
	start(t, config(t, d, hw.restart())) // strict goes on from there
	hw = hw.restart()
	hw.counter += 3
	if _, err := New(quiet(diskOf(older), hw.restart())); !errors.Is(err, ErrRollback) {
		t.Errorf("strict, old disk: %v", err)
	}
	d = diskOf(older)
	m = start(t, off(d, hw)) // the operator's way to accept an old disk
	if r, err := vtpmClient(m, 1).LoadHashKey(); err != nil || r != record(1) {
		t.Errorf("%x %v", r, err)
	}
	start(t, config(t, d, hw.restart())) // and strict is possible again
}

func TestLostIncrementAnswer(t *testing.T) {
	for name, err := range map[string]error{"answer lost": errLostAnswer, "command lost": errors.New("lost")} {
		hw := newTPM()
		m := start(t, config(t, newDisk(diskSize), hw))
		once := true
		hw.fail = func(op string) error {
			if op == "increment" && once {
				once = false
				return err
			}
			return nil
		}
		if err := vtpmClient(m, 1).SaveHashKey(record(1)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if hw.counter != m.nv || m.store.Counter() != m.nv {
			t.Errorf("%s: hardware %d, manager %d, disk %d", name, hw.counter, m.nv, m.store.Counter())
		}
		if !errors.Is(err, errLostAnswer) {
			continue
		}
		hw.counter++
		if err := vtpmClient(m, 1).SaveHashKey(record(2)); err != nil {
			t.Errorf("%s: %v", name, err) // an increment cannot see a foreign one ...
		}
		hw.fail = failOp("increment", err)
		if err := vtpmClient(m, 1).SaveHashKey(record(2)); !errors.Is(err, proto.Fail) || !errors.Is(m.Degraded(), ErrCounterMoved) {
			t.Errorf("%s: a foreign increment: %v, %v", name, err, m.Degraded()) // ... but a read does
		}
	}
}

// A hardware TPM that is busy for a while costs refused saves, not the manager.
func TestBusyTPMPasses(t *testing.T) {
	d, hw := newDisk(diskSize), newTPM()
	m := start(t, config(t, d, hw))
	if err := vtpmClient(m, 1).SaveHashKey(record(1)); err != nil {
		t.Fatal(err)
	}
	before := hw.counter
	hw.fail = func(op string) error {
		if op == "increment" || op == "counter" {
			return hwtpm.ErrBusy
		}
		return nil
	}
	for range 3 {
		if err := vtpmClient(m, 1).SaveHashKey(record(2)); !errors.Is(err, proto.Fail) {
			t.Errorf("save while the TPM is busy: %v", err)
		}
	}
	if m.store.Counter() != before+1 {
		t.Errorf("the disk ran ahead of the counter: %d, hardware %d", m.store.Counter(), hw.counter)
	}
	cut := hw.restart()
	if r, err := vtpmClient(start(t, quiet(diskOf(d.durable), cut)), 1).LoadHashKey(); err != nil || r != record(1) && r != record(2) {
		t.Errorf("power cut meanwhile: %v", err)
	}
	hw.fail = nil
	if err := vtpmClient(m, 1).SaveHashKey(record(3)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if hw.counter != m.store.Counter() || m.Degraded() != nil {
		t.Errorf("hardware %d, disk %d, degraded: %v", hw.counter, m.store.Counter(), m.Degraded())
	}
	if r, err := vtpmClient(start(t, quiet(diskOf(d.durable), hw.restart())), 1).LoadHashKey(); err != nil || r != record(3) {
		t.Errorf("after a restart: %v", err)
	}
}

// While an increment is owed, nothing of its commit is shown or taken over; once
// it is made, all of it.
func TestOwedIsNotShown(t *testing.T) {
	hw := newTPM()
	m := start(t, config(t, newDisk(diskSize), hw))
	s := &site{t: t, m: m, a: &proto.Client{S: client{m: m, admin: true}}}
	if err := vtpmClient(m, 1).SaveHashKey(record(1)); err != nil {
		t.Fatal(err)
	}
	hw.fail = failOp("increment", hwtpm.ErrBusy)
	if err := s.do(proto.OrdCreate, proto.Target{UUID: uuid(7)}); !errors.Is(err, proto.Unavailable) {
		t.Errorf("create: %v", err)
	}
	taken := false
	if err := m.commit(func() { taken = true }); err == nil || taken {
		t.Errorf("a commit behind one that is owed: %v, taken over: %v", err, taken)
	}
	if err := s.do(proto.OrdShow, proto.Target{UUID: uuid(7)}); !errors.Is(err, proto.Unavailable) {
		t.Errorf("shown: %v", err)
	}
	if _, err := vtpmClient(m, 1).LoadHashKey(); !errors.Is(err, proto.Fail) {
		t.Errorf("load: %v", err)
	}
	if _, err := vtpmClient(m, 50).LoadHashKey(); !errors.Is(err, proto.Fail) {
		t.Errorf("load of an unknown uuid: %v", err) // it may be unknown before the commit only
	}
	hw.fail = nil
	if err := s.a.Admin(proto.OrdShow, proto.Target{UUID: uuid(7)}, &proto.VTPM{}); err != nil {
		t.Errorf("shown afterwards: %v", err)
	}
	if r, err := vtpmClient(m, 1).LoadHashKey(); err != nil || r != record(1) {
		t.Errorf("load afterwards: %v", err)
	}
	hw.fail = failOp("increment", hwtpm.ErrBusy)
	if err := m.commit(func() { taken = true }); err == nil || taken {
		t.Errorf("a commit that is owed: %v, taken over: %v", err, taken)
	}
	hw.fail = nil
	if _, err := vtpmClient(m, 1).LoadHashKey(); err != nil || !taken {
		t.Error("what was owed is not taken over")
	}
}
