package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"xenvtpm/tools/stubimage/manifest"
	"xenvtpm/tools/stubimage/release"
)

// signedImages makes a folder of images as make images does.
func signedImages(t *testing.T) *Workshop {
	t.Helper()
	w := &Workshop{Images: filepath.Join(t.TempDir(), "images")}
	m := manifest.Manifest{Format: manifest.Format, Version: "0.0.0-dev", Commit: "unknown", Toolchain: manifest.Toolchain{Go: "go1.26", Tamago: "v1.26.0"}}
	for _, name := range stubs {
		writeFile(t, filepath.Join(w.Images, name), name)
		m.Images = append(m.Images, manifest.Image{Digest: manifest.Sum(name, []byte(name)), PVHEntry: "0x101000", Package: "x/" + name})
	}
	writeFile(t, filepath.Join(w.Images, manifest.SBOMFile), "{}")
	m.Files = []manifest.Digest{manifest.Sum(manifest.SBOMFile, []byte("{}"))}
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(w.Images, manifest.File), string(text))
	key, err := release.ThrowAway()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := release.Sign(w.Images, key); err != nil {
		t.Fatal(err)
	}
	if err := release.Trust(w.Images+".trust", []ssh.PublicKey{key.PublicKey()}, "test"); err != nil {
		t.Fatal(err)
	}
	return w
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestPackRelease(t *testing.T) {
	w, stage := signedImages(t), t.TempDir()
	writeFile(t, filepath.Join(w.Images, "smoke", "x"), "a folder of smoke kernels does no harm")
	if err := w.packRelease(stage); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"release/vtpm-stub", "release/vtpmmgr-stub", "release/" + manifest.File, "trust/allowed_signers"} {
		if _, err := os.Stat(filepath.Join(stage, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestPackReleaseRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(w *Workshop)
		want   string
	}{
		"a changed image":    {func(w *Workshop) { writeFile(t, filepath.Join(w.Images, "vtpm-stub"), "vtpm-stuc") }, "REFUSED: changed-file"},
		"a changed manifest": {func(w *Workshop) { writeFile(t, filepath.Join(w.Images, manifest.File), "{}") }, "REFUSED: bad-signature"},
		"a missing image":    {func(w *Workshop) { os.Remove(filepath.Join(w.Images, "vtpm-stub")) }, "REFUSED: missing-file"},
		"an extra file":      {func(w *Workshop) { writeFile(t, filepath.Join(w.Images, "x"), "x") }, "REFUSED: extra-file"},
		"no policy":          {func(w *Workshop) { os.RemoveAll(w.Images + ".trust") }, "run make images"},
		"another policy":     {func(w *Workshop) { w.Policy = signedImages(t).Images + ".trust" }, "REFUSED: unknown-signer"},
	} {
		t.Run(name, func(t *testing.T) {
			w := signedImages(t)
			tt.change(w)
			if err := w.packRelease(t.TempDir()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestWhoNeedsARelease(t *testing.T) {
	for _, s := range All() {
		if want := s.Name != "smoke" && s.Name != "toolstack"; s.needsRelease() != want {
			t.Errorf("%s: %v", s.Name, s.needsRelease())
		}
	}
}
