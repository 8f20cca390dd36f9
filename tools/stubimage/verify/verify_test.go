package verify

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"xenvtpm/tools/stubimage/manifest"
	"xenvtpm/tools/stubimage/sshsig"
)

var now = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

func newSigner(t testing.TB) ssh.Signer {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A fixture is a folder with a good release in it, signed by alice and bob.
type fixture struct {
	t                *testing.T
	dir              string
	alice, bob, carl ssh.Signer
	allowed          string
	policy           Policy
	m                manifest.Manifest
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir(), alice: newSigner(t), bob: newSigner(t), carl: newSigner(t)}
	f.m = manifest.Manifest{Format: manifest.Format, Version: "1.2.3", Commit: "c0ffee", Toolchain: manifest.Toolchain{Go: "go1.26", Tamago: "v1.26.0"}}
	for _, name := range []string{"vtpm-stub", "vtpmmgr-stub"} {
		image, packed := []byte("image "+name), []byte("packed "+name)
		f.write(name, image)
		f.write(name+".gz", packed)
		gz := manifest.Sum(name+".gz", packed)
		f.m.Images = append(f.m.Images, manifest.Image{Digest: manifest.Sum(name, image), PVHEntry: "0x101000", Package: "x/" + name, Gzip: &gz})
	}
	f.write(manifest.SBOMFile, []byte("{}"))
	f.m.Files = []manifest.Digest{manifest.Sum(manifest.SBOMFile, []byte("{}"))}
	f.seal()
	f.policy = Policy{Quorum: 2, MinVersion: "1.2.0", Require: []string{"vtpm-stub"}, Now: now}
	f.allow("alice", f.alice, "")
	f.allow("bob", f.bob, "")
	return f
}

// seal writes the manifest and both signatures.
func (f *fixture) seal() {
	f.t.Helper()
	b, err := f.m.Encode()
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(manifest.File, b)
	f.sign("alice", f.alice, manifest.Namespace)
	f.sign("bob", f.bob, manifest.Namespace)
}

func (f *fixture) write(name string, b []byte) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), b, 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) read(name string) []byte {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

func (f *fixture) remove(name string) {
	f.t.Helper()
	if err := os.Remove(filepath.Join(f.dir, name)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) sign(id string, s ssh.Signer, namespace string) {
	f.t.Helper()
	sig, err := sshsig.Sign(rand.Reader, s, namespace, f.read(manifest.File))
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(manifest.File+"."+id+".sig", sig)
}

func (f *fixture) allow(principals string, s ssh.Signer, options string) {
	f.t.Helper()
	f.allowed += fmt.Sprintf("%s %s %s", principals, options, ssh.MarshalAuthorizedKey(s.PublicKey()))
	if err := f.policy.SetSigners([]byte(f.allowed)); err != nil {
		f.t.Fatal(err)
	}
}

// onlyAllow replaces the allowed signers.
func (f *fixture) onlyAllow(principals string, s ssh.Signer, options string) {
	f.allowed = ""
	f.allow(principals, s, options)
}

// bob's signature removed, and a quorum of one: a release by alice alone.
func (f *fixture) aliceOnly() {
	f.remove(manifest.File + ".bob.sig")
	f.policy.Quorum = 1
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 0x10
	return b
}

func TestAccepted(t *testing.T) {
	f := newFixture(t)
	report, err := Dir(f.dir, f.policy)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Signers) != 2 || report.Signers[0].Principals[0] != "alice" || report.Manifest.Version != "1.2.3" || len(report.Ignored) != 0 {
		t.Errorf("%+v", report)
	}
}

// Each change to an accepted release ends in one refusal with its own code.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(f *fixture)
		code   Code
		detail string
	}{
		{"bit in an image", func(f *fixture) { f.write("vtpm-stub", flip(f.read("vtpm-stub"), 3)) }, Changed, "vtpm-stub: SHA-256"},
		{"bit in a compressed image", func(f *fixture) { f.write("vtpmmgr-stub.gz", flip(f.read("vtpmmgr-stub.gz"), 0)) }, Changed, "vtpmmgr-stub.gz"},
		{"byte behind an image", func(f *fixture) { f.write("vtpm-stub", append(f.read("vtpm-stub"), 0)) }, Changed, "vtpm-stub"},
		{"image cut short", func(f *fixture) { f.write("vtpm-stub", f.read("vtpm-stub")[:4]) }, Changed, "4 bytes"},
		{"images swapped", func(f *fixture) { f.write("vtpm-stub", f.read("vtpmmgr-stub")) }, Changed, "vtpm-stub"},
		{"bit in the bill of materials", func(f *fixture) { f.write(manifest.SBOMFile, []byte("[]")) }, Changed, manifest.SBOMFile},
		{"bit in the manifest", func(f *fixture) {
			f.write(manifest.File, bytes.Replace(f.read(manifest.File), []byte("1.2.3"), []byte("1.2.7"), 1))
		}, BadSignature, "does not match"},
		{"space behind the manifest", func(f *fixture) { f.write(manifest.File, append(f.read(manifest.File), ' ')) }, BadSignature, "does not match"},
		{"image missing", func(f *fixture) { f.remove("vtpmmgr-stub") }, Missing, "vtpmmgr-stub"},
		{"compressed image missing", func(f *fixture) { f.remove("vtpm-stub.gz") }, Missing, "vtpm-stub.gz"},
		{"manifest missing", func(f *fixture) { f.remove(manifest.File) }, Missing, manifest.File},
		{"required image not listed", func(f *fixture) { f.policy.Require = []string{"other-stub"} }, Missing, "other-stub"},
		{"extra image", func(f *fixture) { f.write("evil-stub", []byte("x")) }, Extra, "evil-stub"},
		{"extra folder", func(f *fixture) { os.Mkdir(filepath.Join(f.dir, "d"), 0o755) }, Extra, "d is in"},
		{"hidden extra file", func(f *fixture) { f.write(".x", []byte("x")) }, Extra, ".x"},
		{"image is a link", func(f *fixture) {
			other := filepath.Join(f.t.TempDir(), "same")
			os.WriteFile(other, f.read("vtpm-stub"), 0o644)
			f.remove("vtpm-stub")
			os.Symlink(other, filepath.Join(f.dir, "vtpm-stub"))
		}, Changed, "not a plain file"},
		{"no signature", func(f *fixture) { f.remove(manifest.File + ".alice.sig"); f.remove(manifest.File + ".bob.sig") }, Unsigned, ""},
		{"unknown signers", func(f *fixture) { f.onlyAllow("carl", f.carl, "") }, UnknownSigner, "no allowed signer"},
		{"one signer of two", func(f *fixture) { f.remove(manifest.File + ".bob.sig") }, Quorum, "1 of 2"},
		{"one signer of two unknown", func(f *fixture) { f.onlyAllow("alice", f.alice, "") }, Quorum, "unknown-signer"},
		{"quorum of three", func(f *fixture) { f.policy.Quorum = 3 }, Quorum, "2 of 3"},
		{"one person with two keys", func(f *fixture) {
			f.onlyAllow("alice", f.alice, "")
			f.allow("alice", f.bob, "")
		}, Quorum, "second signature by alice"},
		{"two lists that share a person", func(f *fixture) {
			f.onlyAllow("alice,ops", f.alice, "")
			f.allow("bob,ops", f.bob, "")
		}, Quorum, "1 of 2"},
		{"one key under two names", func(f *fixture) {
			f.onlyAllow("alice", f.alice, "")
			f.allow("bob", f.alice, "")
			f.sign("bob", f.alice, manifest.Namespace)
		}, Quorum, "1 of 2"},
		{"another namespace", func(f *fixture) { f.aliceOnly(); f.sign("alice", f.alice, "git") }, Namespace, `"git"`},
		{"key for other namespaces", func(f *fixture) { f.aliceOnly(); f.onlyAllow("alice", f.alice, `namespaces="git,file"`) }, UnknownSigner, "not allowed to sign for this namespace"},
		{"expired key", func(f *fixture) { f.aliceOnly(); f.onlyAllow("alice", f.alice, `valid-before="20260531Z"`) }, KeyExpired, "expired"},
		{"key not yet valid", func(f *fixture) { f.aliceOnly(); f.onlyAllow("alice", f.alice, `valid-after="20260602Z"`) }, KeyExpired, "not valid yet"},
		{"revoked key", func(f *fixture) {
			f.aliceOnly()
			f.policy.Revoked = sshsig.Revoked{ssh.FingerprintSHA256(f.alice.PublicKey()): true}
		}, KeyRevoked, "SHA256:"},
		{"one revoked key of two", func(f *fixture) {
			f.policy.Revoked = sshsig.Revoked{ssh.FingerprintSHA256(f.bob.PublicKey()): true}
		}, Quorum, "key-revoked"},
		{"version below the minimum", func(f *fixture) { f.policy.MinVersion = "1.2.4" }, OldVersion, "1.2.3 is below the minimum 1.2.4"},
		{"prerelease of the minimum", func(f *fixture) { f.m.Version = "1.2.0-rc.1"; f.seal() }, OldVersion, "below"},
		{"release expired", func(f *fixture) { f.m.Expires = "2026-05-31T23:59:59Z"; f.seal() }, Expired, "2026-05-31"},
		{"another format, signed", func(f *fixture) {
			f.write(manifest.File, bytes.Replace(f.read(manifest.File), []byte(manifest.Format), []byte("xen-vtpm-images/3"), 1))
			f.sign("alice", f.alice, manifest.Namespace)
			f.sign("bob", f.bob, manifest.Namespace)
		}, Malformed, "format"},
		{"a signature that is none", func(f *fixture) { f.aliceOnly(); f.write(manifest.File+".alice.sig", []byte("x")) }, BadSignature, "does not start"},
		{"a huge signature", func(f *fixture) {
			f.aliceOnly()
			f.write(manifest.File+".alice.sig", bytes.Repeat([]byte("x"), sshsig.MaxSize+1))
		}, BadSignature, "too big"},
		{"signature with a strange name", func(f *fixture) { f.write(manifest.File+".xsig", f.read(manifest.File+".bob.sig")) }, Extra, ".xsig"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			if _, err := Dir(f.dir, f.policy); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			tt.change(f)
			_, err := Dir(f.dir, f.policy)
			var r *Refusal
			if !errors.As(err, &r) || r.Code != tt.code || !strings.Contains(r.Detail, tt.detail) {
				t.Fatalf("got %v, want %s with %q", err, tt.code, tt.detail)
			}
			if strings.Contains(r.Error(), "\n") {
				t.Errorf("the reason has more than one line: %q", r.Error())
			}
		})
	}
}

// Bad signatures beside enough good ones are reported and do no harm.
func TestStillAccepted(t *testing.T) {
	for name, change := range map[string]func(f *fixture){
		"a stranger signed too":     func(f *fixture) { f.sign("carl", f.carl, manifest.Namespace) },
		"a broken signature too":    func(f *fixture) { f.write(manifest.File+".x.sig", []byte("x")) },
		"for another purpose too":   func(f *fixture) { f.sign("x", f.alice, "git") },
		"a second line is expired":  func(f *fixture) { f.allow("alice", f.alice, `valid-before="20200101Z"`) },
		"release expires later":     func(f *fixture) { f.m.Expires = "2026-06-01T00:00:01Z"; f.seal() },
		"minimum is this version":   func(f *fixture) { f.policy.MinVersion = "1.2.3" },
		"plain name of a signature": func(f *fixture) { f.write(manifest.File+".sig", f.read(manifest.File+".bob.sig")) },
		"first line expired": func(f *fixture) {
			f.allowed = ""
			f.allow("alice", f.alice, `valid-before="20200101Z"`)
			f.allow("alice", f.alice, "")
			f.allow("bob", f.bob, "")
		},
		"namespace named in options": func(f *fixture) {
			f.allowed = ""
			f.allow("alice", f.alice, `namespaces="`+manifest.Namespace+`"`)
			f.allow("bob", f.bob, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			change(f)
			if report, err := Dir(f.dir, f.policy); err != nil {
				t.Fatal(err)
			} else if len(report.Signers) != 2 {
				t.Errorf("%+v", report.Signers)
			}
		})
	}
}

func TestImage(t *testing.T) {
	f := newFixture(t)
	link := filepath.Join(t.TempDir(), "current")
	if err := os.Symlink(f.dir, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"vtpm-stub", "vtpmmgr-stub.gz"} {
		real, err := filepath.EvalSymlinks(f.dir)
		if err != nil {
			t.Fatal(err)
		}
		path, report, err := Image(filepath.Join(link, name), f.policy)
		if err != nil || path != filepath.Join(real, name) || report.Manifest.Version != "1.2.3" {
			t.Errorf("%s: %s %v", name, path, err)
		}
	}
	var r *Refusal
	if _, _, err := Image(filepath.Join(f.dir, manifest.SBOMFile), f.policy); !errors.As(err, &r) || r.Code != Extra {
		t.Errorf("the bill of materials as an image: %v", err)
	}
	f.write("vtpmmgr-stub", []byte("evil")) // another image of the same folder
	if _, _, err := Image(filepath.Join(f.dir, "vtpm-stub"), f.policy); !errors.As(err, &r) || r.Code != Changed {
		t.Errorf("beside a changed image: %v", err)
	}
	if _, _, err := Image(filepath.Join(f.dir, "gone", "vtpm-stub"), f.policy); err == nil || errors.As(err, &r) && r.Code != Missing {
		t.Errorf("no folder: %v", err)
	}
}

// What cannot be looked at is no refusal, so that a script can tell.
func TestNotARefusal(t *testing.T) {
	f := newFixture(t)
	f.policy.MinVersion = "latest"
	var r *Refusal
	if _, err := Dir(f.dir, f.policy); err == nil || errors.As(err, &r) {
		t.Errorf("a bad policy: %v", err)
	}
}

func TestLoadPolicy(t *testing.T) {
	key := string(ssh.MarshalAuthorizedKey(newSigner(t).PublicKey()))
	load := func(files map[string]string) (Policy, error) {
		dir := t.TempDir()
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return LoadPolicy(dir)
	}
	p, err := load(map[string]string{SignersFile: "a " + key, RevokedFile: key, RulesFile: `{"quorum":2,"minVersion":"1.0.0","require":["vtpm-stub"]}`})
	if err != nil || p.Quorum != 2 || p.MinVersion != "1.0.0" || len(p.Revoked) != 1 || len(p.Signers) != 1 || len(p.Require) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := load(map[string]string{SignersFile: "a " + key}); err != nil || p.Quorum != 1 || p.MinVersion != "" {
		t.Errorf("signers alone: %+v, %v", p, err)
	}
	for name, files := range map[string]map[string]string{
		"no signers file":     {},
		"empty signers file":  {SignersFile: "# nobody\n"},
		"bad signers file":    {SignersFile: "a b c"},
		"bad revoked file":    {SignersFile: "a " + key, RevokedFile: "x"},
		"quorum zero":         {SignersFile: "a " + key, RulesFile: `{"quorum":0}`},
		"quorum missing":      {SignersFile: "a " + key, RulesFile: `{"minVersion":"1.0.0"}`},
		"unknown rule":        {SignersFile: "a " + key, RulesFile: `{"quorum":1,"minversion2":"1.0.0"}`},
		"bad version":         {SignersFile: "a " + key, RulesFile: `{"quorum":1,"minVersion":"1"}`},
		"two sets of rules":   {SignersFile: "a " + key, RulesFile: `{"quorum":1}{"quorum":1}`},
		"rules are not rules": {SignersFile: "a " + key, RulesFile: `[]`},
	} {
		if p, err := load(files); err == nil {
			t.Errorf("%s: accepted as %+v", name, p)
		}
	}
}
