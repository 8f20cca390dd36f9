// Package release puts the steps of the image pipeline together: describe,
// sign, copy, install.
package release

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"xenvtpm/tools/stubimage/build"
	"xenvtpm/tools/stubimage/manifest"
	"xenvtpm/tools/stubimage/sshsig"
	"xenvtpm/tools/tamago/toolchain"
)

// Describe writes the manifest and the bill of materials of the release images
// in dir. The tree at root says the commit.
func Describe(ctx context.Context, dir, root, version, expires string, tc *toolchain.Toolchain) error {
	commit, modified := Commit(ctx, root)
	m := manifest.Manifest{Version: version, Expires: expires, Commit: commit, Modified: modified,
		Toolchain: manifest.Toolchain{Go: tc.Version}, Flags: build.Flags()}
	if in := tc.Inputs; in != nil {
		m.Toolchain.SDK, m.Toolchain.Port, m.Toolchain.Tamago = in.GoVersion, in.Port, in.TamagoVersion
	} else if p, err := toolchain.LookUp(ctx, root); err == nil {
		m.Toolchain.Tamago = p.TamagoVersion
	}
	var names []string
	for _, im := range build.Release {
		names = append(names, im.Name)
	}
	text, sbom, err := manifest.Describe(dir, names, m)
	if err != nil {
		return err
	}
	if err := build.WriteFile(filepath.Join(dir, manifest.SBOMFile), sbom, 0o644); err != nil {
		return err
	}
	return build.WriteFile(filepath.Join(dir, manifest.File), text, 0o644)
}

// Commit names the commit of the tree at root, and whether files differ from
// it. Outside git, as in an unpacked archive, it is "unknown".
func Commit(ctx context.Context, root string) (commit string, modified bool) {
	git := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Dir = root
		b, err := cmd.Output()
		return strings.TrimSpace(string(b)), err
	}
	commit, err := git("rev-parse", "HEAD")
	if err != nil {
		return "unknown", false
	}
	status, err := git("status", "--porcelain")
	return commit, err != nil || status != ""
}

// Sign writes a signature of dir's manifest beside it and returns its name,
// which has the key's fingerprint in it: each key has one signature, and
// signing again replaces it.
func Sign(dir string, signer ssh.Signer) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, manifest.File))
	if err != nil {
		return "", err
	}
	if _, err := manifest.Decode(text); err != nil {
		return "", fmt.Errorf("refusing to sign: %w", err)
	}
	sig, err := sshsig.Sign(rand.Reader, signer, manifest.Namespace, text)
	if err != nil {
		return "", err
	}
	name := manifest.File + "." + keyID(signer.PublicKey()) + ".sig"
	return name, build.WriteFile(filepath.Join(dir, name), sig, 0o644)
}

// keyID is a short name of a key, from its SHA-256 fingerprint.
func keyID(key ssh.PublicKey) string {
	fp := strings.TrimPrefix(ssh.FingerprintSHA256(key), "SHA256:")
	return strings.NewReplacer("/", "_", "+", "-").Replace(fp[:10])
}

// Copy copies the release in from to the folder to, which it makes or empties
// of older releases' files. Smoke kernels and other strangers stay behind.
func Copy(from, to string) error {
	text, err := os.ReadFile(filepath.Join(from, manifest.File))
	if err != nil {
		return err
	}
	m, err := manifest.Decode(text)
	if err != nil {
		return err
	}
	names := []string{manifest.File}
	for _, d := range m.Digests() {
		names = append(names, d.Name)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != manifest.File && manifest.Reserved(e.Name()) {
			names = append(names, e.Name())
		}
	}
	if err := replaceFolder(to); err != nil {
		return err
	}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return err
		}
		if err := build.WriteFile(filepath.Join(to, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// replaceFolder makes an empty folder, in place of an older release only.
func replaceFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return nil
	}
	if _, err := os.Stat(filepath.Join(dir, manifest.File)); err != nil {
		return fmt.Errorf("%s is neither empty nor a release: not touching it", dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.MkdirAll(dir, 0o755)
}
