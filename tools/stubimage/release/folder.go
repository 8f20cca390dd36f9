package release

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"xenvtpm/tools/stubimage/build"
	"xenvtpm/tools/stubimage/verify"
)

// hostTools are the programs for a Xen host, by their folder below tools/.
var hostTools = []string{"stubimage", "vtpmctl", "vtpmd"}

// ThrowAway makes a signer whose key exists in this process only: it shows
// that a release is whole, not who made it.
func ThrowAway() (ssh.Signer, error) {
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(priv)
}

// Trust writes the policy that accepts keys, all of them needed.
func Trust(dir string, keys []ssh.PublicKey, comment string) error {
	var signers bytes.Buffer
	fmt.Fprintf(&signers, "# %s\n", comment)
	for _, key := range keys {
		fmt.Fprintf(&signers, "signer-%s@xenvtpm %s", keyID(key), ssh.MarshalAuthorizedKey(key))
	}
	rules := fmt.Sprintf("{\n  \"quorum\": %d,\n  \"require\": [\"vtpm-stub\", \"vtpmmgr-stub\"]\n}\n", len(keys))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := build.WriteFile(filepath.Join(dir, verify.SignersFile), signers.Bytes(), 0o644); err != nil {
		return err
	}
	return build.WriteFile(filepath.Join(dir, verify.RulesFile), []byte(rules), 0o644)
}

// Fill makes in dir what a host needs beside the images, laid out as it will be
// below the prefix: tools built from the tree at root, manual page and completion,
// configurations, documents.
func Fill(ctx context.Context, dir, root string) error {
	sbin, share := filepath.Join(dir, "sbin"), filepath.Join(dir, "share")
	if err := os.MkdirAll(sbin, 0o755); err != nil {
		return err
	}
	var packages []string
	for _, name := range hostTools {
		packages = append(packages, "./tools/"+name)
	}
	if err := build.HostTools(ctx, root, sbin, packages); err != nil {
		return err
	}
	if err := help(ctx, sbin, share); err != nil {
		return err
	}
	configs, doc := filepath.Join(share, "xenvtpm", "xl-configs"), filepath.Join(share, "doc", "xenvtpm")
	if err := copyTree(filepath.Join(root, "xl-configs", "examples"), configs); err != nil {
		return err
	}
	// Not an example for a host: it is for a Xen that is itself emulated.
	if err := os.RemoveAll(filepath.Join(configs, "vtpm-lab.cfg")); err != nil {
		return err
	}
	if err := copyTree(filepath.Join(root, "docs"), doc); err != nil {
		return err
	}
	for _, name := range []string{"README.md", "LICENSE"} {
		if err := copyFile(filepath.Join(root, name), filepath.Join(doc, name)); err != nil {
			return err
		}
	}
	return modes(dir)
}

// modes gives each file what the manifest will say of it, whatever the umask.
func modes(dir string) error {
	return filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() || filepath.Base(filepath.Dir(name)) == "sbin" {
			return os.Chmod(name, 0o755)
		}
		return os.Chmod(name, 0o644)
	})
}

// help writes what vtpmctl prints about itself to where man(1) and bash look.
func help(ctx context.Context, sbin, share string) error {
	for _, h := range []struct{ args, file string }{
		{"man", "man/man8/vtpmctl.8"},
		{"completion bash", "bash-completion/completions/vtpmctl"},
	} {
		text, err := exec.CommandContext(ctx, filepath.Join(sbin, "vtpmctl"), strings.Fields(h.args)...).Output()
		if err != nil {
			return fmt.Errorf("vtpmctl %s: %w", h.args, err)
		}
		file := filepath.Join(share, h.file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := build.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
