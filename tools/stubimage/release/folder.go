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
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"xenvtpm/tools/stubimage/build"
	"xenvtpm/tools/stubimage/verify"
)

// Folders of a release, below its own folder.
const (
	ImagesDir = "images" // exactly the images, the manifest, its signatures
	TrustDir  = "trust"  // a policy that accepts its signers
	ToolsDir  = "tools"
	ConfigDir = "xl-configs"
	DocDir    = "docs"
	ShareDir  = "share" // manual pages, completions
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

// Fill adds to the release folder dir what a host needs beside the images:
// tools built from the tree at root, configurations, documents. It returns the
// tools that the tree does not have.
func Fill(ctx context.Context, dir, root string) (missing []string, err error) {
	var packages []string
	for _, name := range hostTools {
		files, err := filepath.Glob(filepath.Join(root, "tools", name, "main.go"))
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			missing = append(missing, name)
			continue
		}
		packages = append(packages, "./tools/"+name)
	}
	tools := filepath.Join(dir, ToolsDir)
	if err := os.MkdirAll(tools, 0o755); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", tools + "/"}, packages...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("host tools: %w\n%s", err, b)
	}
	if !slices.Contains(missing, "vtpmctl") {
		if err := help(ctx, tools, filepath.Join(dir, ShareDir)); err != nil {
			return nil, err
		}
	}
	if err := copyTree(filepath.Join(root, "xl-configs", "examples"), filepath.Join(dir, ConfigDir), 0o644); err != nil {
		return nil, err
	}
	// Not an example for a host: it is for a Xen that is itself emulated.
	if err := os.RemoveAll(filepath.Join(dir, ConfigDir, "vtpm-lab.cfg")); err != nil {
		return nil, err
	}
	if err := copyTree(filepath.Join(root, "docs"), filepath.Join(dir, DocDir), 0o644); err != nil {
		return nil, err
	}
	for _, name := range []string{"README.md", "LICENSE"} {
		err := copyFile(filepath.Join(root, name), filepath.Join(dir, DocDir, name), 0o644)
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
	}
	return missing, nil
}

// help writes what vtpmctl prints about itself to where man(1) and bash look.
func help(ctx context.Context, tools, share string) error {
	for _, h := range []struct{ args, file string }{
		{"man", "man/man8/vtpmctl.8"},
		{"completion bash", "bash-completion/completions/vtpmctl"},
	} {
		text, err := exec.CommandContext(ctx, filepath.Join(tools, "vtpmctl"), strings.Fields(h.args)...).Output()
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
