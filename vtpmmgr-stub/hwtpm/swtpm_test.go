package hwtpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/swtpmtest"
)

var pcrs07 = proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 0xFF}

func open(t testing.TB, s *swtpmtest.TPM, ownerAuth ...byte) *TPM {
	t.Helper()
	tpm, err := Open(s, config(t, ownerAuth...))
	if err != nil {
		t.Fatal(err)
	}
	return tpm
}

func config(t testing.TB, ownerAuth ...byte) Config {
	return Config{OwnerAuth: ownerAuth, Logf: t.Logf, Sleep: func(time.Duration) {}}
}

func extend(t testing.TB, s *swtpmtest.TPM, pcr uint32) {
	t.Helper()
	_, err := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, 32)}}},
	}.Execute(s)
	if err != nil {
		t.Fatal(err)
	}
}

func changeOwnerAuth(t testing.TB, s *swtpmtest.TPM, auth []byte) {
	t.Helper()
	_, err := tpm2.HierarchyChangeAuth{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
		NewAuth:    tpm2.TPM2BAuth{Buffer: auth}}.Execute(s)
	if err != nil {
		t.Fatal(err)
	}
}

func clearTPM(t testing.TB, s *swtpmtest.TPM) {
	t.Helper()
	if _, err := (tpm2.Clear{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHLockout, Auth: tpm2.PasswordAuth(nil)}}).Execute(s); err != nil {
		t.Fatal(err)
	}
}

func TestSealUnsealLocalPolicy(t *testing.T) {
	s := swtpmtest.Start(t, true)
	secret := bytes.Repeat([]byte{0xA5}, 82)
	var clear bool
	s.Before = func(cmd []byte) ([]byte, error) { clear = clear || bytes.Contains(cmd, secret[:16]); return nil, nil }
	s.After = func(_, rsp []byte) ([]byte, error) {
		clear = clear || bytes.Contains(rsp, secret[:16])
		return rsp, nil
	}
	b, err := open(t, s).Seal(secret, Policy{PCRs: pcrs07})
	if err != nil {
		t.Fatal(err)
	}
	enc := b.Append(nil)
	if b, err = ParseBinding(enc); err != nil || !bytes.Equal(b.Append(nil), enc) {
		t.Fatalf("binding does not survive its encoding: %v", err)
	}
	s.PowerCycle()
	got, err := open(t, s).Unseal(b)
	if err != nil || !bytes.Equal(got, secret) {
		t.Fatalf("after a power cycle: %x %v", got, err)
	}
	if clear {
		t.Error("the secret crossed the bus in the clear")
	}
	extend(t, s, 16)
	if _, err := open(t, s).Unseal(b); err != nil {
		t.Errorf("a PCR outside the policy changed: %v", err)
	}
	extend(t, s, 4)
	_, err = open(t, s).Unseal(b)
	if !errors.Is(err, ErrPCRMismatch) || !bytes.Contains([]byte(err.Error()), []byte("PCR 4 changed")) {
		t.Errorf("PCR 4 changed: %v", err)
	}
	// The comparison above is a courtesy; the TPM itself must refuse too.
	b.Values, _ = open(t, s).PCRs(pcrs07)
	if _, err := open(t, s).Unseal(b); !errors.Is(err, ErrPCRMismatch) {
		t.Errorf("binding says PCR 4 is as it was: %v", err)
	}
}

func TestUnsealElsewhere(t *testing.T) {
	s := swtpmtest.Start(t, true)
	b, err := open(t, s).Seal([]byte("secret"), Policy{PCRs: pcrs07})
	if err != nil {
		t.Fatal(err)
	}
	spoiled := *b
	spoiled.Private = bytes.Clone(b.Private)
	spoiled.Private[20] ^= 1
	if _, err := open(t, s).Unseal(&spoiled); !errors.Is(err, ErrSealDamaged) {
		t.Errorf("spoiled object: %v", err)
	}
	running := open(t, s)
	if _, err := running.Unseal(b); err != nil {
		t.Fatal(err)
	}
	clearTPM(t, s)
	if _, err := running.Unseal(b); !errors.Is(err, ErrCleared) {
		t.Errorf("TPM cleared while it runs: %v", err)
	}
	if _, err := open(t, s).Unseal(b); !errors.Is(err, ErrCleared) {
		t.Errorf("cleared TPM: %v", err)
	}
	s.Erase()
	if _, err := open(t, s).Unseal(b); !errors.Is(err, ErrReplaced) {
		t.Errorf("another TPM: %v", err)
	}
}

func TestOwnerAuth(t *testing.T) {
	for name, auth := range map[string][]byte{"text": []byte("secret"), "with a zero byte": {1, 0, 2}} {
		s := swtpmtest.Start(t, true)
		open(t, s)
		changeOwnerAuth(t, s, auth)
		if _, err := open(t, s).Identity(); !errors.Is(err, ErrOwned) {
			t.Errorf("%s: empty owner auth: %v", name, err)
		}
		tpm := open(t, s, auth...)
		b, err := tpm.Seal([]byte("x"), Policy{PCRs: pcrs07})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := tpm.Unseal(b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := tpm.SetAnchor(Anchor{State: AnchorActive}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// An empty owner authorisation is said at each start, and no other.
func TestEmptyOwnerIsSaid(t *testing.T) {
	s := swtpmtest.Start(t, true)
	said := func(auth ...byte) bool {
		log := ""
		c := config(t, auth...)
		c.Logf = func(f string, a ...any) { log += fmt.Sprintf(f, a...) }
		if _, err := Open(s, c); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(log, "owner authorisation of the hardware TPM is empty")
	}
	if !said() || !said() {
		t.Error("empty, and not said")
	}
	changeOwnerAuth(t, s, []byte("set"))
	if said([]byte("set")...) {
		t.Error("said, and not empty")
	}
}

func counterAuth() []byte { return bytes.Repeat([]byte{7, 9}, AuthSize/2) }

func TestCounter(t *testing.T) {
	s := swtpmtest.Start(t, true)
	tpm := open(t, s)
	v, err := tpm.MakeCounter(counterAuth())
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(5) {
		if err := tpm.Increment(); err != nil {
			t.Fatal(err)
		}
		if got, err := tpm.Counter(); err != nil || got != v+i+1 {
			t.Fatalf("after %d increments from %d: %d %v", i+1, v, got, err)
		}
	}
	s.PowerCycle()
	tpm = open(t, s)
	if got, err := tpm.OpenCounter(counterAuth()); err != nil || got != v+5 {
		t.Fatalf("after a power cycle: %d %v", got, err)
	}
	if _, err := tpm.OpenCounter(bytes.Repeat([]byte{1}, AuthSize)); !errors.Is(err, ErrCounterReplaced) {
		t.Errorf("wrong authorisation: %v", err)
	}
	// dom0 flushes everything: the session is made again.
	if _, err := tpm.OpenCounter(counterAuth()); err != nil {
		t.Fatal(err)
	}
	open(t, s)
	if err := tpm.Increment(); err != nil {
		t.Errorf("increment after a foreign flush: %v", err)
	}
	if got, err := tpm.Counter(); err != nil || got != v+6 {
		t.Errorf("after a foreign flush: %d, want %d: %v", got, v+6, err)
	}
	n := s.Commands
	if err := tpm.Increment(); err != nil || s.Commands != n+1 {
		t.Errorf("an increment costs %d commands: %v", s.Commands-n, err)
	}
	// A counter made again never falls back, and has other keys.
	v2, err := tpm.MakeCounter(bytes.Repeat([]byte{3}, AuthSize))
	if err != nil || v2 <= v+6 {
		t.Errorf("new counter starts at %d after %d: %v", v2, v+7, err)
	}
	clearTPM(t, s)
	if _, err := open(t, s).OpenCounter(counterAuth()); !errors.Is(err, ErrCounterMissing) {
		t.Errorf("cleared: %v", err)
	}
}

func TestAnchor(t *testing.T) {
	s := swtpmtest.Start(t, true)
	tpm := open(t, s)
	if a, err := tpm.Anchor(); err != nil || a.State != AnchorNone {
		t.Fatalf("new TPM: %v %v", a, err)
	}
	id := [16]byte{1, 2, 3}
	for _, want := range []Anchor{{AnchorMaking, id}, {AnchorActive, id}} {
		if err := tpm.SetAnchor(want); err != nil {
			t.Fatal(err)
		}
		s.PowerCycle()
		tpm = open(t, s)
		if a, err := tpm.Anchor(); err != nil || a != want {
			t.Fatalf("%v %v, want %v", a, err, want)
		}
	}
	if err := tpm.SetAnchor(Anchor{}); err != nil {
		t.Fatal(err)
	}
	if a, err := tpm.Anchor(); err != nil || a.State != AnchorNone {
		t.Fatalf("removed: %v %v", a, err)
	}
	if err := tpm.defineIndex(DefaultIndex, nil, tpm2.TPMANV{OwnerWrite: true, AuthRead: true}, 8); err != nil {
		t.Fatal(err)
	}
	if _, err := tpm.Anchor(); !errors.Is(err, ErrIndexInUse) {
		t.Errorf("foreign index: %v", err)
	}
}

func TestPCRsAndRandom(t *testing.T) {
	s := swtpmtest.Start(t, true)
	tpm := open(t, s)
	v, err := tpm.PCRs(proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 0xFFFFFF})
	if err != nil || len(v) != 24 {
		t.Fatalf("%d PCRs, %v", len(v), err)
	}
	if v[17][0] != 0xFF || v[0][0] != 0 || v[23][0] != 0 {
		t.Errorf("PCRs out of order: 0 %x, 17 %x, 23 %x", v[0][0], v[17][0], v[23][0])
	}
	if _, err := tpm.PCRs(proto.PCRSelection{Alg: 0x27, Mask: 1}); !errors.Is(err, ErrPCRBank) {
		t.Errorf("SHA3-256 bank: %v", err)
	}
	a, err := tpm.GetRandom(16)
	if err != nil || len(a) != 16 {
		t.Fatalf("%x %v", a, err)
	}
	b, _ := tpm.GetRandom(16)
	if bytes.Equal(a, b) {
		t.Error("random bytes repeat")
	}
}

func TestLeavesNothingLoaded(t *testing.T) {
	s := swtpmtest.Start(t, true)
	tpm := open(t, s)
	b, err := tpm.Seal([]byte("x"), Policy{PCRs: pcrs07})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 { // more than a TPM has slots
		if _, err := tpm.Unseal(b); err != nil {
			t.Fatal(err)
		}
		bad := *b
		bad.Private = bad.Private[:10]
		if _, err := tpm.Unseal(&bad); err == nil {
			t.Fatal("short private part opens")
		}
		if _, err := tpm.MakeCounter(counterAuth()); err != nil {
			t.Fatal(err)
		}
	}
	extend(t, s, 3)
	lie := *b
	lie.Values, _ = tpm.PCRs(pcrs07)
	for range 70 { // more than a TPM has sessions
		if _, err := tpm.Unseal(&lie); !errors.Is(err, ErrPCRMismatch) {
			t.Fatal(err)
		}
	}
	_ = tpm.Close()
	for _, first := range []uint32{0x80000000, 0x02000000} {
		rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 8}.Execute(s)
		if err != nil {
			t.Fatal(err)
		}
		if l, _ := rsp.CapabilityData.Data.Handles(); len(l.Handle) > 0 && uint32(l.Handle[0]) < first+0x02000000 {
			t.Errorf("left loaded: %x", l.Handle)
		}
	}
}

func TestPersistentPrimary(t *testing.T) {
	s := swtpmtest.Start(t, true)
	c := config(t)
	c.Primary = 0x81000123
	tpm, err := Open(s, c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tpm.Identity(); !errors.Is(err, ErrPrimary) {
		t.Errorf("missing: %v", err)
	}
	persist := func(h tpm2.TPMHandle, template tpm2.TPMTPublic) {
		t.Helper()
		rsp, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(template)}.Execute(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (tpm2.EvictControl{Auth: tpm2.TPMRHOwner, ObjectHandle: &tpm2.NamedHandle{Handle: rsp.ObjectHandle, Name: rsp.Name}, PersistentHandle: h}).Execute(s); err != nil {
			t.Fatal(err)
		}
		if _, err := (tpm2.FlushContext{FlushHandle: rsp.ObjectHandle}).Execute(s); err != nil {
			t.Fatal(err)
		}
	}
	persist(0x81000123, tpm2.RSASRKTemplate)
	b, err := tpm.Seal([]byte("x"), Policy{PCRs: pcrs07, Info: rootText})
	if err != nil {
		t.Fatal(err)
	}
	s.PowerCycle()
	if tpm, err = Open(s, c); err != nil {
		t.Fatal(err)
	}
	if got, err := tpm.Unseal(b); err != nil || string(got) != "x" {
		t.Errorf("%q %v", got, err)
	}
	if o, err := tpm.Origin(b, rootText); err != nil || !o.Present {
		t.Errorf("%+v %v", o, err)
	}
	if _, err := tpm.MakeCounter(counterAuth()); err != nil {
		t.Error(err)
	}
	if _, err := open(t, s).Unseal(b); err == nil {
		t.Error("the derived key opens what the persistent one has sealed")
	}
	persist(0x81000124, signTemplate(false))
	c.Primary = 0x81000124
	if tpm, err = Open(s, c); err != nil {
		t.Fatal(err)
	}
	if _, err := tpm.Identity(); !errors.Is(err, ErrPrimary) {
		t.Errorf("a signing key: %v", err)
	}
}

func TestLockoutDoesNotMatter(t *testing.T) {
	s := swtpmtest.Start(t, true)
	tpm := open(t, s)
	b, err := tpm.Seal([]byte("x"), Policy{PCRs: pcrs07})
	if err != nil {
		t.Fatal(err)
	}
	v, err := tpm.MakeCounter(counterAuth())
	if err != nil {
		t.Fatal(err)
	}
	lockOut(t, s)
	tpm = open(t, s)
	if _, err := tpm.Unseal(b); err != nil {
		t.Errorf("unseal in lockout: %v", err)
	}
	if got, err := tpm.OpenCounter(counterAuth()); err != nil || got != v {
		t.Errorf("counter in lockout: %d %v", got, err)
	}
}

// lockOut fails the authorisation of a protected object until the TPM locks.
func lockOut(t testing.TB, s *swtpmtest.TPM) {
	t.Helper()
	tpm := open(t, s)
	if err := tpm.defineIndex(0x01801111, []byte("right"), tpm2.TPMANV{AuthRead: true, AuthWrite: true}, 8); err != nil {
		t.Fatal(err)
	}
	n, err := tpm.readIndex(0x01801111)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		_, err := tpm2.NVWrite{AuthHandle: tpm2.AuthHandle{Handle: n.handle, Name: n.name, Auth: tpm2.PasswordAuth([]byte("wrong"))},
			NVIndex: n.named(), Data: tpm2.TPM2BMaxNVBuffer{Buffer: make([]byte, 8)}}.Execute(s)
		if errors.Is(err, tpm2.TPMRCLockout) {
			return
		}
	}
	t.Fatal("the TPM does not lock out")
}

// TestBusInterference spoils each answer of the TPM in turn while the counter is
// used: a forged answer must never pass for an increment or another value.
func TestBusInterference(t *testing.T) {
	s := swtpmtest.Start(t, true)
	tpm := open(t, s)
	if _, err := tpm.MakeCounter(counterAuth()); err != nil {
		t.Fatal(err)
	}
	replay := map[uint32][]byte{}
	s.After = func(cmd, rsp []byte) ([]byte, error) {
		replay[binary.BigEndian.Uint32(cmd[6:])] = bytes.Clone(rsp)
		return rsp, nil
	}
	if err := tpm.Increment(); err != nil {
		t.Fatal(err)
	}
	if _, err := tpm.Counter(); err != nil {
		t.Fatal(err)
	}
	s.After = nil
	s.Before = func(cmd []byte) ([]byte, error) { return replay[binary.BigEndian.Uint32(cmd[6:])], nil }
	if err := tpm.Increment(); err == nil {
		t.Error("a replayed answer passed for an increment")
	}
	if v, err := tpm.Counter(); err == nil {
		t.Errorf("a replayed answer passed for the counter's value %d", v)
	}
}

// An answer that gets lost, before or after the TPM has acted, leaves a counter
// that can be read and goes on.
func TestLostAnswer(t *testing.T) {
	s := swtpmtest.Start(t, true)
	tpm := open(t, s)
	v, err := tpm.MakeCounter(counterAuth())
	if err != nil {
		t.Fatal(err)
	}
	const ccIncrement = 0x134
	lost := errors.New("lost")
	isIncrement := func(cmd []byte) bool { return binary.BigEndian.Uint32(cmd[6:]) == ccIncrement }
	for name, c := range map[string]struct {
		set   func(on bool)
		moved uint64
	}{
		"command lost": {func(on bool) {
			if s.Before = nil; on {
				s.Before = func(cmd []byte) ([]byte, error) {
					if isIncrement(cmd) {
						return nil, lost
					}
					return nil, nil
				}
			}
		}, 0},
		"answer lost": {func(on bool) {
			if s.After = nil; on {
				s.After = func(cmd, rsp []byte) ([]byte, error) {
					if isIncrement(cmd) {
						return nil, lost
					}
					return rsp, nil
				}
			}
		}, 1},
	} {
		c.set(true)
		if err := tpm.Increment(); !errors.Is(err, ErrNoTPM) {
			t.Errorf("%s: %v", name, err)
		}
		c.set(false)
		v += c.moved
		if got, err := tpm.Counter(); err != nil || got != v {
			t.Errorf("%s: counter %d, want %d: %v", name, got, v, err)
		}
		if err := tpm.Increment(); err != nil {
			t.Errorf("%s: afterwards: %v", name, err)
		}
		v++
	}
}

func BenchmarkIncrement(b *testing.B) {
	s := swtpmtest.Start(b, true)
	tpm := open(b, s)
	if _, err := tpm.MakeCounter(counterAuth()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := tpm.Increment(); err != nil {
			b.Fatal(err)
		}
	}
}
