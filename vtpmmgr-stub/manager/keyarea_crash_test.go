package manager

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	mrand "math/rand/v2"
	"testing"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// A cut at any moment of what writes the key area anew (provisioning, another
// recovery key) leaves the former one or the new one, whole: key, box and number
// belong together, and what is in the store opens.
func TestKeyAreaCrash(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, key: key, d: newDisk(diskSize)}
	hw := newTPM()
	on := func(d *simDisk, hw *fakeTPM) {
		t.Helper()
		s.d, s.m = d, start(t, quiet(d, hw))
		s.a = &proto.Client{S: client{m: s.m, admin: true}}
	}
	on(s.d, hw)
	if err := vtpmClient(s.m, 1).SaveHashKey(record(1)); err != nil {
		t.Fatal(err)
	}
	first, second := newRecoveryKey(t), newRecoveryKey(t)
	provision := proto.GroupCreate{Authority: s.public(), Policy: s.list(proto.UUID{}, 1, hwtpm.Approval{PCRs: selection, Digest: [32]byte{1}}), Recovery: first.PublicKey().Bytes()}
	k := hwtpm.RecoveryKey{Manager: s.m.store.ID(), Number: 3, Public: second.PublicKey().Bytes()}
	if k.Signature, err = s.sign(k.Message()); err != nil {
		t.Fatal(err)
	}
	replace := proto.RecoveryReplace{Statement: k.Append(nil)}
	none, r := Fingerprint(nil), mrand.New(mrand.NewPCG(5, 6))

	for _, step := range []struct {
		what     string
		ordinal  uint32
		in       any
		was, new string
		again    error // the same once more, after it counts
	}{
		{"provision", proto.OrdProvision, provision, none, Fingerprint(first.PublicKey().Bytes()), proto.Conflict},
		{"recovery replace", proto.OrdRecoveryReplace, replace, Fingerprint(first.PublicKey().Bytes()), Fingerprint(second.PublicKey().Bytes()), proto.Conflict},
	} {
		image, tpm := bytes.Clone(s.d.durable), hw.restart()
		cuts, olds, news := 0, 0, 0
		for ; ; cuts++ {
			d, live := diskOf(image), tpm.restart()
			on(d, live)
			left := cuts
			var cutDisk *simDisk
			var cutTPM *fakeTPM
			event := func() {
				if left == 0 {
					cutDisk, cutTPM = d.afterCut(r), live.restart()
				}
				left--
			}
			d.event, live.event = event, event
			s.must(step.ordinal, step.in)
			d.event, live.event = nil, nil
			if cutDisk == nil {
				break
			}
			on(cutDisk, cutTPM)
			if r, err := vtpmClient(s.m, 1).LoadHashKey(); err != nil || r != record(1) {
				t.Fatalf("%s, cut %d: %v", step.what, cuts, err)
			}
			f, err := parseKeyFile(s.m.store.KeyArea())
			if err != nil {
				t.Fatal(err)
			}
			err = s.do(step.ordinal, step.in)
			switch now := Fingerprint(f.key); {
			case now == step.was && err == nil:
				olds++
			case now == step.new && errors.Is(err, step.again):
				news++
			default:
				t.Fatalf("%s, cut %d: recovery key %s, and the same once more: %v", step.what, cuts, now, err)
			}
		}
		t.Logf("%s: %d cuts, %d left the former key area, %d the new one", step.what, cuts, olds, news)
		if olds < 2 || news < 1 {
			t.Errorf("%s: too few cuts of either kind: the test no longer tests", step.what)
		}
		hw = s.m.c.HW.(*fakeTPM)
	}
}
