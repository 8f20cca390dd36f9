package hwtpm

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/vtpmmgr-stub/swtpmtest"
)

// commandCounter counts what the TPM is asked for, by command code.
func commandCounter(s *swtpmtest.TPM) map[uint32]int {
	n := map[uint32]int{}
	s.Before = func(cmd []byte) ([]byte, error) {
		n[binary.BigEndian.Uint32(cmd[6:])]++
		return nil, nil
	}
	return n
}

const (
	ccCreatePrimary = 0x131
	ccLoad          = 0x157
)

// One key after another stays loaded until Rest, or until another needs its
// place; whatever somebody else does to what is loaded costs a second attempt and
// no more.
func TestKeptKeys(t *testing.T) {
	s := swtpmtest.Start(t, true)
	tpm := open(t, s)
	auth := counterAuth()
	keys, err := tpm.MakeAttestKeys(auth)
	if err != nil {
		t.Fatal(err)
	}
	n := commandCounter(s)
	quote := func(what string, primaries, loads int) {
		t.Helper()
		clear(n)
		a, err := tpm.Quote(keys, auth, []byte("data"), pcrs07)
		if err == nil {
			err = VerifyAttest(keys.AKPublic, a.Attest, a.Signature)
		}
		if err != nil || n[ccCreatePrimary] != primaries || n[ccLoad] != loads {
			t.Errorf("%s: %d CreatePrimary, %d Load, want %d and %d: %v", what, n[ccCreatePrimary], n[ccLoad], primaries, loads, err)
		}
	}
	loaded := func() []tpm2.TPMHandle {
		rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: 0x80000000, PropertyCount: 9}.Execute(s)
		if err != nil {
			t.Fatal(err)
		}
		list, err := rsp.CapabilityData.Data.Handles()
		if err != nil {
			t.Fatal(err)
		}
		return list.Handle
	}
	flush := func(h tpm2.TPMHandle) {
		if _, err := (tpm2.FlushContext{FlushHandle: h}).Execute(s); err != nil {
			t.Fatal(err)
		}
	}
	quote("the first", 1, 1)
	quote("the next", 0, 0)
	if _, err := tpm.Sign(keys, auth, [32]byte{1}); err != nil {
		t.Error(err)
	}
	if got := loaded(); len(got) != 2 {
		t.Errorf("loaded: %v", got)
	}
	quote("after the other key", 0, 1)
	flush(tpm.kept.srk.handle)
	quote("after the primary was flushed", 1, 1)
	flush(tpm.kept.key.Handle)
	quote("after the key was flushed", 1, 1)
	// Another object in the key's place.
	flush(tpm.kept.key.Handle)
	if _, err := (tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm2.RSASRKTemplate)}).Execute(s); err != nil {
		t.Fatal(err)
	}
	quote("after the key was replaced", 1, 1)
	for _, h := range loaded() {
		if h != tpm.kept.key.Handle && h != tpm.kept.srk.handle {
			flush(h)
		}
	}
	if _, err := tpm.Seal([]byte("x"), Policy{PCRs: pcrs07}); err != nil {
		t.Error(err)
	}
	if got := loaded(); len(got) != 0 {
		t.Errorf("loaded after another operation: %v", got)
	}
	quote("after another operation", 1, 1)
	tpm.Rest()
	if got := loaded(); len(got) != 0 {
		t.Errorf("loaded after a rest: %v", got)
	}
}
