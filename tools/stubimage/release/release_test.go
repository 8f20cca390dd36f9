package release

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
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

// hostFiles are those of the release that folder makes.
var hostFiles = map[string]string{
	"sbin/vtpmctl":                              "tool",
	"share/xenvtpm/xl-configs/guest1.cfg":       "kernel = '/boot/vmlinuz'\n",
	"share/xenvtpm/xl-configs/vtpm1.cfg":        "# a vTPM\nkernel = \"/usr/local/lib/xenvtpm/vtpm-stub\"\n",
	"share/man/man8/vtpmctl.8":                  ".TH",
	"share/bash-completion/completions/vtpmctl": "complete",
	"share/doc/xenvtpm/LICENSE":                 "BSD",
}

// folder makes a signed release folder, without what only a build can make.
func folder(t *testing.T, version string, s ssh.Signer) string {
	t.Helper()
	return folderWith(t, version, s, hostFiles)
}

func folderWith(t *testing.T, version string, s ssh.Signer, host map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	set := Set{filepath.Join(dir, verify.ImagesDir), filepath.Join(dir, verify.HostDir), filepath.Join(dir, verify.TrustDir)}
	for name, text := range host {
		write(t, filepath.Join(set.Host, name), text)
	}
	if err := modes(set.Host); err != nil {
		t.Fatal(err)
	}
	if err := Trust(set.Trust, []ssh.PublicKey{s.PublicKey()}, "test"); err != nil {
		t.Fatal(err)
	}
	m := manifest.Manifest{Format: manifest.Format, Version: version, Commit: "c0ffee", Toolchain: manifest.Toolchain{Go: "go1.26", Tamago: "v1.26.0"}}
	if err := set.hostFiles(&m); err != nil {
		t.Fatal(err)
	}
	seal(t, set.Images, m, s)
	return dir
}

// seal makes images, describes them and signs.
func seal(t *testing.T, images string, m manifest.Manifest, s ssh.Signer) {
	t.Helper()
	for _, name := range []string{"vtpm-stub", "vtpmmgr-stub"} {
		text := name + " " + m.Version
		write(t, filepath.Join(images, name), text)
		m.Images = append(m.Images, manifest.Image{Digest: manifest.Sum(name, []byte(text)), PVHEntry: "0x1000", Package: "x"})
	}
	write(t, filepath.Join(images, manifest.SBOMFile), "{}")
	m.Files = []manifest.Digest{manifest.Sum(manifest.SBOMFile, []byte("{}"))}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if m.Format == manifest.Format1 {
		b = []byte(strings.NewReplacer(",\n  \"host\": []", "", ",\n  \"trust\": []", "").Replace(string(b)))
	}
	write(t, filepath.Join(images, manifest.File), string(b))
	if _, err := Sign(images, s); err != nil {
		t.Fatal(err)
	}
}

// tree reads all files below a folder.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		b, err := os.ReadFile(name)
		all[rel] = string(b)
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return all
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
	for name, mode := range map[string]os.FileMode{"usr/local/sbin/vtpmctl": 0o755, "usr/local/share/man/man8/vtpmctl.8": 0o644, "var/lib/xenvtpm": 0o700, "usr/local/lib/xenvtpm": 0o755} {
		if st, err := os.Stat(filepath.Join(dest, name)); err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, st.Mode(), err)
		}
	}
	// An upgrade by the same signer replaces the images as a whole, and what the
	// older release had and the new one has not is gone, unless it was changed.
	fewer := map[string]string{"sbin/vtpmctl": "tool 1.1.0", "sbin/vtpmd": "new"}
	write(t, filepath.Join(dest, "usr/local/share/xenvtpm/xl-configs/guest1.cfg"), "mine")
	if err := Install(folderWith(t, "1.1.0", key, fewer), dest, "/usr/local", t.Logf); err != nil {
		t.Fatal(err)
	}
	got := tree(t, filepath.Join(dest, "usr/local"))
	for name, want := range map[string]string{"lib/xenvtpm/vtpm-stub": "vtpm-stub 1.1.0", "sbin/vtpmctl": "tool 1.1.0", "sbin/vtpmd": "new",
		"share/xenvtpm/xl-configs/guest1.cfg": "mine", "share/doc/xenvtpm/LICENSE": "", "share/man/man8/vtpmctl.8": ""} {
		if got[name] != want {
			t.Errorf("after the upgrade: %s is %q, want %q", name, got[name], want)
		}
	}
	leftover := filepath.Join(dest, "usr/local/lib/xenvtpm/leftover")
	write(t, leftover, "x")
	if err := Install(folder(t, "1.2.0", key), dest, "/usr/local", t.Logf); err != nil || exists(leftover) {
		t.Errorf("over a folder with something else in it: %v", err)
	}
}

// The umask of who installs does not decide who may read what is installed.
func TestInstallUmask(t *testing.T) {
	key, dest := signer(t), t.TempDir()
	from := folder(t, "1.0.0", key)
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	if err := Install(from, dest, "/usr/local", t.Logf); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dest, func(name string, d os.DirEntry, err error) error {
		if err != nil || name == dest {
			return err
		}
		if info, err := d.Info(); err == nil && info.Mode().Perm()&0o044 != 0o044 && !strings.HasSuffix(name, "var/lib/xenvtpm") {
			t.Errorf("%s: mode %v", name, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The installed configurations boot the installed images, whatever the prefix, and
// are still what was signed.
func TestInstalledConfigs(t *testing.T) {
	for _, prefix := range []string{"/usr/local", "/usr", "/opt/x y"} {
		dest, key := t.TempDir(), signer(t)
		from := folder(t, "1.0.0", key)
		if err := Install(from, dest, prefix, t.Logf); err != nil {
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
		if kernel, err := f.Text("kernel"); err != nil || kernel != verify.ExampleLib+"/"+image {
			t.Errorf("%s boots %q (%v)", file, kernel, err)
		}
		if !slices.ContainsFunc(build.Release, func(im build.Image) bool { return im.Name == image }) {
			t.Errorf("a release has no %s", image)
		}
	}
}

func TestSign(t *testing.T) {
	a, b := signer(t), signer(t)
	images := filepath.Join(folder(t, "1.0.0", a), verify.ImagesDir)
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
