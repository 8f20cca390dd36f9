package release

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"xenvtpm/tools/stubimage/build"
	"xenvtpm/tools/stubimage/manifest"
	"xenvtpm/tools/stubimage/verify"
)

// Install puts the release folder from below destdir:
//
//	PREFIX/lib/xenvtpm            the images
//	PREFIX/sbin, PREFIX/share     what the manifest lists: tools, example configurations
//	                              which name these images, manual page, completion, documents
//	/etc/xenvtpm/trust            who may sign; only where there is no policy at all
//	/var/lib/xenvtpm              state, readable by root alone
//
// The release is read once and verified as a whole; what was read is written. A host
// that has a policy decides by it, and a refused release changes nothing.
func Install(from, destdir, prefix string, logf func(string, ...any)) error {
	if !filepath.IsAbs(prefix) {
		return fmt.Errorf("prefix %q is not absolute", prefix)
	}
	at := func(elem ...string) string { return filepath.Join(append([]string{destdir}, elem...)...) }
	trust := at(verify.PolicyDir)
	policy, known, err := verify.HostPolicy(trust)
	if err != nil {
		return fmt.Errorf("the policy in %s decides, and cannot be read; it is never replaced: %w", trust, err)
	}
	if !known {
		if policy, err = verify.LoadPolicy(filepath.Join(from, verify.TrustDir)); err != nil {
			return err
		}
	}
	r, err := verify.ReadRelease(from, policy)
	if err != nil {
		return err
	}
	lib := at(prefix, verify.LibDir)
	if err := replaceable(lib); err != nil {
		return err
	}
	old := formerFiles(lib, policy)
	if err := writeFolder(lib, r.Images, true); err != nil {
		return err
	}
	if err := writeHost(r, destdir, prefix); err != nil {
		return err
	}
	removeFormer(old, r.Manifest, destdir, prefix, logf)
	if err := stateFolder(at("/var/lib/xenvtpm")); err != nil {
		return err
	}
	if !known {
		logf("install: no policy in %s: taking the signers that came with the release; compare their fingerprints with their owners'", trust)
		if err := writeFolder(trust, r.Trust, false); err != nil {
			return err
		}
	}
	if _, err := verify.Installed(destdir, prefix, policy); err != nil {
		return fmt.Errorf("after the installation: %w", err)
	}
	logf("install: release %s in %s, and %d files below %s", r.Manifest.Version, lib, len(r.Host), at(prefix))
	return nil
}

// writeFolder makes a folder with these files. replace puts it in the place of an
// older one as a whole; without it, a folder that has anything in it stays.
func writeFolder(dir string, files map[string][]byte, replace bool) error {
	if err := folders(filepath.Dir(dir)); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) // after an exchange it is the older one
	for name, b := range files {
		if err := build.WriteFile(filepath.Join(tmp, name), b, 0o644); err != nil {
			return err
		}
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	// Takes an absent or empty folder's place, as rename(2) does.
	if err := unix.Rename(tmp, dir); err == nil || !replace {
		return pathError(dir, err)
	}
	if unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE) == nil {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil { // a file system that cannot exchange
		return err
	}
	return os.Rename(tmp, dir)
}

func pathError(name string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// writeHost writes the files of the host, each as a whole.
func writeHost(r *verify.Release, destdir, prefix string) error {
	for _, h := range r.Manifest.Host {
		b := r.Host[h.Name]
		if strings.HasSuffix(h.Name, ".cfg") {
			var err error
			if b, err = verify.PointTo(b, verify.ExampleLib, filepath.Join(prefix, verify.LibDir)); err != nil {
				return fmt.Errorf("%s: %w", h.Name, err)
			}
		}
		name := filepath.Join(destdir, prefix, filepath.FromSlash(h.Name))
		if err := folders(filepath.Dir(name)); err != nil {
			return err
		}
		if err := build.WriteFile(name, b, h.Perm()); err != nil {
			return err
		}
	}
	return nil
}

// folders makes a folder and those above it, open to all whatever the umask.
func folders(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := folders(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Chmod(dir, 0o755)
}

// stateFolder makes the folder for the disks of manager and vTPMs.
func stateFolder(dir string) error {
	if err := folders(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// formerFiles are those that the release in lib says it has installed, if the host
// trusts it.
func formerFiles(lib string, policy verify.Policy) []manifest.HostFile {
	policy.MinVersion = "" // it may be the one that the new release is to replace
	report, err := verify.Dir(lib, policy)
	if err != nil {
		return nil
	}
	return report.Manifest.Host
}

// removeFormer removes what an older release had and this one has not, unless
// somebody has changed it.
func removeFormer(old []manifest.HostFile, m *manifest.Manifest, destdir, prefix string, logf func(string, ...any)) {
	stays := map[string]bool{}
	for _, h := range m.Host {
		stays[h.Name] = true
	}
	gone := map[string]manifest.HostFile{}
	for _, h := range old {
		if !stays[h.Name] {
			gone[h.Name] = h
		}
	}
	for _, rel := range slices.Sorted(maps.Keys(gone)) {
		name := filepath.Join(destdir, prefix, filepath.FromSlash(rel))
		b, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && gone[rel].Check(b) == nil {
			err = os.Remove(name)
		} else if err == nil {
			err = errors.New("it was changed")
		}
		if err != nil {
			logf("install: %s belongs to the older release, and stays: %v", name, err)
		}
	}
}
