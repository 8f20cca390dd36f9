package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"xenvtpm/tools/vtpmctl/attest"
	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// full is a bundle that has everything, and a trust that asks for all of it.
type full struct {
	*lab
	raw   []byte
	trust attest.Trust
	roots []byte // PEM
	nonce []byte
}

func newFull(t *testing.T) *full {
	t.Helper()
	f := &full{lab: newLab(t), nonce: []byte("fresh nonce 1234")}
	f.provision()
	f.write("log", f.measure())
	f.ok("attest enrol --key %auth %bundle")
	f.evidence(f.nonce)
	f.write("values", make([]byte, 32))
	f.ok("attest add %bundle --certificate %cert --deep-quote %deep --quote %quote --signature %sig --vtpm-key %ak --vtpm-parent %srk --pcr-values %values --event-log %log")
	f.manufacturer()
	b := f.bundle()
	f.trust = attest.Trust{EKRoots: x509.NewCertPool(), Nonce: f.nonce, Manager: &b.Manager.Manager, VTPM: &proto.UUID{1}, Group: &proto.UUID{},
		Guest: &attest.Rule{PCRs: proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 1 << 10}}, EventLog: true}
	f.trust.EKRoots.AppendCertsFromPEM(f.roots)
	var err error
	if f.trust.Authority, err = loadAuthority(f.file("auth.pub")); err != nil {
		t.Fatal(err)
	}
	f.trust.Approver = f.trust.Authority
	if r := attest.Verify(b, f.trust); !r.OK {
		t.Fatalf("a bundle that has everything does not hold: %+v", r.Findings)
	}
	return f
}

// provision gives the manager's root an approval key.
func (f *full) provision() {
	f.key("auth", elliptic.P256())
	for _, words := range []string{"policy new %root", "policy sign --key %auth %root", "provision --authority %auth.pub --policy %root"} {
		f.ok(words)
	}
}

// manufacturer certifies the hardware TPM's endorsement key, as swtpm's does not.
func (f *full) manufacturer() {
	f.t.Helper()
	must := func(err error) {
		f.t.Helper()
		if err != nil {
			f.t.Fatal(err)
		}
	}
	b := f.readBundle()
	_, point, err := hwtpm.ECCPoint(b.Manager.EKPublic)
	must(err)
	ek, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a manufacturer"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	root, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	must(err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: ca.NotBefore, NotAfter: ca.NotAfter}
	b.Manager.EKCertificate, err = x509.CreateCertificate(rand.Reader, leaf, ca, ek, key)
	must(err)
	f.roots = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})
	f.raw, err = json.Marshal(b)
	must(err)
	f.write("bundle", f.raw)
	f.write("roots", f.roots)
}

func (f *full) readBundle() *attest.Bundle {
	f.t.Helper()
	b, err := readBundle(f.file("bundle"))
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// bundle is a new copy.
func (f *full) bundle() *attest.Bundle {
	f.t.Helper()
	var b attest.Bundle
	if err := json.Unmarshal(f.raw, &b); err != nil {
		f.t.Fatal(err)
	}
	return &b
}

// fields names every field of a struct and of those in it.
func fields(v reflect.Value, path string) (all []string) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	for i := range v.NumField() {
		name := path + v.Type().Field(i).Name
		all = append(all, name)
		in := v.Field(i)
		if in.Kind() == reflect.Struct || in.Kind() == reflect.Pointer && in.Elem().Kind() == reflect.Struct {
			all = append(all, fields(in, name+".")...)
		}
	}
	return all
}

// clear leaves out a field.
func clear(v reflect.Value, path string) {
	for _, name := range strings.Split(path, ".") {
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		v = v.FieldByName(name)
	}
	v.SetZero()
}

func failed(r *attest.Report) (all []attest.Check) {
	for _, f := range r.Findings {
		if !f.OK {
			all = append(all, f.Check)
		}
	}
	return all
}

// notLookedAt marks what may be missing without a word.
const notLookedAt = attest.Check("")

// leftOut says for every field of a bundle which check fails without it.
var leftOut = map[string]attest.Check{
	"Manager":               attest.CheckEnrolment,
	"Manager.Manager":       attest.CheckEnrolment,
	"Manager.EKPublic":      attest.CheckEK,
	"Manager.EKCertificate": attest.CheckEKCert,
	"Manager.AKPublic":      attest.CheckAK,
	"Manager.CAPublic":      attest.CheckCA,
	"Manager.CACertificate": attest.CheckCA,
	"Manager.Certify":       attest.CheckCA,
	"Manager.CertifySig":    attest.CheckCA,
	"Manager.Activated":     notLookedAt, // an answer to a challenge, for who made the challenge
	"Enrolment":             attest.CheckEnrolment,
	"Enrolment.Authority":   attest.CheckEnrolment,
	"Enrolment.Signature":   attest.CheckEnrolment,
	"VTPM":                  attest.CheckDeepQuote,
	"VTPM.Certificate":      attest.CheckCertificate,
	"VTPM.DeepQuote":        attest.CheckDeepQuote,
	"VTPM.Quote":            attest.CheckQuote,
	"VTPM.Signature":        attest.CheckQuote,
	"VTPM.Key":              attest.CheckQuote,
	"VTPM.Parent":           attest.CheckKey,
	"VTPM.PCRValues":        attest.CheckGuest,
	"VTPM.Nonce":            notLookedAt, // the verifier has his own
	"EventLog":              attest.CheckEventLog,
}

// What an attacker leaves out is a failed check, for every field that there is.
func TestNothingMayBeLeftOut(t *testing.T) {
	f := newFull(t)
	all := fields(reflect.ValueOf(f.bundle()), "")
	for _, path := range all {
		want, ok := leftOut[path]
		if !ok {
			t.Errorf("%s: say which check fails without it", path)
			continue
		}
		b := f.bundle()
		clear(reflect.ValueOf(b), path)
		r := attest.Verify(b, f.trust)
		if want == notLookedAt {
			if !r.OK {
				t.Errorf("without %s, %v fail", path, failed(r))
			}
			continue
		}
		if r.OK || !slices.Contains(failed(r), want) {
			t.Errorf("without %s: holds %v, failed are %v, want %s", path, r.OK, failed(r), want)
		}
	}
	for path := range leftOut {
		if !slices.Contains(all, path) {
			t.Errorf("%s: a bundle has no such field", path)
		}
	}
	if r := attest.Verify(&attest.Bundle{}, f.trust); r.OK || len(failed(r)) < 15 {
		t.Errorf("of an empty bundle %v fail", failed(r))
	}
}

// A question that nothing in the bundle answers has failed, whatever else holds:
// each field of a trust is tried alone, without what it asks for.
func TestEveryQuestionWantsAnAnswer(t *testing.T) {
	f := newFull(t)
	for name, tt := range map[string]struct {
		check attest.Check
		leave []string // any of these left out
	}{
		"Authority": {attest.CheckEnrolment, []string{"Enrolment"}},
		"EKRoots":   {attest.CheckEKCert, []string{"Manager.EKCertificate"}},
		"Nonce":     {attest.CheckNonce, []string{"VTPM", "VTPM.Quote", "VTPM.Signature", "VTPM.Key"}},
		"Manager":   {attest.CheckManager, []string{"Enrolment", "Manager.Manager"}},
		"VTPM":      {attest.CheckVTPM, []string{"VTPM", "VTPM.DeepQuote"}},
		"Group":     {attest.CheckGroup, []string{"VTPM", "VTPM.DeepQuote"}},
		"Approver":  {attest.CheckApprover, []string{"VTPM", "VTPM.DeepQuote"}},
		"Hardware":  {attest.CheckHardware, []string{"VTPM", "VTPM.DeepQuote"}},
		"Guest":     {attest.CheckGuest, []string{"VTPM", "VTPM.Quote", "VTPM.PCRValues"}},
		"EventLog":  {attest.CheckEventLog, []string{"EventLog", "VTPM", "VTPM.DeepQuote"}},
	} {
		trust := attest.Trust{Authority: f.trust.Authority}
		reflect.ValueOf(&trust).Elem().FieldByName(name).Set(reflect.ValueOf(f.trust).FieldByName(name))
		if r := attest.Verify(f.bundle(), trust); !r.OK {
			t.Errorf("%s alone: %v fail", name, failed(r))
		}
		for _, path := range tt.leave {
			b := f.bundle()
			clear(reflect.ValueOf(b), path)
			if r := attest.Verify(b, trust); r.OK || !slices.Contains(failed(r), tt.check) {
				t.Errorf("%s asked for, and %s left out: failed are %v", name, path, failed(r))
			}
		}
	}
	for i := range reflect.TypeFor[attest.Trust]().NumField() {
		if name := reflect.TypeFor[attest.Trust]().Field(i).Name; name != "ManagerOnly" && reflect.ValueOf(f.trust).Field(i).IsZero() && name != "Hardware" {
			t.Errorf("%s is not asked for by the trust that asks for everything", name)
		}
	}
	// And another value than the one asked for.
	for name, alter := range map[attest.Check]func(*attest.Trust){
		attest.CheckManager:  func(t *attest.Trust) { t.Manager = &proto.UUID{9} },
		attest.CheckVTPM:     func(t *attest.Trust) { t.VTPM = &proto.UUID{9} },
		attest.CheckGroup:    func(t *attest.Trust) { t.Group = &proto.UUID{9} },
		attest.CheckNonce:    func(t *attest.Trust) { t.Nonce = []byte{} },
		attest.CheckEKCert:   func(t *attest.Trust) { t.EKRoots = x509.NewCertPool() },
		attest.CheckApprover: func(t *attest.Trust) { t.Approver = f.other() },
	} {
		trust := f.trust
		alter(&trust)
		if r := attest.Verify(f.bundle(), trust); r.OK || !slices.Equal(failed(r), []attest.Check{name}) {
			t.Errorf("%s: another one than asked for: failed are %v", name, failed(r))
		}
	}
}

func (f *full) other() []byte {
	f.key("other", elliptic.P256())
	pub, err := loadAuthority(f.file("other.pub"))
	if err != nil {
		f.t.Fatal(err)
	}
	return pub
}

// quotePCRs replaces the deep quote by one of other hardware PCRs.
func (f *full) quotePCRs(sel proto.PCRSelection) {
	f.t.Helper()
	sum := sha256.Sum256(f.bundle().VTPM.Quote)
	deep, err := f.vtpm(1).DeepQuote(proto.DeepQuoteRequest{Data: sum[:], PCRs: sel})
	if err != nil {
		f.t.Fatal(err)
	}
	f.write("deep", deep.Append(nil))
	f.ok("attest add %bundle --deep-quote %deep")
}

// The commands of an operator, with the exit codes and words that he sees.
func TestVerifyAsksForPCRs(t *testing.T) {
	f := newFull(t)
	verify := "verify %bundle --authority %auth.pub "
	f.ok(verify, "NOT PROVEN: that the quotes are fresh", "NOT PROVEN: that the values of hardware PCRs 0-7", "hardware PCR  4 sha256", "guest PCR 10 sha256 0000")
	for _, tt := range []struct{ words, want string }{
		{"--guest-pcrs 10", "guest PCRs sha256:10 are quoted"},
		{"--guest-pcrs none --hardware-pcrs none", "NOT PROVEN: that particular guest PCRs are quoted"},
		{"--hardware-pcrs 0-3", "hardware PCRs sha256:0-3 are quoted"},
		{"--ek-roots %roots", "the manufacturer certifies"},
		{"--approved-by %auth.pub --group 00000000-0000-0000-0000-000000000000", "approves the states"},
		{"--require-event-log", "leads to all quoted PCRs"},
	} {
		f.ok(verify+tt.words, tt.want)
	}
	for _, tt := range []struct{ words, want string }{
		{"--guest-pcrs 0-7,10", "does not cover PCR 0-7"},
		{"--guest-pcrs sha384:10", "bank sha256"},
		{"--hardware-pcrs 0-10", "does not cover PCR 8-10"},
		{"--hardware-pcrs sha1:0-7", "bank sha256"},
		{"--vtpm 02000000-0000-0000-0000-000000000000", "it is 01000000"},
	} {
		f.fails(exitRefused, verify+tt.words, tt.want)
	}
	f.quotePCRs(proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 1 << 23})
	f.fails(exitRefused, verify, "hardware PCRs sha256:0-7 are quoted: the quote does not cover PCR 0-7")
	f.ok(verify+"--hardware-pcrs 23", "hardware PCR 23 sha256 0000", "NOT PROVEN: that the values of hardware PCRs 23")
	f.quotePCRs(proto.PCRSelection{Alg: proto.AlgSHA1, Mask: 0xFF})
	f.fails(exitRefused, verify, "bank sha1")
	f.fails(exitRefused, verify+"--hardware-pcrs sha1:0-7", "event log: it has no digests of bank sha1")
}

func TestVerifyPolicyFile(t *testing.T) {
	f := newFull(t)
	r := attest.Verify(f.bundle(), f.trust)
	pcr4 := r.Hardware.Values["4"]
	other := strings.Repeat("ab", 32)
	use := func(policy string) string {
		f.write("policy", []byte(policy))
		return "verify %bundle --authority %auth.pub --policy %policy "
	}
	good := fmt.Sprintf(`{"hardware":{"pcrs":"0-7","values":{"4":["%s","%s"]}},"guest":{"pcrs":"10","values":{"10":["%s"]}},"event_log":true}`, other, pcr4, strings.Repeat("00", 32))
	f.ok(use(good), "those of 4 have values that the policy allows", "that the values of hardware PCRs 0-3,5-7 are good ones")
	f.ok(use(good)+"--hardware-pcrs 0-7", "the bundle holds")
	f.fails(exitRefused, use(good)+"--hardware-pcrs 8", "does not cover PCR 8")
	f.fails(exitRefused, use(fmt.Sprintf(`{"hardware":{"pcrs":"4","values":{"4":["%s"]}}}`, other)), "which the policy does not allow")
	f.fails(exitRefused, use(fmt.Sprintf(`{"guest":{"pcrs":"10","values":{"10":["%s"]}}}`, other)), "which the policy does not allow")
	for policy, want := range map[string]string{
		`{}`:                                   "asks for nothing",
		`{"hardware":{"pcrs":""}}`:             "want PCRs",
		`{"hardware":{"pcrs":"0","value":{}}}`: "no policy for verify",
		`{"hardware":{"pcrs":"0","values":{"4":["00"]}}}`: "which pcrs does not name",
		`{"hardware":{"pcrs":"4","values":{"4":[]}}}`:     "no value that is right",
		`{"hardware":{"pcrs":"4","values":{"4":["00"]}}}`: "no digest of the bank",
	} {
		f.fails(exitFailed, use(policy), want)
	}
	f.fails(exitFailed, use(good)+"--hardware-pcrs none", "contradicts")
	f.fails(exitFailed, use(good)+"--hardware-pcrs sha384:0", "different banks")
}

// An option given with nothing, or one that another leaves without effect, is a
// mistake and not a question less.
func TestVerifyUsage(t *testing.T) {
	f := newFull(t)
	verify := []string{"verify", f.file("bundle"), "--authority", f.file("auth.pub")}
	for _, option := range []string{"nonce", "ek-roots", "vtpm", "group", "manager", "approved-by", "hardware-pcrs", "guest-pcrs", "policy"} {
		var o, e strings.Builder
		if code := run(&env{out: &o, err: &e, getenv: os.Getenv}, append(slices.Clone(verify), "--"+option, "")); code != exitFailed || !strings.Contains(e.String(), option+" was given without a value") || o.Len() > 0 {
			t.Errorf("--%s with an empty value: exit %d %s%s", option, code, o.String(), e.String())
		}
	}
	words := "verify %bundle --authority %auth.pub --manager-only "
	f.ok(words, "NOT PROVEN: anything about a vTPM")
	f.ok(words+"--ek-roots %roots", "the manufacturer certifies")
	for _, more := range []string{"--nonce 00", "--vtpm " + u1, "--group " + u1, "--approved-by %auth.pub", "--hardware-pcrs 0", "--guest-pcrs 0", "--policy %policy", "--require-event-log"} {
		f.fails(exitFailed, words+more, "--manager-only leaves")
	}
	f.fails(exitFailed, "verify %bundle --nonce zz", "--nonce")
	f.fails(exitFailed, "verify %roots --authority %auth.pub", "no attestation bundle")
	f.fails(exitFailed, "attest add %bundle", "usage")
	f.write("nothing", nil)
	f.fails(exitFailed, "attest add %bundle --quote %nothing", "is empty")
	f.fails(exitRefused, "attest enrol --key %auth --ek-roots %roots %new", "certificate is missing")
	if _, err := os.Stat(f.file("new")); err == nil {
		t.Error("a bundle was written although the enrolment failed")
	}
	// Without a vTPM's evidence a bundle shows nothing about any.
	f.ok("attest enrol --key %auth %bare")
	f.fails(exitRefused, "verify %bare --authority %auth.pub", "missing from the bundle")
	f.fails(exitRefused, "verify %bare --authority %auth.pub --nonce "+hex.EncodeToString(f.nonce), "the quote is fresh: missing")
	f.ok("verify %bare --authority %auth.pub --manager-only", "holds")
}

// What --json prints has these names, for scripts.
func TestVerifyJSON(t *testing.T) {
	f := newFull(t)
	var out struct {
		OK                   bool
		Findings             []struct{ Check, Text string }
		NotProven            []string `json:"not_proven"`
		Manager, VTPM, Group string
		Hardware, Guest      struct {
			Bank   string
			PCRs   []int
			Values map[string]string
		}
		PCRs map[string]string
	}
	text := f.ok("verify --json %bundle --authority %auth.pub")
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	if !out.OK || out.VTPM != u1 || out.Hardware.Bank != "sha256" || len(out.Hardware.PCRs) != 8 || len(out.Hardware.Values) != 8 ||
		!slices.Equal(out.Guest.PCRs, []int{10}) || out.Guest.Values["10"] != strings.Repeat("00", 32) || len(out.NotProven) == 0 || len(out.PCRs) != 8 || out.Manager == "" {
		t.Errorf("%s", text)
	}
}
