package release

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"xenvtpm/tools/stubimage/manifest"
	"xenvtpm/tools/stubimage/verify"
)

func policyOf(t *testing.T, key ssh.Signer) verify.Policy {
	t.Helper()
	p := verify.Policy{Quorum: 1}
	if err := p.SetSigners([]byte("a " + string(ssh.MarshalAuthorizedKey(key.PublicKey())))); err != nil {
		t.Fatal(err)
	}
	return p
}

func refusal(err error) verify.Code {
	var r *verify.Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}

// Every file of a release, in turn, is left out, changed, or becomes a link to its
// own contents; and one is added to every folder. None of these is installed, and
// nothing is written: not on a host that has a policy, nor on one that takes the
// release's.
func TestNothingUnsignedIsInstalled(t *testing.T) {
	key := signer(t)
	policy := policyOf(t, key)
	names := slices.Sorted(maps.Keys(tree(t, folder(t, "1.0.0", key))))
	if len(names) < len(hostFiles)+6 {
		t.Fatalf("only %v", names)
	}
	try := func(what string, change func(dir string), want ...verify.Code) {
		t.Helper()
		for _, known := range []bool{true, false} {
			dir, dest := folder(t, "1.0.0", key), t.TempDir()
			if known {
				if err := Trust(filepath.Join(dest, verify.PolicyDir), []ssh.PublicKey{key.PublicKey()}, "the host's"); err != nil {
					t.Fatal(err)
				}
			}
			before := tree(t, dest)
			change(dir)
			if _, err := verify.ReadRelease(dir, policy); !slices.Contains(want, refusal(err)) {
				t.Errorf("%s: verified: %v, want %s", what, err, want)
			}
			if err := Install(dir, dest, "/usr/local", t.Logf); err == nil {
				t.Errorf("%s: installed", what)
			}
			if after := tree(t, dest); !maps.Equal(before, after) {
				t.Errorf("%s: something was written: %v", what, slices.Sorted(maps.Keys(after)))
			}
		}
	}
	for _, name := range names {
		gone := []verify.Code{verify.Missing}
		changed := []verify.Code{verify.Changed}
		switch {
		case strings.HasSuffix(name, ".sig"):
			gone, changed = []verify.Code{verify.Unsigned}, []verify.Code{verify.BadSignature}
		case filepath.Base(name) == manifest.File:
			changed = []verify.Code{verify.BadSignature}
		}
		try(name+" left out", func(dir string) { os.Remove(filepath.Join(dir, name)) }, gone...)
		try(name+" changed", func(dir string) {
			b, _ := os.ReadFile(filepath.Join(dir, name))
			b[len(b)/2] ^= 0x20
			os.WriteFile(filepath.Join(dir, name), b, 0o644)
		}, changed...)
		if filepath.Base(name) == manifest.File {
			continue // that it is a link decides nothing: its bytes are signed
		}
		try(name+" a link", func(dir string) {
			other := filepath.Join(t.TempDir(), "same")
			os.Rename(filepath.Join(dir, name), other)
			os.Symlink(other, filepath.Join(dir, name))
		}, append(changed, verify.Changed)...)
	}
	for _, folder := range []string{"images", "host", "host/sbin", "host/share/doc", "trust"} {
		try("something more in "+folder, func(dir string) { write(t, filepath.Join(dir, folder, "more"), "x") }, verify.Extra)
	}
}

// A host's own policy decides, and a refused release changes nothing.
func TestInstallRefused(t *testing.T) {
	key, dest := signer(t), t.TempDir()
	if err := Install(folder(t, "1.0.0", key), dest, "/usr", t.Logf); err != nil {
		t.Fatal(err)
	}
	trust := filepath.Join(dest, "etc/xenvtpm/trust")
	write(t, filepath.Join(trust, verify.RulesFile), `{"quorum":1,"minVersion":"1.0.0"}`)
	before := tree(t, dest)
	for name, tt := range map[string]struct {
		from string
		code verify.Code
	}{
		"another signer": {folder(t, "2.0.0", signer(t)), verify.UnknownSigner},
		"a downgrade":    {folder(t, "0.9.0", key), verify.OldVersion},
		"tools that nobody signed": {func() string {
			dir := folder(t, "2.0.0", key)
			write(t, filepath.Join(dir, verify.HostDir, "sbin/vtpmctl"), "evil")
			return dir
		}(), verify.Changed},
		"a build that is no release": {func() string {
			dir := folder(t, "2.0.0", key)
			seal(t, filepath.Join(dir, verify.ImagesDir), manifest.Manifest{Format: manifest.Format, Version: "2.0.0", Commit: "c", Toolchain: manifest.Toolchain{Go: "g", Tamago: "t"}}, key)
			return dir
		}(), verify.Missing},
		"the first format, whose signature covers no tools": {func() string {
			dir := folder(t, "2.0.0", key)
			seal(t, filepath.Join(dir, verify.ImagesDir), manifest.Manifest{Format: manifest.Format1, Version: "2.0.0", Commit: "c", Toolchain: manifest.Toolchain{Go: "g", Tamago: "t"}}, key)
			return dir
		}(), verify.OldFormat},
	} {
		if err := Install(tt.from, dest, "/usr", t.Logf); refusal(err) != tt.code {
			t.Errorf("%s: %v, want %s", name, err, tt.code)
		}
		if after := tree(t, dest); !maps.Equal(before, after) {
			t.Errorf("%s: something was written", name)
		}
	}
	if err := Install(folder(t, "2.0.0", key), dest, "usr", t.Logf); err == nil {
		t.Error("a relative prefix is accepted")
	}
}

// Images of the first format boot as ever, and are replaced by a release of the
// present one.
func TestUpgradeFromFormat1(t *testing.T) {
	key, dest := signer(t), t.TempDir()
	lib, policy := filepath.Join(dest, "usr/local/lib/xenvtpm"), policyOf(t, key)
	seal(t, lib, manifest.Manifest{Format: manifest.Format1, Version: "1.0.0", Commit: "c", Toolchain: manifest.Toolchain{Go: "g", Tamago: "t"}}, key)
	if _, _, err := verify.Image(filepath.Join(lib, "vtpm-stub"), policy); err != nil {
		t.Errorf("an image of the first format: %v", err)
	}
	if _, err := verify.Installed(dest, "/usr/local", policy); refusal(err) != verify.OldFormat {
		t.Errorf("tools that no manifest lists: %v", err)
	}
	if err := Install(folder(t, "1.1.0", key), dest, "/usr/local", t.Logf); err != nil {
		t.Fatal(err)
	}
	if r, err := verify.Installed(dest, "/usr/local", policy); err != nil || r.Manifest.Version != "1.1.0" {
		t.Errorf("after the upgrade: %v", err)
	}
}

// A trust folder with anything in it is somebody's policy: it decides or, where it
// cannot be read, nothing is installed. It is never written.
func TestTrustFolderIsNeverWritten(t *testing.T) {
	key := signer(t)
	line := "a " + string(ssh.MarshalAuthorizedKey(key.PublicKey()))
	for name, tt := range map[string]struct {
		files map[string]string
		ok    bool
	}{
		"rules and revocations, no signers": {map[string]string{verify.RulesFile: `{"quorum":2}`, verify.RevokedFile: "SHA256:x"}, false},
		"rules alone":                       {map[string]string{verify.RulesFile: `{"quorum":1}`}, false},
		"revocations alone":                 {map[string]string{verify.RevokedFile: ""}, false},
		"a file of the administrator's":     {map[string]string{"README": "ask ops"}, false},
		"signers without anybody":           {map[string]string{verify.SignersFile: "# nobody\n"}, false},
		"damaged signers":                   {map[string]string{verify.SignersFile: "x"}, false},
		"signers":                           {map[string]string{verify.SignersFile: line}, true},
		"signers, and this key revoked":     {map[string]string{verify.SignersFile: line, verify.RevokedFile: string(ssh.MarshalAuthorizedKey(key.PublicKey()))}, false},
	} {
		dest := t.TempDir()
		trust := filepath.Join(dest, verify.PolicyDir)
		for file, text := range tt.files {
			write(t, filepath.Join(trust, file), text)
		}
		err := Install(folder(t, "1.0.0", key), dest, "/usr/local", t.Logf)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
		if got := tree(t, trust); !maps.Equal(got, tt.files) {
			t.Errorf("%s: the folder is now %v", name, got)
		}
		if got := exists(filepath.Join(dest, "usr/local")); got != tt.ok {
			t.Errorf("%s: something was installed: %v", name, got)
		}
	}
	// An empty folder is no policy, and one that is filled meanwhile stays.
	dest := t.TempDir()
	trust := filepath.Join(dest, verify.PolicyDir)
	if err := os.MkdirAll(trust, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Install(folder(t, "1.0.0", key), dest, "/usr/local", t.Logf); err != nil || !exists(filepath.Join(trust, verify.SignersFile)) {
		t.Errorf("over an empty folder: %v", err)
	}
	before := tree(t, trust)
	if err := writeFolder(trust, map[string][]byte{"x": nil}, false); err == nil || !maps.Equal(before, tree(t, trust)) {
		t.Errorf("a policy was replaced: %v", err)
	}
	if all, _ := filepath.Glob(filepath.Join(filepath.Dir(trust), ".*")); len(all) > 0 {
		t.Errorf("left behind: %v", all)
	}
}

// What was installed is checked as well: every file, in turn.
func TestInstalledIsChecked(t *testing.T) {
	key := signer(t)
	policy := policyOf(t, key)
	for _, prefix := range []string{"/usr/local", "/opt"} {
		dest := t.TempDir()
		if err := Install(folder(t, "1.0.0", key), dest, prefix, t.Logf); err != nil {
			t.Fatal(err)
		}
		check := func() verify.Code {
			_, err := verify.Installed(dest, prefix, policy)
			if err != nil && refusal(err) == "" {
				t.Fatal(err)
			}
			return refusal(err)
		}
		if c := check(); c != "" {
			t.Fatalf("what was just installed: %s", c)
		}
		for name := range hostFiles {
			file := filepath.Join(dest, prefix, name)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			st, _ := os.Stat(file)
			for what, change := range map[string]func(){
				"left out": func() { os.Remove(file) },
				"changed":  func() { os.WriteFile(file, append([]byte("#"), b...), st.Mode()) },
				"a link":   func() { os.Rename(file, file+".real"); os.Symlink(file+".real", file) },
				"writable": func() { os.Chmod(file, 0o666) },
				"setuid":   func() { os.Chmod(file, st.Mode()|os.ModeSetuid) },
			} {
				change()
				if want := map[string]verify.Code{"left out": verify.Missing}[what]; check() != want && (want != "" || check() != verify.Changed) {
					t.Errorf("%s %s: %q", name, what, check())
				}
				os.Remove(file)
				write(t, file, string(b))
				os.Chmod(file, st.Mode())
			}
		}
		if c := check(); c != "" {
			t.Errorf("put back: %s", c)
		}
		// A configuration that boots another image is no example of ours.
		write(t, filepath.Join(dest, prefix, "share/xenvtpm/xl-configs/vtpm1.cfg"), "# a vTPM\nkernel = \"/tmp/lib/xenvtpm/vtpm-stub\"\n")
		if c := check(); c != verify.Changed {
			t.Errorf("another kernel: %q", c)
		}
	}
}

func TestInstallLeavesStrangersAlone(t *testing.T) {
	dest := t.TempDir()
	write(t, filepath.Join(dest, "usr/lib/xenvtpm/precious"), "x")
	before := tree(t, dest)
	if err := Install(folder(t, "1.0.0", signer(t)), dest, "/usr", t.Logf); err == nil || !maps.Equal(before, tree(t, dest)) {
		t.Errorf("error %v", err)
	}
}
