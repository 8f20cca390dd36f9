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

// A Set is what a manifest describes.
type Set struct {
	Images string // folder of the images, where the manifest goes
	Host   string // folder as Fill makes it; empty for images that are no release
	Trust  string // folder as Trust makes it; the same
}

// Describe writes the manifest and the bill of materials of a set. The tree at root
// says the commit.
func Describe(ctx context.Context, set Set, root, version, expires string, tc *toolchain.Toolchain) error {
	dir := set.Images
	commit, modified := Commit(ctx, root)
	m := manifest.Manifest{Version: version, Expires: expires, Commit: commit, Modified: modified,
		Flags: build.Flags()}
	if in := tc.Inputs; in != nil {
		m.Toolchain = manifest.Toolchain{Go: tc.Version, SDK: in.GoVersion, Port: in.Port, Tamago: in.TamagoVersion}
	} else if p, err := toolchain.LookUp(ctx, root); err == nil {
		m.Toolchain.Tamago = p.TamagoVersion
	}
	if err := set.hostFiles(&m); err != nil {
		return err
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

// hostFiles describes what is beside the images.
func (set Set) hostFiles(m *manifest.Manifest) (err error) {
	if set.Host != "" {
		if m.Host, err = manifest.Folder(set.Host); err != nil {
			return err
		}
	}
	if set.Trust == "" {
		return nil
	}
	files, err := manifest.Folder(set.Trust)
	for _, f := range files {
		m.Trust = append(m.Trust, f.Digest)
	}
	return err
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

// replaceable accepts a folder that is absent, empty or an older release.
func replaceable(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, manifest.File)); err != nil {
		return fmt.Errorf("%s is neither empty nor a release: not touching it", dir)
	}
	return nil
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return build.WriteFile(to, b, 0o644)
}

// copyTree copies the plain files below from.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		return copyFile(name, filepath.Join(to, rel))
	})
}
