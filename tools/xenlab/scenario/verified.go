package scenario

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"xenvtpm/tools/stubimage/verify"
	"xenvtpm/tools/xenlab/dom0"
)

// needsRelease reports whether domains of the scenario boot images that are signed.
func (s *Scenario) needsRelease() bool {
	return slices.ContainsFunc(s.Needs, func(n string) bool { return slices.Contains(stubs, n) })
}

// policy is the folder of the policy that has to accept the images.
func (w *Workshop) policy() string {
	if w.Policy != "" {
		return w.Policy
	}
	return filepath.Clean(w.Images) + ".trust"
}

// packRelease copies the images into what dom0 will see below stage, and verifies the copy: what boots is what
// was signed when it was built.
func (w *Workshop) packRelease(stage string) error {
	policy, err := verify.LoadPolicy(w.policy())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("xenlab: nothing says who may sign %s: run make images, or name a policy with -policy (%w)", w.Images, err)
	}
	if err != nil {
		return fmt.Errorf("xenlab: %s: %w", w.policy(), err)
	}
	release := filepath.Join(stage, strings.TrimPrefix(dom0.ReleaseDir, dom0.FilesDir))
	trust := filepath.Join(stage, strings.TrimPrefix(dom0.TrustDir, dom0.FilesDir))
	if err := errors.Join(copyFiles(release, w.Images), copyFiles(trust, w.policy())); err != nil {
		return err
	}
	if _, err := verify.Dir(release, policy); err != nil {
		return fmt.Errorf("xenlab: the images in %s are REFUSED: %w; make images builds and signs them", w.Images, err)
	}
	return nil
}

// copyFiles copies the plain files of a folder; the smoke kernels may lie in a folder in it.
func copyFiles(to, from string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return fmt.Errorf("xenlab: %w", err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if err := copyFile(filepath.Join(to, e.Name()), filepath.Join(from, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
