package app_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/drivers/drivertest"
	"xenvtpm/drivers/tpmback"
	"xenvtpm/drivers/tpmwire"
	"xenvtpm/vtpmmgr-stub/proto"
)

const rcRetry = 0x922

// newManager is the manager's domain, started anew, with the vTPM's device given
// to it as vtpm-detach and vtpm-attach do.
func (x *host) newManager(d *durable, id abi.DomID) {
	mgr := x.h.NewDomain(id)
	mgr.Run(func() { d.manager(x.t, mgr) })
	x.ts.PlugVTPM(vtpmDom, id, 0, vtpmUUID)
}

// code is the response code of a command that must be answered.
func (x *host) code(cmd []byte) uint32 {
	x.t.Helper()
	h, _ := x.send(cmd)
	return h.Code
}

// eventually sends a command until it is not answered with TPM_RC_RETRY.
func (x *host) eventually(cmd []byte) (tpmwire.Header, []byte) {
	x.t.Helper()
	for range 20 {
		if h, body := x.send(cmd); h.Code != rcRetry {
			return h, body
		}
	}
	x.t.Fatal("TPM_RC_RETRY for ever")
	return tpmwire.Header{}, nil
}

// nvCounter defines an NV counter; nvIncrement and nvRead do the rest.
func nvCounter(index uint32) []byte {
	pub := binary.BigEndian.AppendUint32(nil, index)
	pub = append(pub, 0x00, 0x0B)
	pub = append(pub, 0x00, 0x04, 0x00, 0x14) // AUTHREAD, AUTHWRITE, TPM_NT_COUNTER
	pub = append(pub, 0, 0, 0, 8)
	return packet(tpmwire.TagSessions, 0x12A, uint32(0x40000001), password, uint16(0), uint16(len(pub)), pub)
}

func nvIncrement(index uint32) []byte {
	return packet(tpmwire.TagSessions, 0x134, index, index, password)
}

// count reads the counter.
func (x *host) count() uint64 {
	x.t.Helper()
	h, body := x.eventually(nvRead(index))
	if h.Code != 0 || len(body) < 14 {
		x.t.Fatalf("NV_Read: %#x %x", h.Code, body)
	}
	return binary.BigEndian.Uint64(body[6:])
}

// counting is a host whose guest has a counter.
func counting(t *testing.T, d *durable, cmdline string) *host {
	t.Helper()
	x := boot(t, d, cmdline)
	for _, cmd := range [][]byte{nvCounter(index), nvIncrement(index)} {
		if rc := x.code(cmd); rc != 0 {
			t.Fatalf("%x: %#x", cmd, rc)
		}
	}
	return x
}

// losing makes the manager's domain end at the next save, before or after the
// record is durable. In both cases there is no answer.
func (x *host) losing(d *durable, durably bool) {
	x.h.Locked(func() {
		d.swallow = func(r proto.Request) bool {
			if r.Ordinal != proto.OrdSaveHashKey {
				return false
			}
			if durably {
				d.records[mustUUID(x.t, vtpmUUID)] = bytes.Clone(r.Body)
			}
			d.swallow = nil
			dom := x.h.Domain(managerDom)
			x.h.Go(func() { x.h.Destroy(dom) })
			return true
		}
	})
}

func mustUUID(t *testing.T, text string) tpmback.UUID {
	u, err := tpmback.ParseUUID(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// The manager goes away while it saves, before or after the record is durable, and
// comes back soon: the guest sees no error, and its command was executed once.
func TestManagerLostInSave(t *testing.T) {
	for _, durably := range []bool{false, true} {
		d := newDurable()
		x := counting(t, d, "")
		x.losing(d, durably)
		x.h.Go(func() {
			x.h.Sleep(20 * time.Second)
			x.newManager(d, managerDom+10)
		})
		if rc := x.code(nvIncrement(index)); rc != 0 {
			t.Fatalf("durable %t: %#x", durably, rc)
		}
		if n := x.count(); n != 2 {
			t.Fatalf("durable %t: the counter is %d, want 2", durably, n)
		}
		if rc := x.code(nvIncrement(index)); rc != 0 || x.count() != 3 {
			t.Fatalf("durable %t: afterwards: %#x", durably, rc)
		}
		x.off()
	}
}

// The vTPM gets another device at the new manager, with another number, as xl
// vtpm-detach and xl vtpm-attach may give it, while a save waits.
func TestManagerReattached(t *testing.T) {
	d := newDurable()
	x := counting(t, d, "")
	x.losing(d, false)
	x.h.Go(func() {
		x.h.Sleep(20 * time.Second)
		x.h.Remove(fmt.Sprintf("/local/domain/%d", managerDom))
		x.h.Sleep(10 * time.Second)
		mgr := x.h.NewDomain(managerDom + 10)
		mgr.Run(func() { d.manager(t, mgr) })
		x.h.Remove(fmt.Sprintf("/local/domain/%d/device/vtpm/0", vtpmDom))
		x.h.Sleep(time.Second)
		x.ts.PlugVTPM(vtpmDom, managerDom+10, 1, vtpmUUID)
	})
	if rc := x.code(nvIncrement(index)); rc != 0 {
		t.Fatalf("%#x", rc)
	}
	if n := x.count(); n != 2 {
		t.Fatalf("the counter is %d, want 2", n)
	}
}

// It stays away for longer than a guest waits: everything is answered with
// TPM_RC_RETRY, what is not durable is not shown, and when it is back the client
// that tries again finds its command done, once.
func TestManagerAwayForLong(t *testing.T) {
	for _, durably := range []bool{false, true} {
		d := newDurable()
		x := counting(t, d, "")
		x.losing(d, durably)
		for _, cmd := range [][]byte{nvIncrement(index), nvRead(index)} {
			start := x.h.Now()
			if rc := x.code(cmd); rc != rcRetry {
				t.Fatalf("durable %t: %#x", durably, rc)
			}
			if took := time.Duration(x.h.Now() - start); took > 100*time.Second {
				t.Fatalf("the guest waited for %v", took)
			}
		}
		if h, _ := x.send(packet(tpmwire.TagRquCommand, 0x15, uint32(0))); h.Code != tpmwire.Result12Retry {
			t.Fatalf("a TPM 1.2 command: %+v", h)
		}
		x.newManager(d, managerDom+10)
		if h, _ := x.eventually(nvIncrement(index)); h.Code != 0 {
			t.Fatalf("durable %t: again: %#x", durably, h.Code)
		}
		if n := x.count(); n != 2 {
			t.Fatalf("durable %t: the counter is %d, want 2", durably, n)
		}
		x.off()
	}
}

// A client that repeats its command, as Linux does for TPM_RC_RETRY, gets the
// answer to the first.
func TestRepeatedCommandIsDoneOnce(t *testing.T) {
	d := newDurable()
	x := counting(t, d, "")
	x.losing(d, false)
	if rc := x.code(nvIncrement(index)); rc != rcRetry {
		t.Fatalf("%#x", rc)
	}
	x.newManager(d, managerDom+10)
	if h, _ := x.eventually(nvIncrement(index)); h.Code != 0 {
		t.Fatalf("%#x", h.Code)
	}
	if n := x.count(); n != 2 {
		t.Fatalf("the counter is %d, want 2", n)
	}
	if rc := x.code(nvIncrement(index)); rc != 0 || x.count() != 3 {
		t.Fatal("a later one is not executed")
	}
}

// A guest that cancels gets its page back, and the change is settled all the same.
func TestCancelWhileHeld(t *testing.T) {
	d := newDurable()
	x := counting(t, d, "")
	x.losing(d, false)
	if _, err := x.fe.Command(nvIncrement(index), 5*time.Second); !errors.Is(err, drivertest.ErrTimedOut) {
		t.Fatal(err)
	}
	if err := x.fe.Run(70 * time.Second); err != nil { // nobody says that the manager is gone
		t.Fatal(err)
	}
	x.newManager(d, managerDom+10)
	if n := x.count(); n != 2 {
		t.Fatalf("the counter is %d, want 2", n)
	}
}

// The vTPM ends while a save is not settled: what a start finds is what the
// manager's record says.
func TestVTPMEndsWhileHeld(t *testing.T) {
	for durably, want := range map[bool]uint64{false: 1, true: 2} {
		d := newDurable()
		x := counting(t, d, "")
		x.losing(d, durably)
		if rc := x.code(nvIncrement(index)); rc != rcRetry {
			t.Fatalf("%#x", rc)
		}
		x.off()
		d.disk = d.disk.PowerCut(func(i int) bool { return i%2 == 0 })
		x = boot(t, d, "")
		if n := x.count(); n != want {
			t.Fatalf("durable %t: the counter is %d, want %d", durably, n, want)
		}
		x.off()
	}
}

// Without a manager, what needs none is executed at once.
func TestReadsWithoutManager(t *testing.T) {
	d := newDurable()
	x := counting(t, d, "")
	x.h.Destroy(x.h.Domain(managerDom))
	start := x.h.Now()
	for _, cmd := range [][]byte{nvRead(index), packet(tpmwire.TagNoSessions, 0x17B, uint16(8))} {
		if rc := x.code(cmd); rc != 0 {
			t.Fatalf("%x: %#x", cmd, rc)
		}
	}
	if took := time.Duration(x.h.Now() - start); took > time.Second {
		t.Fatalf("it took %v", took)
	}
}

// A manager that refuses to save, degraded for a while, is asked again.
func TestManagerRefusesSave(t *testing.T) {
	d := newDurable()
	x := counting(t, d, "")
	x.h.Locked(func() { d.refuse = proto.Fail })
	if rc := x.code(nvIncrement(index)); rc != rcRetry {
		t.Fatalf("%#x", rc)
	}
	if rc := x.code(nvRead(index)); rc != rcRetry {
		t.Fatalf("NV_Read shows what is not durable: %#x", rc)
	}
	x.h.Locked(func() { d.refuse = 0 })
	if n := x.count(); n != 2 {
		t.Fatalf("the counter is %d, want 2", n)
	}
}

// A refusal for good, or a record that is not ours, ends in failure mode.
func TestSaveRefusedForGood(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(x *host, d *durable)
		log   string
	}{
		"AUTHFAIL": {func(x *host, d *durable) { x.h.Locked(func() { d.refuse = proto.AuthFail }) }, "AUTHFAIL"},
		"another record": {func(x *host, d *durable) {
			x.losing(d, false)
			x.h.Go(func() {
				x.h.Sleep(10 * time.Second)
				x.h.Locked(func() { d.records[mustUUID(x.t, vtpmUUID)] = bytes.Repeat([]byte{9}, 64) })
				x.newManager(d, managerDom+10)
			})
		}, "rolled back"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDurable()
			x := counting(t, d, "")
			c.spoil(x, d)
			for _, cmd := range [][]byte{nvIncrement(index), nvRead(index)} {
				if rc := x.code(cmd); rc != tpmwire.RCFailure {
					t.Fatalf("%x: %#x", cmd, rc)
				}
			}
			if x.log.count(c.log) == 0 {
				t.Errorf("the log does not say %q", c.log)
			}
		})
	}
}

// A manager whose first answer comes very late, or that refuses at first: the TPM
// comes up by itself, and a guest that came before is served then.
func TestManagerServesLate(t *testing.T) {
	for name, c := range map[string]struct {
		late     func(d *durable, on bool)
		meantime uint32
		log      string
	}{
		"silent": {func(d *durable, on bool) {
			d.swallow = nil
			if on {
				d.swallow = func(proto.Request) bool { return true }
			}
		}, rcRetry, "WAITING"},
		"degraded": {func(d *durable, on bool) {
			d.refuse = 0
			if on {
				d.refuse = proto.Fail
			}
		}, tpmwire.RCFailure, "FAILURE MODE, guests get TPM_RC_FAILURE until it passes"},
		"open elsewhere": {func(d *durable, on bool) {
			d.refuse = 0
			if on {
				d.refuse = proto.Disabled
			}
		}, tpmwire.RCFailure, "FAILURE MODE, guests get TPM_RC_FAILURE until it passes"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDurable()
			c.late(d, true)
			x := boot(t, d, "")
			for range 3 {
				if rc := x.code(packet(tpmwire.TagNoSessions, 0x17B, uint16(8))); rc != c.meantime {
					t.Fatalf("meanwhile: %#x", rc)
				}
			}
			if err := x.fe.Run(5 * time.Minute); err != nil {
				t.Fatal(err)
			}
			x.h.Locked(func() { c.late(d, false) })
			if err := x.fe.Run(3 * time.Minute); err != nil {
				t.Fatal(err)
			}
			if rc := x.code(packet(tpmwire.TagNoSessions, 0x17B, uint16(8))); rc != 0 {
				t.Fatalf("afterwards: %#x", rc)
			}
			if n := x.log.count(c.log); n == 0 || n > 2 || x.log.count("vtpm: ready") != 1 {
				t.Error("the log does not say it once")
			}
		})
	}
}

// A guest boots, and its TPM needs hardware PCRs of a manager that is away: its
// first command waits, and then finds them.
func TestPowerCycleWithoutManager(t *testing.T) {
	d := newDurable()
	x := boot(t, d, "hwinitpcr=0-7 reset=always")
	x.code(packet(tpmwire.TagNoSessions, 0x17B, uint16(8)))
	before := x.pcr(3)
	x.h.Destroy(x.h.Domain(managerDom))
	x.next(guestDom+1, x.fe.Dom)
	x.h.Go(func() {
		x.h.Sleep(30 * time.Second)
		x.newManager(d, managerDom+10)
	})
	if got := x.pcr(3); got != before || before == "" {
		t.Fatalf("PCR 3 is %s, was %s", got, before)
	}
}

// pcr is TPM2_PCR_Read of one SHA-1 PCR, its digest in hexadecimal.
func (x *host) pcr(n int) string {
	x.t.Helper()
	var mask [3]byte
	mask[n/8] = 1 << (n % 8)
	h, body := x.send(packet(tpmwire.TagNoSessions, 0x17E, uint32(1), uint16(4), uint8(3), mask[:]))
	if h.Code != 0 || len(body) < 20 {
		x.t.Fatalf("PCR_Read: %#x", h.Code)
	}
	return fmt.Sprintf("%x", body[len(body)-20:])
}

// The disk's backend loses a request, and answers after the disk was connected
// anew.
func TestDiskDoesNotAnswer(t *testing.T) {
	d := newDurable()
	lose := false
	d.mode.Mangle = func(rsp []byte) []byte {
		if lose {
			lose = false
			return nil
		}
		return rsp
	}
	x := counting(t, d, "")
	x.h.Locked(func() { lose = true })
	if h, _ := x.eventually(nvIncrement(index)); h.Code != 0 {
		t.Fatalf("%#x", h.Code)
	}
	if n := x.count(); n != 2 {
		t.Fatalf("the counter is %d, want 2", n)
	}
}
