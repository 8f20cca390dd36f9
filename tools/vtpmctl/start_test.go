package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"xenvtpm/tools/stubimage/manifest"
	"xenvtpm/tools/stubimage/sshsig"
	"xenvtpm/tools/stubimage/verify"
)

// A host has a signed release, a policy, two configurations and a toolstack
// that only writes down what it is told.
type host struct {
	t                      *testing.T
	dir                    string
	alice, bob             ssh.Signer
	m                      manifest.Manifest
	allowed                string // the file allowed_signers
	managerCfg, vtpmCfg    string
	images, trust, journal string
}

func newHost(t *testing.T) *host {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, dir: dir, alice: imageSigner(t), bob: imageSigner(t), images: filepath.Join(dir, "images"),
		trust: filepath.Join(dir, "trust"), journal: filepath.Join(dir, "journal")}
	h.m = manifest.Manifest{Format: manifest.Format, Version: "1.2.3", Commit: "c0ffee", Toolchain: manifest.Toolchain{Go: "go1.26", Tamago: "v1.26.0"}}
	for _, name := range []string{"vtpm-stub", "vtpmmgr-stub"} {
		h.write("images/"+name, "image "+name)
		h.write("images/"+name+".gz", "packed "+name)
		gz := manifest.Sum(name+".gz", []byte("packed "+name))
		h.m.Images = append(h.m.Images, manifest.Image{Digest: manifest.Sum(name, []byte("image "+name)), PVHEntry: "0x101000", Package: "x/" + name, Gzip: &gz})
	}
	h.write("images/"+manifest.SBOMFile, "{}")
	h.m.Files = []manifest.Digest{manifest.Sum(manifest.SBOMFile, []byte("{}"))}
	h.seal()
	h.allow("alice", h.alice, "")
	h.rules(`{"quorum":1}`)
	h.managerCfg = h.config("vtpmmgr", h.images+"/vtpmmgr-stub")
	h.vtpmCfg = h.config("vtpm1", h.images+"/vtpm-stub.gz")
	h.toolstack(0)
	return h
}

func imageSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (h *host) write(name, text string) string {
	h.t.Helper()
	file := filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
	return file
}

func (h *host) read(name string) string {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.dir, name))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b)
}

func (h *host) remove(name string) {
	h.t.Helper()
	if err := os.Remove(filepath.Join(h.dir, name)); err != nil {
		h.t.Fatal(err)
	}
}

// flip changes one bit of a file.
func (h *host) flip(name string) {
	b := []byte(h.read(name))
	b[len(b)/2] ^= 1
	h.write(name, string(b))
}

// seal writes the manifest with alice's signature.
func (h *host) seal() {
	h.t.Helper()
	b, err := h.m.Encode()
	if err != nil {
		h.t.Fatal(err)
	}
	h.write("images/"+manifest.File, string(b))
	h.sign("alice", h.alice, manifest.Namespace)
}

func (h *host) sign(id string, s ssh.Signer, namespace string) {
	h.t.Helper()
	sig, err := sshsig.Sign(rand.Reader, s, namespace, []byte(h.read("images/"+manifest.File)))
	if err != nil {
		h.t.Fatal(err)
	}
	h.write("images/"+manifest.File+"."+id+".sig", string(sig))
}

func (h *host) allow(principal string, s ssh.Signer, options string) {
	h.allowed += fmt.Sprintf("%s %s %s", principal, options, ssh.MarshalAuthorizedKey(s.PublicKey()))
	h.write("trust/"+verify.SignersFile, h.allowed)
}

func (h *host) onlyAllow(principal string, s ssh.Signer, options string) {
	h.allowed = ""
	h.allow(principal, s, options)
}

func (h *host) rules(text string) { h.write("trust/"+verify.RulesFile, text) }

func (h *host) config(name, kernel string) string {
	return h.write(name+".cfg", fmt.Sprintf("# %s\nname = '%s'\ntype = \"pvh\"\nkernel = \"%s\" # the image\nmemory = 16\n", name, name, kernel))
}

// toolstack puts an xl into the path that keeps its arguments and the
// configuration, and ends with a code.
func (h *host) toolstack(code int) {
	h.t.Helper()
	xl := h.write("bin/xl", fmt.Sprintf("#!/bin/sh\necho \"xl $*\" >> '%s'\ncat \"$2\" >> '%s'\necho said by xl\nexit %d\n", h.journal, h.journal, code))
	if err := os.Chmod(xl, 0o755); err != nil {
		h.t.Fatal(err)
	}
	h.t.Setenv("PATH", filepath.Dir(xl)+":"+os.Getenv("PATH"))
}

// start runs vtpmctl start; ran is what xl was asked to do.
func (h *host) start(args ...string) (code int, out, errs, ran string) {
	h.t.Helper()
	var o, e bytes.Buffer
	env := &env{out: &o, err: &e, getenv: func(string) string { return "" }, now: time.Now}
	code = run(env, append([]string{"start", "--policy", h.trust}, args...))
	b, err := os.ReadFile(h.journal)
	if err != nil && !os.IsNotExist(err) {
		h.t.Fatal(err)
	}
	return code, o.String(), e.String(), string(b)
}

func TestStart(t *testing.T) {
	h := newHost(t)
	code, out, errs, ran := h.start(h.managerCfg, h.vtpmCfg)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	if n := strings.Count(ran, "xl create "); n != 2 || strings.Index(ran, "vtpmmgr") > strings.Index(ran, "vtpm1") {
		t.Errorf("xl ran %d times:\n%s", n, ran)
	}
	for _, want := range []string{`kernel = "` + h.images + `/vtpmmgr-stub" # the image`, `kernel = "` + h.images + `/vtpm-stub.gz"`, "memory = 16"} {
		if !strings.Contains(ran, want) {
			t.Errorf("xl was not given %s:\n%s", want, ran)
		}
	}
	if !strings.HasPrefix(out, "OK vtpmmgr: ") || !strings.Contains(out, "release 1.2.3, signed by alice") || strings.Contains(out, "said by xl") {
		t.Errorf("it says\n%s", out)
	}
}

func TestStartJSON(t *testing.T) {
	h := newHost(t)
	decode := func(out string) (v startVerdict) {
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Fatalf("%v in %q", err, out)
		}
		return v
	}
	code, out, _, _ := h.start("--json", h.vtpmCfg)
	v := decode(out)
	if code != exitOK || !v.OK || len(v.Domains) != 1 {
		t.Fatalf("%d %+v", code, v)
	}
	d := v.Domains[0]
	if d.Name != "vtpm1" || !d.Started || d.Version != "1.2.3" || d.Image != h.images+"/vtpm-stub.gz" ||
		d.SHA256 != manifest.Sum("", []byte("packed vtpm-stub")).SHA256 || len(d.Signers) != 1 {
		t.Errorf("%+v", d)
	}
	h.flip("images/vtpm-stub")
	code, out, _, _ = h.start("--json", h.vtpmCfg)
	if v := decode(out); code != exitRefused || v.OK || v.Code != verify.Changed || v.Config != h.vtpmCfg || v.Domains != nil {
		t.Errorf("%d %+v", code, v)
	}
}

func TestStartDryRun(t *testing.T) {
	h := newHost(t)
	code, out, _, ran := h.start("--dry-run", "--json", h.vtpmCfg)
	if code != exitOK || ran != "" || strings.Contains(out, `"started": true`) {
		t.Errorf("%d %s%s", code, out, ran)
	}
}

// What must not run does not run: nothing is asked of xl, not even for the
// good configuration before it, and one line says why.
func TestStartRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(h *host)
		code   verify.Code
		detail string
	}{
		"flipped byte in the image":       {func(h *host) { h.flip("images/vtpm-stub.gz") }, verify.Changed, "vtpm-stub.gz: SHA-256"},
		"flipped byte in another image":   {func(h *host) { h.flip("images/vtpmmgr-stub") }, verify.Changed, "vtpmmgr-stub: SHA-256"},
		"flipped byte in the manifest":    {func(h *host) { h.flip("images/" + manifest.File) }, verify.BadSignature, "does not match"},
		"unknown signer":                  {func(h *host) { h.onlyAllow("bob", h.bob, "") }, verify.UnknownSigner, "no allowed signer"},
		"signature for another namespace": {func(h *host) { h.sign("alice", h.alice, "file") }, verify.Namespace, `"file"`},
		"key for another namespace":       {func(h *host) { h.onlyAllow("alice", h.alice, `namespaces="git"`) }, verify.UnknownSigner, "namespace"},
		"expired key":                     {func(h *host) { h.onlyAllow("alice", h.alice, `valid-before="20200101"`) }, verify.KeyExpired, "of alice"},
		"revoked key": {func(h *host) {
			h.write("trust/"+verify.RevokedFile, string(ssh.MarshalAuthorizedKey(h.alice.PublicKey())))
		}, verify.KeyRevoked, "SHA256:"},
		"fewer signers than the quorum": {func(h *host) { h.allow("bob", h.bob, ""); h.rules(`{"quorum":2}`) }, verify.Quorum, "1 of 2"},
		"one signer twice": {func(h *host) {
			h.allow("alice", h.bob, "")
			h.sign("bob", h.bob, manifest.Namespace)
			h.rules(`{"quorum":2}`)
		}, verify.Quorum, "second signature by alice"},
		"version below the minimum":      {func(h *host) { h.rules(`{"quorum":1,"minVersion":"1.3.0"}`) }, verify.OldVersion, "1.2.3 is below the minimum 1.3.0"},
		"release past its time":          {func(h *host) { h.m.Expires = "2020-01-01T00:00:00Z"; h.seal() }, verify.Expired, "2020"},
		"the image is missing":           {func(h *host) { h.remove("images/vtpm-stub.gz") }, verify.Missing, "vtpm-stub.gz"},
		"another image is missing":       {func(h *host) { h.remove("images/vtpmmgr-stub") }, verify.Missing, "vtpmmgr-stub"},
		"a required image is not listed": {func(h *host) { h.rules(`{"quorum":1,"require":["third-stub"]}`) }, verify.Missing, "third-stub"},
		"an extra image":                 {func(h *host) { h.write("images/evil-stub", "x") }, verify.Extra, "evil-stub"},
		"no signature":                   {func(h *host) { h.remove("images/" + manifest.File + ".alice.sig") }, verify.Unsigned, "no manifest.json"},
		"no manifest":                    {func(h *host) { h.remove("images/" + manifest.File) }, verify.Missing, manifest.File},
		"an image elsewhere":             {func(h *host) { h.config("vtpm1", h.write("other/vtpm-stub", "image vtpm-stub")) }, verify.Missing, "no manifest.json"},
		"a signed file that is no image": {func(h *host) { h.config("vtpm1", h.images+"/"+manifest.File) }, verify.Extra, "no image of release"},
		"a link in the place of the image": {func(h *host) {
			h.remove("images/vtpm-stub.gz")
			os.Symlink(h.write("same", "packed vtpm-stub"), h.images+"/vtpm-stub.gz")
		}, verify.Changed, "not a plain file"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			if code, _, errs, _ := h.start("--dry-run", h.managerCfg, h.vtpmCfg); code != exitOK {
				t.Fatalf("before the change: %s", errs)
			}
			tt.change(h)
			code, out, errs, ran := h.start(h.managerCfg, h.vtpmCfg)
			if code != exitRefused || ran != "" || out != "" {
				t.Errorf("exit %d, printed %q, xl ran %q", code, out, ran)
			}
			if want := ": " + string(tt.code) + ": "; !strings.HasPrefix(errs, "vtpmctl start: REFUSED ") || !strings.Contains(errs, want) ||
				!strings.Contains(errs, tt.detail) || strings.Count(errs, "\n") != 1 {
				t.Errorf("it says %q, want %s with %q", errs, tt.code, tt.detail)
			}
		})
	}
}

// What cannot be decided does not run either, with another exit code.
func TestStartUndecided(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(h *host)
		want   string
	}{
		"no policy":                 {func(h *host) { h.remove("trust/" + verify.SignersFile) }, "policy"},
		"a damaged policy":          {func(h *host) { h.rules("{") }, "rules.json"},
		"no configuration":          {func(h *host) { h.remove("vtpm1.cfg") }, "no such file"},
		"not a configuration":       {func(h *host) { h.write("vtpm1.cfg", "kernel = /x") }, "line 1"},
		"two kernels":               {func(h *host) { h.write("vtpm1.cfg", h.read("vtpm1.cfg")+"kernel = '/x'\n") }, "second time"},
		"a kernel that is added to": {func(h *host) { h.write("vtpm1.cfg", h.read("vtpm1.cfg")+"kernel += '/x'\n") }, "line 6"},
		"no kernel":                 {func(h *host) { h.write("vtpm1.cfg", "name='a'\ntype='pvh'\n") }, "no kernel"},
		"a boot loader":             {func(h *host) { h.write("vtpm1.cfg", h.read("vtpm1.cfg")+"bootloader = 'pygrub'\n") }, "bootloader="},
		"a RAM disk":                {func(h *host) { h.write("vtpm1.cfg", h.read("vtpm1.cfg")+"ramdisk = '/x'\n") }, "ramdisk="},
		"a shim":                    {func(h *host) { h.write("vtpm1.cfg", h.read("vtpm1.cfg")+"pvshim = 1\n") }, "pvshim="},
		"not PVH":                   {func(h *host) { h.write("vtpm1.cfg", strings.Replace(h.read("vtpm1.cfg"), "pvh", "hvm", 1)) }, "pvh"},
		"image open to others":      {func(h *host) { os.Chmod(h.images+"/vtpm-stub.gz", 0o666) }, "vtpm-stub.gz may be written by others"},
		"folder open to a group":    {func(h *host) { os.Chmod(h.images, 0o775) }, "images may be written by others"},
		"rules open to others":      {func(h *host) { os.Chmod(filepath.Join(h.trust, verify.RulesFile), 0o646) }, "rules.json may be written by others"},
		"policy open to others":     {func(h *host) { os.Chmod(h.trust, 0o777) }, "trust may be written by others"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			tt.change(h)
			code, out, errs, ran := h.start("--json", h.vtpmCfg)
			if code != exitFailed || ran != "" || out != "" || !strings.Contains(errs, tt.want) {
				t.Errorf("exit %d, %q, xl ran %q, says %q, want %q", code, out, ran, errs, tt.want)
			}
		})
	}
}

func TestStartXLFails(t *testing.T) {
	h := newHost(t)
	h.toolstack(1)
	code, out, errs, ran := h.start(h.managerCfg, h.vtpmCfg)
	if code != exitFailed || out != "" || strings.Count(ran, "xl create") != 1 || !strings.Contains(errs, "xl create failed") || !strings.Contains(errs, "said by xl") {
		t.Errorf("exit %d, %q, %q, %q", code, out, errs, ran)
	}
	if code, _, _, _ := h.start(); code != exitFailed {
		t.Errorf("no configuration: exit %d", code)
	}
}

// The folder may be a link that an upgrade moves: the domain gets what was
// verified.
func TestStartResolvesLinks(t *testing.T) {
	h := newHost(t)
	if err := os.Symlink("images", h.dir+"/current"); err != nil {
		t.Fatal(err)
	}
	t.Chdir(h.dir)
	code, _, errs, ran := h.start(h.config("vtpm2", "current/vtpm-stub"))
	if want := `kernel = "` + h.images + `/vtpm-stub"`; code != exitOK || !strings.Contains(ran, want) {
		t.Errorf("exit %d: %s%s, want %s", code, errs, ran, want)
	}
}
