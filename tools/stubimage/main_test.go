package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"xenvtpm/tools/stubimage/manifest"
)

func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), &env{&out, &errs, os.Getenv}, args)
	return code, out.String(), errs.String()
}

func keygen(t *testing.T, dir string, stdin []byte, args ...string) error {
	t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("no ssh-keygen")
	}
	cmd := exec.Command("ssh-keygen", args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("ssh-keygen %v: %s", args, b)
	}
	return err
}

// images makes a folder of images with its manifest, a key beside it and an
// allowed signers file for the key.
func images(t *testing.T) (dir, key, allowed string) {
	t.Helper()
	base := t.TempDir()
	dir, key, allowed = filepath.Join(base, "images"), filepath.Join(base, "key"), filepath.Join(base, "allowed")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	m := manifest.Manifest{Format: manifest.Format, Version: "1.0.0", Commit: "c0ffeec0ffee", Toolchain: manifest.Toolchain{Go: "go1.26", Tamago: "v1.26.0"}}
	for _, name := range []string{"vtpm-stub", "vtpmmgr-stub"} {
		write(t, filepath.Join(dir, name), []byte(name))
		m.Images = append(m.Images, manifest.Image{Digest: manifest.Sum(name, []byte(name)), PVHEntry: "0x1000", Package: "x"})
	}
	write(t, filepath.Join(dir, manifest.SBOMFile), []byte("{}"))
	m.Files = []manifest.Digest{manifest.Sum(manifest.SBOMFile, []byte("{}"))}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, manifest.File), b)
	if err := keygen(t, base, nil, "-q", "-N", "", "-t", "ed25519", "-C", "alice", "-f", key); err != nil {
		t.Fatal(err)
	}
	pub, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	write(t, allowed, append([]byte("alice "), pub...))
	return dir, key, allowed
}

func write(t *testing.T, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPipeline(t *testing.T) {
	dir, key, allowed := images(t)
	code, out, errs := call(t, "verify", "--dir", dir, "--signers", allowed)
	if code != exitRefused || !strings.Contains(errs, "REFUSED unsigned") || out != "" {
		t.Fatalf("unsigned: %d %q %q", code, out, errs)
	}
	code, out, errs = call(t, "sign", "--dir", dir, "--key", key)
	if code != exitOK {
		t.Fatalf("sign: %d %s", code, errs)
	}
	sig := strings.TrimSpace(out)
	if code, out, errs = call(t, "verify", "--dir", dir, "--signers", allowed); code != exitOK || !strings.HasPrefix(out, "OK ") || !strings.Contains(out, "alice") {
		t.Fatalf("signed: %d %q %q", code, out, errs)
	}
	// The same, with no tool of ours.
	text, err := os.ReadFile(filepath.Join(dir, manifest.File))
	if err != nil {
		t.Fatal(err)
	}
	if err := keygen(t, dir, text, "-Y", "verify", "-f", allowed, "-I", "alice", "-n", manifest.Namespace, "-s", sig); err != nil {
		t.Errorf("ssh-keygen refuses: %v", err)
	}
	// A signature by ssh-keygen counts as well.
	if err := os.Remove(sig); err != nil {
		t.Fatal(err)
	}
	if err := keygen(t, dir, nil, "-q", "-Y", "sign", "-n", manifest.Namespace, "-f", key, manifest.File); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := call(t, "verify", "--dir", dir, "--signers", allowed); code != exitOK {
		t.Errorf("ssh-keygen's signature: %d %s", code, errs)
	}
}

func TestVerdicts(t *testing.T) {
	dir, key, allowed := images(t)
	if code, _, errs := call(t, "sign", "--dir", dir, "--key", key); code != exitOK {
		t.Fatal(errs)
	}
	revoked := filepath.Join(filepath.Dir(dir), "revoked")
	pub, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	write(t, revoked, pub)
	base := []string{"verify", "--json", "--dir", dir, "--signers", allowed}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitOK, ""},
		{[]string{"--min-version", "1.0.0", "--quorum", "1", "--require", "vtpm-stub,vtpmmgr-stub"}, exitOK, ""},
		{[]string{"--min-version", "1.0.1"}, exitRefused, "version-too-low"},
		{[]string{"--quorum", "2"}, exitRefused, "quorum"},
		{[]string{"--revoked", revoked}, exitRefused, "key-revoked"},
		{[]string{"--require", "other"}, exitRefused, "missing-file"},
		{[]string{"--min-version", "latest"}, exitFailed, "none"},
		{[]string{"--min-version", ""}, exitFailed, "none"},
		{[]string{"--require", ""}, exitFailed, "none"},
		{[]string{"--revoked", ""}, exitFailed, "none"},
		{[]string{"--policy", ""}, exitFailed, "none"},
		{[]string{"--quorum", "0"}, exitFailed, "none"},
		{[]string{"--quorum", "-1"}, exitFailed, "none"},
		{[]string{"--release", dir, "--installed"}, exitFailed, "none"},
		{[]string{"--release", dir}, exitRefused, "missing-file"},
		{[]string{"--installed", "--destdir", dir}, exitRefused, "missing-file"},
		{[]string{"--time", "soon"}, exitFailed, "none"},
		{[]string{"--nonsense"}, exitFailed, "none"},
		{[]string{"argument"}, exitFailed, "none"},
		{[]string{"--signers", dir + "/gone"}, exitFailed, "none"},
	} {
		code, out, errs := call(t, append(append([]string{}, base...), tt.args...)...)
		if code != tt.code {
			t.Errorf("%v: exit code %d\n%s%s", tt.args, code, out, errs)
		}
		if tt.want == "none" {
			if out != "" || errs == "" {
				t.Errorf("%v: %q %q", tt.args, out, errs)
			}
			continue
		}
		var v verdict
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Errorf("%v: %v in %q", tt.args, err, out)
		}
		if v.OK != (code == exitOK) || string(v.Code) != tt.want || v.OK && v.Version != "1.0.0" {
			t.Errorf("%v: %+v", tt.args, v)
		}
	}
}

// A list of revoked keys is added to the policy's own.
func TestRevokedStaysRevoked(t *testing.T) {
	dir, key, allowed := images(t)
	if code, _, errs := call(t, "sign", "--dir", dir, "--key", key); code != exitOK {
		t.Fatal(errs)
	}
	policy, none := t.TempDir(), filepath.Join(t.TempDir(), "none")
	write(t, none, []byte("SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"))
	for to, from := range map[string]string{"allowed_signers": allowed, "revoked_keys": key + ".pub"} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(policy, to), b)
	}
	if code, _, errs := call(t, "verify", "--dir", dir, "--policy", policy, "--revoked", none); code != exitRefused || !strings.Contains(errs, "key-revoked") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestMeasureCommand(t *testing.T) {
	dir, _, _ := images(t)
	code, out, errs := call(t, "measure", "--dir", dir, "--json")
	if code != exitOK {
		t.Fatal(errs)
	}
	var all []struct {
		File         string
		Measurements []manifest.Measurement
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 2 || len(all[0].Measurements) != 4 {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := manifest.Sum("", []byte("vtpm-stub")).SHA256; all[0].Measurements[1].Digest != want {
		t.Errorf("%+v", all[0])
	}
	if code, out, _ := call(t, "measure", filepath.Join(dir, "vtpm-stub")); code != exitOK || !strings.Contains(out, "sha384 event") {
		t.Errorf("%d %s", code, out)
	}
	if code, _, _ := call(t, "measure", filepath.Join(dir, "gone")); code != exitFailed {
		t.Errorf("a missing file: %d", code)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"nonsense"}, {"note"}, {"sign"}, {"release"}, {"release", "--version", "1"}, {"install", "x"}, {"note", "/nonexistent"}} {
		if code, out, errs := call(t, args...); code != exitFailed || errs == "" || out != "" {
			t.Errorf("%v: %d %q %q", args, code, out, errs)
		}
	}
}

// A build is signed so that a changed file is found before it boots.
func TestSignBuild(t *testing.T) {
	dir, _, _ := images(t)
	trust := dir + ".trust"
	for range 2 { // each build replaces the policy of the one before
		if err := clearSignatures(dir); err != nil {
			t.Fatal(err)
		}
		if err := signBuild(&env{io.Discard, io.Discard, os.Getenv}, dir, trust); err != nil {
			t.Fatal(err)
		}
		if code, _, errs := call(t, "verify", "--dir", dir, "--policy", trust); code != exitOK {
			t.Fatalf("exit %d: %s", code, errs)
		}
	}
	write(t, filepath.Join(dir, "vtpm-stub"), []byte("vtpm-stuc"))
	if code, _, errs := call(t, "verify", "--dir", dir, "--policy", trust); code != exitRefused || !strings.Contains(errs, "changed-file") {
		t.Errorf("a changed image: %d %s", code, errs)
	}
}

func clearSignatures(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.sig"))
	for _, name := range names {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}
