package service

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"xenvtpm/boot/startinfo"
	"xenvtpm/vtpm-stub/tpm2"
	"xenvtpm/vtpmmgr-stub/proto"
)

// fakeTPM has two endorsement keys and some NV.
type fakeTPM struct {
	seed    string // of the keys
	nv      map[tpm2.Handle][]byte
	keyErr  error
	nvErr   error
	created []tpm2.EKTemplate
}

func (f *fakeTPM) EKPublic(k tpm2.EKTemplate) (public, unique []byte, err error) {
	f.created = append(f.created, k)
	unique = fmt.Appendf(nil, "%s-%d", f.seed, k)
	return append([]byte("public "), unique...), unique, f.keyErr
}

func (f *fakeTPM) ProvisionNV(index tpm2.Handle, data []byte) error {
	if f.nvErr != nil {
		return f.nvErr
	}
	f.nv[index] = data
	return nil
}

func (f *fakeTPM) Profile() *tpm2.Profile { return tpm2.DefaultProfile() }

func (f *fakeTPM) NVData(index tpm2.Handle) []byte { return f.nv[index] }

// certifier is a manager that issues certificates.
type certifier struct {
	err   error
	wrong bool
	asked int
}

func (c *certifier) CertifyKey(public []byte, _ uint32) (proto.Certificates, error) {
	c.asked++
	if c.wrong {
		public = []byte("public of another")
	}
	return proto.Certificates{EK: append([]byte("cert of "), public...), CA: []byte("CA")}, c.err
}

func TestProvisioner(t *testing.T) {
	const ecc, rsa, chain = tpm2.NVCertECCP256, tpm2.NVCertRSA2048, tpm2.NVCertChain
	old := map[tpm2.Handle][]byte{ecc: []byte("cert of old-2"), rsa: []byte("cert of old-1"), chain: []byte("old CA")}
	good := map[tpm2.Handle][]byte{ecc: []byte("cert of public new-2"), chain: []byte("CA")}
	for _, c := range []struct {
		name  string
		want  EKCerts
		nv    map[tpm2.Handle][]byte
		mgr   certifier
		tpm   fakeTPM
		again bool
		asked int
		keys  int
		lines int
		left  map[tpm2.Handle]string
	}{
		{name: "a new TPM", want: CertECC, asked: 1, keys: 1, lines: 1, left: map[tpm2.Handle]string{ecc: "cert of public new-2", chain: "CA"}},
		{name: "both keys", want: CertECC | CertRSA, asked: 2, keys: 2, lines: 2,
			left: map[tpm2.Handle]string{ecc: "cert of public new-2", rsa: "cert of public new-1", chain: "CA"}},
		{name: "all there", want: CertECC, nv: good, keys: 1, left: map[tpm2.Handle]string{ecc: "cert of public new-2", chain: "CA"}},
		{name: "an RSA key is not created to compare it", want: CertRSA, nv: old, left: map[tpm2.Handle]string{rsa: "cert of old-1"}},
		{name: "the endorsement seed was changed", want: CertECC | CertRSA, nv: old, asked: 2, keys: 2, lines: 2,
			left: map[tpm2.Handle]string{ecc: "cert of public new-2", rsa: "cert of public new-1", chain: "CA"}},
		{name: "a stock manager", want: CertECC | CertRSA, mgr: certifier{err: proto.BadOrdinal}, asked: 1, keys: 1, lines: 1},
		{name: "its hardware is not available", want: CertECC, mgr: certifier{err: proto.Unavailable}, again: true, asked: 1, keys: 1, lines: 1},
		{name: "the manager is gone", want: CertECC, mgr: certifier{err: errors.New("no answer")}, again: true, asked: 1, keys: 1, lines: 1},
		{name: "it refuses", want: CertECC, mgr: certifier{err: proto.BadParameter}, asked: 1, keys: 1, lines: 1},
		{name: "a certificate for another key", want: CertECC, mgr: certifier{wrong: true}, asked: 1, keys: 1, lines: 1},
		{name: "NV is full", want: CertECC, tpm: fakeTPM{nvErr: tpm2.TPM_RC_NV_SPACE}, asked: 1, keys: 1, lines: 1},
		{name: "stopped", want: CertRSA, tpm: fakeTPM{keyErr: tpm2.TPM_RC_CANCELED}, again: true, keys: 1, lines: 1},
	} {
		tpm := c.tpm
		tpm.seed, tpm.nv = "new", map[tpm2.Handle][]byte{}
		for k, v := range c.nv {
			tpm.nv[k] = v
		}
		lines := 0
		s := New(&fakeEngine{}, LocalityPolicy{}, nil)
		mgr := c.mgr
		s.ek = &provisioner{want: c.want, from: &mgr, tpm: &tpm, logf: func(string, ...any) { lines++ }}
		if again := s.Provision(nil); again != c.again || mgr.asked != c.asked || len(tpm.created) != c.keys || lines != c.lines {
			t.Errorf("%s: again %v, %d certificates, %d keys, %d log lines", c.name, again, mgr.asked, len(tpm.created), lines)
		}
		for k, v := range c.left {
			if string(tpm.nv[k]) != v {
				t.Errorf("%s: index %#x has %q", c.name, uint32(k), tpm.nv[k])
			}
		}
		if c.left == nil && len(tpm.nv) != 0 {
			t.Errorf("%s: NV was written", c.name)
		}
		if asked := mgr.asked; !c.again && (s.Provision(nil) || mgr.asked != asked) {
			t.Errorf("%s: it is not over", c.name)
		}
	}
}

// What could not be had at first comes later; what is there is not asked for
// again.
func TestProvisionLater(t *testing.T) {
	tpm := &fakeTPM{seed: "new", nv: map[tpm2.Handle][]byte{}}
	mgr := &certifier{err: proto.Unavailable}
	s := New(&fakeEngine{}, LocalityPolicy{}, t.Logf)
	s.ek = &provisioner{want: CertECC | CertRSA, from: mgr, tpm: tpm, logf: t.Logf}
	if !s.Provision(nil) {
		t.Fatal("given up")
	}
	mgr.err = nil
	if s.Provision(nil) || len(tpm.nv) != 3 || mgr.asked != 4 {
		t.Errorf("%d indices after %d questions", len(tpm.nv), mgr.asked)
	}
}

// A TPM in failure mode gets nothing.
func TestProvisionFailed(t *testing.T) {
	mgr := &certifier{}
	s := New(&fakeEngine{failed: true}, LocalityPolicy{}, t.Logf)
	s.ek = &provisioner{want: CertECC, from: mgr, tpm: &fakeTPM{}, logf: t.Logf}
	if s.Provision(nil) || mgr.asked != 0 {
		t.Error("the manager was asked")
	}
}

func TestNewOptions(t *testing.T) {
	for in, want := range map[string]func(Options) bool{
		"":                        func(o Options) bool { return o.EKCerts == CertECC && o.Reset == ResetGuest && !o.NoDeep },
		"ekcert=none":             func(o Options) bool { return o.EKCerts == 0 },
		"ekcert=all":              func(o Options) bool { return o.EKCerts == CertECC|CertRSA },
		"ekcert=rsa reset=never":  func(o Options) bool { return o.EKCerts == CertRSA && o.Reset == ResetNever },
		"reset=guest deepquote=1": func(o Options) bool { return o.Reset == ResetGuest && !o.NoDeep },
		"platform=open":           func(o Options) bool { return o.OpenPlatform },
		"platform=closed":         func(o Options) bool { return !o.OpenPlatform },
		"reset=announced":         func(o Options) bool { return o.Reset == ResetAnnounced },
		"reset=always":            func(o Options) bool { return o.Reset == ResetAlways },
		"deepquote=0":             func(o Options) bool { return o.NoDeep },
	} {
		o, err := ParseOptions(mustOptions(t, in))
		if err != nil || !want(o) {
			t.Errorf("%q: %+v, %v", in, o, err)
		}
	}
	for _, in := range []string{"ekcert", "ekcert=", "ekcert=dsa", "reset", "reset=sometimes", "platform", "platform=ajar", "deepquote", "deepquote=maybe"} {
		if _, err := ParseOptions(mustOptions(t, in)); err == nil || !strings.Contains(err.Error(), strings.Split(in, "=")[0]) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// The real engine: the certificate lies where a guest looks for it, and the
// part of the key that is searched for is in it.
func TestProvisionEngine(t *testing.T) {
	tpm, err := tpm2.New(tpm2.Config{Clock: func() int64 { return 0 }, Entropy: NewEntropy(nil, t.Logf)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := startup(tpm, false, t.Logf); err != nil {
		t.Fatal(err)
	}
	mgr := &rawCertifier{}
	for range 2 {
		p := &provisioner{want: CertECC, from: mgr, tpm: tpm, logf: t.Logf}
		if p.run() {
			t.Fatal("not done")
		}
	}
	if mgr.asked != 1 || !bytes.Equal(tpm.NVData(tpm2.NVCertECCP256), mgr.last) {
		t.Errorf("asked %d times", mgr.asked)
	}
}

// rawCertifier puts the point of a public area into what it calls a certificate.
type rawCertifier struct {
	asked int
	last  []byte
}

func (c *rawCertifier) CertifyKey(public []byte, _ uint32) (proto.Certificates, error) {
	c.asked++
	n := len(public) - 68 // two sized coordinates of 32 bytes
	c.last = append(append([]byte("DER \x04"), public[n+2:n+34]...), public[n+36:]...)
	return proto.Certificates{EK: c.last, CA: []byte("CA")}, nil
}

func mustOptions(t *testing.T, cmdline string) startinfo.Options {
	t.Helper()
	list, err := startinfo.ParseCmdline(cmdline)
	if err != nil {
		t.Fatal(err)
	}
	return list
}
