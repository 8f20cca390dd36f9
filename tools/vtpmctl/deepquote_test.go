package main

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/tools/vtpmctl/attest"
	"xenvtpm/vtpm-stub/service"
	"xenvtpm/vtpmmgr-stub/proto"
)

// guestTPM is a guest's device at a vTPM.
type guestTPM struct{ s *service.Service }

func (g guestTPM) Send(cmd []byte) ([]byte, error) {
	return bytes.Clone(g.s.Handle(&service.Request{From: "5/0", Attachment: service.Attachment{ID: 1, Domain: 5}, Command: cmd})), nil
}

// startVTPM brings up a vTPM over the manager, as its domain does.
func (l *lab) startVTPM(disk memDisk, n byte) *service.Service {
	l.t.Helper()
	opts, err := service.ParseOptions(nil)
	if err != nil {
		l.t.Fatal(err)
	}
	s := service.Start(service.StartConfig{Disk: disk, Manager: l.vtpm(n), Options: opts, Clock: func() int64 { return 0 }, Entropy: rand.Reader, Logf: l.t.Logf})
	if s.Failed() || s.Provision(nil) {
		l.t.Fatal("the vTPM did not come up with its certificate")
	}
	return s
}

// The whole chain with nothing faked but Xen: swtpm is the hardware, the manager
// and the vTPM are the real ones, and the guest collects its evidence.
func TestDeepQuoteOfVTPM(t *testing.T) {
	l := newLab(t)
	l.key("auth", elliptic.P256())
	log := l.measure()
	disk := make(memDisk, 2<<20)
	s := l.startVTPM(disk, 1)
	sel := tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(0, 10)}}}
	hardware := proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 0xFF}
	nonce := []byte("fresh nonce 5678")
	v, err := attest.Collect(guestTPM{s}, nonce, sel, hardware)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"cert": v.Certificate, "deep": v.DeepQuote, "quote": v.Quote, "sig": v.Signature, "ak": v.Key, "values": v.PCRValues, "log": log} {
		l.write(name, b)
	}
	l.ok("attest enrol --key %auth %bundle")
	l.ok("attest add %bundle --certificate %cert --deep-quote %deep --quote %quote --signature %sig --vtpm-key %ak --pcr-values %values --event-log %log")
	l.ok("verify %bundle --authority %auth.pub --vtpm "+u1+" --guest-pcrs 0,10 --require-event-log --nonce "+hex.EncodeToString(nonce),
		"the bundle holds", "for vTPM "+u1, "fresh", "leads to all quoted PCRs", "guest PCR 10 sha256 0000")

	// Another vTPM's deep quote does not fit this one's certificate and quote.
	other, err := attest.Collect(guestTPM{l.startVTPM(make(memDisk, 2<<20), 2)}, nonce, sel, hardware)
	if err != nil {
		t.Fatal(err)
	}
	l.write("deep", other.DeepQuote)
	l.ok("attest add %bundle --deep-quote %deep")
	l.fails(exitRefused, "verify %bundle --authority %auth.pub", "belong together")
}
