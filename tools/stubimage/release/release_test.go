package release

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"xenvtpm/tools/stubimage/build"
	"xenvtpm/tools/stubimage/manifest"
	"xenvtpm/tools/stubimage/verify"
	"xenvtpm/tools/xlconf"
)

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

func signer(t *testing.T) ssh.Signer {
	t.Helper()
	s, err := ThrowAway()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// folder makes a signed release folder, without what only a build can make.
func folder(t *testing.T, version string, s ssh.Signer) string {
	t.Helper()
	dir := t.TempDir()
	images := filepath.Join(dir, ImagesDir)
	m := manifest.Manifest{Format: manifest.Format, Version: version, Commit: "c0ffee"}
	for _, name := range []string{"vtpm-stub", "vtpmmgr-stub"} {
		text := name + " " + version
		write(t, filepath.Join(images, name), text)
		m.Images = append(m.Images, manifest.Image{Digest: manifest.Sum(name, []byte(text)), PVHEntry: "0x1000", Package: "x"})
	}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(images, manifest.File), string(b))
	if _, err := Sign(images, s); err != nil {
		t.Fatal(err)
	}
	if err := Trust(filepath.Join(dir, TrustDir), []ssh.PublicKey{s.PublicKey()}, "test"); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, ToolsDir, "vtpmctl"), "tool")
	write(t, filepath.Join(dir, ConfigDir, "guest1.cfg"), "kernel = '/boot/vmlinuz'\n")
	write(t, filepath.Join(dir, ConfigDir, "vtpm1.cfg"), "# a vTPM\nkernel = '/usr/local/lib/xenvtpm/vtpm-stub'\n")
	write(t, filepath.Join(dir, ShareDir, "man/man8/vtpmctl.8"), ".TH")
	write(t, filepath.Join(dir, DocDir, "LICENSE"), "BSD")
	return dir
}

func TestInstall(t *testing.T) {
	key, dest := signer(t), t.TempDir()
	first := folder(t, "1.0.0", key)
	if err := Install(first, dest, "/usr/local", t.Logf); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"usr/local/lib/xenvtpm/vtpm-stub", "usr/local/lib/xenvtpm/vtpmmgr-stub", "usr/local/lib/xenvtpm/manifest.json",
		"usr/local/sbin/vtpmctl", "usr/local/share/xenvtpm/xl-configs/guest1.cfg", "usr/local/share/doc/xenvtpm/LICENSE",
		"usr/local/share/xenvtpm/xl-configs/vtpm1.cfg", "usr/local/share/man/man8/vtpmctl.8",
		"etc/xenvtpm/trust/allowed_signers", "etc/xenvtpm/trust/rules.json", "var/lib/xenvtpm"} {
		if !exists(filepath.Join(dest, name)) {
			t.Errorf("%s is missing", name)
		}
	}
	for name, mode := range map[string]os.FileMode{"usr/local/sbin/vtpmctl": 0o755, "var/lib/xenvtpm": 0o700, "usr/local/lib/xenvtpm": 0o755} {
		if st, err := os.Stat(filepath.Join(dest, name)); err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, st.Mode(), err)
		}
	}
	// An upgrade by the same signer replaces the images as a whole.
	write(t, filepath.Join(dest, "usr/local/lib/xenvtpm/leftover"), "x")
	if err := Install(folder(t, "1.1.0", key), dest, "/usr/local", t.Logf); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(filepath.Join(dest, "usr/local/lib/xenvtpm/vtpm-stub"))
	if string(b) != "vtpm-stub 1.1.0" || exists(filepath.Join(dest, "usr/local/lib/xenvtpm/leftover")) {
		t.Errorf("after the upgrade: %q", b)
	}
}

// The installed configurations boot the installed images, whatever the prefix.
func TestInstalledConfigs(t *testing.T) {
	for _, prefix := range []string{"/usr/local", "/usr", "/opt/x y"} {
		dest := t.TempDir()
		if err := Install(folder(t, "1.0.0", signer(t)), dest, prefix, t.Logf); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"vtpm1.cfg": prefix + "/lib/xenvtpm/vtpm-stub", "guest1.cfg": "/boot/vmlinuz"} {
			b, err := os.ReadFile(filepath.Join(dest, prefix, "share/xenvtpm/xl-configs", name))
			if err != nil {
				t.Fatal(err)
			}
			f, err := xlconf.Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := f.Text("kernel"); err != nil || got != want {
				t.Errorf("%s with %s boots %q (%v)", prefix, name, got, err)
			}
			if name == "vtpm1.cfg" && !exists(filepath.Join(dest, want)) {
				t.Errorf("%s is not there", want)
			}
		}
	}
}

// The examples of this tree name images that a release has, where it puts them.
func TestExamplesNameImages(t *testing.T) {
	for file, image := range map[string]string{"vtpmmgr.cfg": "vtpmmgr-stub", "vtpm-guest1.cfg": "vtpm-stub"} {
		b, err := os.ReadFile(filepath.Join("../../../xl-configs/examples", file))
		if err != nil {
			t.Fatal(err)
		}
		f, err := xlconf.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if kernel, err := f.Text("kernel"); err != nil || kernel != exampleLib+"/"+image {
			t.Errorf("%s boots %q (%v)", file, kernel, err)
		}
		if !slices.ContainsFunc(build.Release, func(im build.Image) bool { return im.Name == image }) {
			t.Errorf("a release has no %s", image)
		}
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
	image := filepath.Join(dest, "usr/lib/xenvtpm/vtpm-stub")
	for name, from := range map[string]string{
		"another signer": folder(t, "2.0.0", signer(t)),
		"a downgrade":    folder(t, "0.9.0", key),
		"a changed image": func() string {
			dir := folder(t, "2.0.0", key)
			write(t, filepath.Join(dir, ImagesDir, "vtpm-stub"), "evil")
			return dir
		}(),
	} {
		var r *verify.Refusal
		if err := Install(from, dest, "/usr", t.Logf); !errors.As(err, &r) {
			t.Errorf("%s: %v", name, err)
		}
		if b, _ := os.ReadFile(image); string(b) != "vtpm-stub 1.0.0" {
			t.Fatalf("%s: the image is now %q", name, b)
		}
	}
	if err := Install(folder(t, "2.0.0", key), dest, "usr", t.Logf); err == nil {
		t.Error("a relative prefix is accepted")
	}
	// A damaged policy is no absent one.
	write(t, filepath.Join(trust, verify.SignersFile), "x")
	if err := Install(folder(t, "2.0.0", key), dest, "/usr", t.Logf); err == nil {
		t.Error("installed under a damaged policy")
	}
}

func TestCopyLeavesStrangersAlone(t *testing.T) {
	from, to := folder(t, "1.0.0", signer(t)), filepath.Join(t.TempDir(), "lib")
	write(t, filepath.Join(to, "precious"), "x")
	if err := Copy(filepath.Join(from, ImagesDir), to); err == nil || !exists(filepath.Join(to, "precious")) {
		t.Errorf("error %v", err)
	}
}

func TestSign(t *testing.T) {
	a, b := signer(t), signer(t)
	images := filepath.Join(folder(t, "1.0.0", a), ImagesDir)
	before, _ := filepath.Glob(filepath.Join(images, "*.sig"))
	for range 2 {
		if _, err := Sign(images, a); err != nil {
			t.Fatal(err)
		}
	}
	if after, _ := filepath.Glob(filepath.Join(images, "*.sig")); len(before) != 1 || len(after) != 1 {
		t.Errorf("signing again: %v, then %v", before, after)
	}
	if _, err := Sign(images, b); err != nil {
		t.Fatal(err)
	}
	p := verify.Policy{Quorum: 2}
	if err := p.SetSigners([]byte("a " + string(ssh.MarshalAuthorizedKey(a.PublicKey())) + "b " + string(ssh.MarshalAuthorizedKey(b.PublicKey())))); err != nil {
		t.Fatal(err)
	}
	if _, err := verify.Dir(images, p); err != nil {
		t.Error(err)
	}
	write(t, filepath.Join(images, manifest.File), "{}")
	if _, err := Sign(images, a); err == nil || !strings.Contains(err.Error(), "refusing") {
		t.Errorf("signing what is no manifest: %v", err)
	}
}

func TestCommit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git")
	}
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.org"}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
		if b, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
	}
	t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(dir))
	if c, modified := Commit(t.Context(), dir); c != "unknown" || modified {
		t.Errorf("outside git: %s %v", c, modified)
	}
	git("init", "-q")
	write(t, filepath.Join(dir, "a"), "1")
	git("add", "a")
	git("commit", "-q", "-m", "x")
	if c, modified := Commit(t.Context(), dir); len(c) != 40 || modified {
		t.Errorf("clean: %s %v", c, modified)
	}
	write(t, filepath.Join(dir, "a"), "2")
	if _, modified := Commit(t.Context(), dir); !modified {
		t.Error("a changed file is not seen")
	}
}
