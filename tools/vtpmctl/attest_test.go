package main

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/tools/vtpmctl/attest"
	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/swtpmtest"
)

// evidence makes what a guest collects: quote, deep quote and certificate of a
// vTPM, which is another swtpm here.
func (l *lab) evidence(nonce []byte) {
	l.t.Helper()
	vtpm := swtpmtest.Start(l.t, true)
	hw, err := hwtpm.Open(vtpm, hwtpm.Config{})
	if err != nil {
		l.t.Fatal(err)
	}
	auth := bytes.Repeat([]byte{1}, 8)
	keys, err := hw.MakeAttestKeys(auth)
	if err != nil {
		l.t.Fatal(err)
	}
	quote, err := hw.Quote(keys, auth, nonce, proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 1 << 10})
	if err != nil {
		l.t.Fatal(err)
	}
	srk, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}.Execute(vtpm)
	if err != nil {
		l.t.Fatal(err)
	}
	ek, _, err := hw.Endorsement()
	if err != nil {
		l.t.Fatal(err)
	}
	c := l.vtpm(1)
	if err := c.SaveHashKey(proto.Record{1}); err != nil {
		l.t.Fatal(err)
	}
	certs, err := c.CertifyKey(ek, 183)
	if err != nil {
		l.t.Fatal(err)
	}
	sum := sha256.Sum256(quote.Attest)
	deep, err := c.DeepQuote(proto.DeepQuoteRequest{Data: sum[:], PCRs: proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 0xFF}})
	if err != nil {
		l.t.Fatal(err)
	}
	for name, b := range map[string][]byte{"cert": certs.EK, "deep": deep.Append(nil), "quote": quote.Attest, "sig": quote.Signature, "ak": keys.AKPublic, "srk": srk.OutPublic.Bytes()} {
		l.write(name, b)
	}
}

// logHeader begins a crypto-agile event log (TCG PFP 10.4) with the banks that it
// names, by algorithm and size.
func logHeader(banks ...uint16) []byte {
	le := binary.LittleEndian
	spec := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 0, 2)
	spec = le.AppendUint32(spec, uint32(len(banks)/2))
	for _, b := range banks {
		spec = le.AppendUint16(spec, b)
	}
	spec = append(spec, 0)
	log := le.AppendUint32(le.AppendUint32(nil, 0), 3)
	log = append(log, make([]byte, 20)...)
	return append(le.AppendUint32(log, uint32(len(spec))), spec...)
}

// logEvent appends an event with a SHA-256 digest.
func logEvent(log []byte, pcr, kind uint32, digest [32]byte, data string) []byte {
	le := binary.LittleEndian
	log = le.AppendUint32(le.AppendUint32(log, pcr), kind)
	log = le.AppendUint16(le.AppendUint32(log, 1), 0x0B)
	return append(le.AppendUint32(append(log, digest[:]...), uint32(len(data))), data...)
}

// measure extends PCRs by three events as firmware does, and returns the log.
func (l *lab) measure() []byte {
	l.t.Helper()
	log := logHeader(0x0B, 32)
	for i, pcr := range []uint32{0, 4, 4} {
		d := sha256.Sum256([]byte{byte(i)})
		_, err := tpm2.PCRExtend{PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
			Digests: tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: d[:]}}}}.Execute(l.tpm)
		if err != nil {
			l.t.Fatal(err)
		}
		log = logEvent(log, pcr, 0x80000001, d, "data")
	}
	return log
}

func TestAttestAndVerify(t *testing.T) {
	l := newLab(t)
	l.key("auth", elliptic.P256())
	l.key("other", elliptic.P256())
	log := l.measure()
	nonce := []byte("fresh nonce 1234")
	l.ok("attest enrol --key %auth %bundle", "enrolled by")
	l.evidence(nonce)
	l.write("log", log)
	l.ok("attest add %bundle --certificate %cert --deep-quote %deep --quote %quote --signature %sig --vtpm-key %ak --vtpm-parent %srk --event-log %log")
	l.ok("verify %bundle --authority %auth.pub --nonce "+hex.EncodeToString(nonce), "the bundle holds", "for vTPM "+u1, "leads to all quoted PCRs", "hardware PCR  4", "fresh")
	l.fails(exitRefused, "verify %bundle", "no authority given")
	l.fails(exitRefused, "verify %bundle --authority %other.pub", "another authority")
	l.fails(exitRefused, "verify %bundle --authority %auth.pub --nonce 00", "may be old")
	var report attest.Report
	if err := json.Unmarshal([]byte(l.ok("verify --json %bundle --authority %auth.pub")), &report); err != nil || !report.OK || len(report.PCRs) != 8 {
		t.Errorf("%+v %v", report, err)
	}
	raw, err := os.ReadFile(l.file("bundle"))
	if err != nil {
		t.Fatal(err)
	}
	trust := attest.Trust{Nonce: nonce}
	if trust.Authority, err = loadAuthority(l.file("auth.pub")); err != nil {
		t.Fatal(err)
	}
	// Every field is covered: a bit flipped anywhere fails some check.
	flip := func(b []byte, at int) { b[at] ^= 1 }
	for name, alter := range map[string]func(b *attest.Bundle){
		"manager":           func(b *attest.Bundle) { flip(b.Manager.Manager[:], 0) },
		"EK":                func(b *attest.Bundle) { flip(b.Manager.EKPublic, len(b.Manager.EKPublic)-1) },
		"AK":                func(b *attest.Bundle) { flip(b.Manager.AKPublic, len(b.Manager.AKPublic)-1) },
		"CA":                func(b *attest.Bundle) { flip(b.Manager.CAPublic, len(b.Manager.CAPublic)-1) },
		"CA certificate":    func(b *attest.Bundle) { flip(b.Manager.CACertificate, len(b.Manager.CACertificate)-1) },
		"certify":           func(b *attest.Bundle) { flip(b.Manager.Certify, 20) },
		"certify signature": func(b *attest.Bundle) { flip(b.Manager.CertifySig, 20) },
		"enrolment":         func(b *attest.Bundle) { flip(b.Enrolment.Signature, 20) },
		"no enrolment":      func(b *attest.Bundle) { b.Enrolment = nil },
		"certificate":       func(b *attest.Bundle) { flip(b.VTPM.Certificate, 200) },
		"deep quote uuid":   func(b *attest.Bundle) { flip(b.VTPM.DeepQuote, 3) },
		"deep quote group":  func(b *attest.Bundle) { flip(b.VTPM.DeepQuote, 20) },
		"authority hash":    func(b *attest.Bundle) { flip(b.VTPM.DeepQuote, 40) },
		"deep quote data":   func(b *attest.Bundle) { flip(b.VTPM.DeepQuote, 70) },
		"deep quote value":  func(b *attest.Bundle) { flip(b.VTPM.DeepQuote, 150) },
		"deep quote cut":    func(b *attest.Bundle) { b.VTPM.DeepQuote = b.VTPM.DeepQuote[:100] },
		"quote":             func(b *attest.Bundle) { flip(b.VTPM.Quote, 50) },
		"quote signature":   func(b *attest.Bundle) { flip(b.VTPM.Signature, 20) },
		"vTPM's key":        func(b *attest.Bundle) { flip(b.VTPM.Key, len(b.VTPM.Key)-1) },
		"guest PCR values":  func(b *attest.Bundle) { b.VTPM.PCRValues = make([]byte, 32); flip(b.VTPM.PCRValues, 0) },
		"vTPM key's parent": func(b *attest.Bundle) { flip(b.VTPM.Parent, len(b.VTPM.Parent)-1) },
		"event":             func(b *attest.Bundle) { flip(b.EventLog, 100) },
		"event missing":     func(b *attest.Bundle) { b.EventLog = b.EventLog[:len(b.EventLog)-(4+4+4+2+32+4+4)] },
		"event log cut":     func(b *attest.Bundle) { b.EventLog = b.EventLog[:len(b.EventLog)-1] },
	} {
		var b attest.Bundle
		if err := json.Unmarshal(raw, &b); err != nil {
			t.Fatal(err)
		}
		if !attest.Verify(&b, trust).OK {
			t.Fatal("the unaltered bundle fails")
		}
		alter(&b)
		if attest.Verify(&b, trust).OK {
			t.Errorf("%s altered, and the bundle still holds", name)
		}
	}
	l.write("junk", []byte("{}"))
	l.fails(exitRefused, "verify %junk --authority %auth.pub", "does NOT hold")
}

// twoDigests appends an event with two digests of banks that it names.
func twoDigests(log []byte, a, b uint16) []byte {
	le := binary.LittleEndian
	log = le.AppendUint32(le.AppendUint32(le.AppendUint32(log, 0), 0x80000001), 2)
	for _, alg := range []uint16{a, b} {
		log = append(le.AppendUint16(log, alg), make([]byte, map[uint16]int{0x04: 20, 0x0B: 32}[alg])...)
	}
	return le.AppendUint32(log, 0)
}

// Logs that leave something out, or say it twice, lead nowhere.
func TestEventLogLeavesOut(t *testing.T) {
	d := sha256.Sum256([]byte("event"))
	banks := logHeader(0x04, 20, 0x0B, 32)
	locality := func(log []byte, v string) []byte { return logEvent(log, 0, 3, [32]byte{}, "StartupLocality\x00"+v) }
	for name, tt := range map[string]struct {
		log  []byte
		alg  uint16
		want string
	}{
		"both banks":                       {twoDigests(banks, 0x04, 0x0B), proto.AlgSHA256, ""},
		"the same, the other bank":         {twoDigests(banks, 0x04, 0x0B), proto.AlgSHA1, ""},
		"one bank twice":                   {twoDigests(banks, 0x0B, 0x0B), proto.AlgSHA256, "malformed"},
		"an event without the bank":        {logEvent(banks, 0, 4, d, ""), proto.AlgSHA1, "malformed"},
		"a log without the bank":           {logEvent(logHeader(0x0B, 32), 0, 4, d, ""), proto.AlgSHA384, "no digests of bank sha384"},
		"a digest of an undeclared bank":   {twoDigests(logHeader(0x0B, 32), 0x04, 0x0B), proto.AlgSHA256, "malformed"},
		"a bank of another size":           {logHeader(0x0B, 20), proto.AlgSHA256, "no digests of bank sha256"},
		"no header":                        {logEvent(nil, 0, 4, d, ""), proto.AlgSHA256, "malformed"},
		"a PCR that a TPM has not":         {logEvent(banks, 24, 4, d, ""), proto.AlgSHA256, "malformed"},
		"locality behind another no-op":    {locality(logEvent(banks, 0, 3, [32]byte{}, "x"), "\x03"), proto.AlgSHA256, ""},
		"locality when PCR 0 has begun":    {locality(logEvent(banks, 0, 4, d, ""), "\x03"), proto.AlgSHA256, ""},
		"locality, then PCR 0 is measured": {logEvent(locality(banks, "\x03"), 0, 4, d, ""), proto.AlgSHA256, ""},
	} {
		_, _, err := attest.Replay(tt.log, tt.alg)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	first := func(log []byte) []byte {
		pcrs, _, err := attest.Replay(log, proto.AlgSHA256)
		if err != nil {
			t.Fatal(err)
		}
		return pcrs[0]
	}
	if v := first(locality(logEvent(banks, 0, 3, [32]byte{}, "x"), "\x03")); v[31] != 3 {
		t.Errorf("PCR 0 begins at %x", v)
	}
	measured := logEvent(banks, 0, 4, d, "")
	if !bytes.Equal(first(locality(measured, "\x03")), first(measured)) {
		t.Error("a locality that is logged when PCR 0 has begun changes it")
	}
}

// Bundles come from whoever is to be attested.
func FuzzVerify(f *testing.F) {
	f.Add([]byte("certificate"), []byte("deep quote"), []byte("quote"), []byte("key"), []byte("log"))
	f.Add([]byte{0x30, 0x82, 0xFF, 0xFF}, make([]byte, 200), []byte("\xffTCG\x80\x18"), []byte{0, 0x23}, logHeader(0x0B, 32))
	f.Fuzz(func(t *testing.T, certificate, deep, quote, key, log []byte) {
		b := attest.Bundle{Manager: proto.Attest{EKPublic: key, EKCertificate: certificate, AKPublic: key, CAPublic: key, CACertificate: certificate, Certify: quote, CertifySig: deep},
			Enrolment: &attest.Enrolment{Authority: key, Signature: deep},
			VTPM:      &attest.VTPM{Certificate: certificate, DeepQuote: deep, Quote: quote, Signature: deep, Key: key, Parent: key, PCRValues: log}, EventLog: log}
		if attest.Verify(&b, attest.Trust{Authority: key, EKRoots: x509.NewCertPool(), Nonce: quote, EventLog: true}).OK {
			t.Fatal("bytes from nowhere hold")
		}
	})
}

func FuzzEventLog(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x03\x00\x00\x00"))
	d := sha256.Sum256([]byte("event"))
	f.Add(logEvent(logEvent(logHeader(0x0B, 32), 0, 0x80000001, d, "data"), 7, 4, [32]byte{}, ""))
	f.Add(logEvent(logHeader(0x0B, 32), 0, 3, [32]byte{}, "StartupLocality\x00\x03"))
	f.Add(logHeader(0x04, 20, 0x0B, 32, 0x0C, 48))
	f.Fuzz(func(t *testing.T, b []byte) {
		pcrs, _, err := attest.Replay(b, proto.AlgSHA256)
		if err == nil && len(pcrs[0]) != 32 {
			t.Fatal("no PCR 0")
		}
	})
}
