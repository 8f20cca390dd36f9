package release

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"xenvtpm/tools/stubimage/build"
	"xenvtpm/tools/stubimage/verify"
	"xenvtpm/tools/xlconf"
)

// Install puts the release folder from below destdir:
//
//	PREFIX/lib/xenvtpm            the images, verified where they end up
//	PREFIX/sbin                   tools
//	PREFIX/share/xenvtpm          example configurations, which name these images
//	PREFIX/share/man, ...         manual page, bash completion
//	PREFIX/share/doc/xenvtpm      documents
//	/etc/xenvtpm/trust            who may sign images; never overwritten
//	/var/lib/xenvtpm              state, readable by root alone
//
// A host that has a policy decides by it whether the images are installed.
func Install(from, destdir, prefix string, logf func(string, ...any)) error {
	if !filepath.IsAbs(prefix) {
		return fmt.Errorf("prefix %q is not absolute", prefix)
	}
	at := func(elem ...string) string { return filepath.Join(append([]string{destdir}, elem...)...) }
	images, trust := filepath.Join(from, ImagesDir), at(verify.PolicyDir)
	policy, err := hostPolicy(from, trust, logf)
	if err != nil {
		return err
	}
	report, err := verify.Dir(images, policy)
	if err != nil {
		return err
	}
	lib := at(prefix, "lib", "xenvtpm")
	if err := Copy(images, lib); err != nil {
		return err
	}
	if _, err := verify.Dir(lib, policy); err != nil {
		return fmt.Errorf("after the copy: %w", err)
	}
	for _, c := range []struct {
		from, to string
		mode     fs.FileMode
	}{
		{ToolsDir, at(prefix, "sbin"), 0o755},
		{ShareDir, at(prefix, "share"), 0o644},
		{DocDir, at(prefix, "share", "doc", "xenvtpm"), 0o644},
	} {
		if err := copyTree(filepath.Join(from, c.from), c.to, c.mode); err != nil {
			return err
		}
	}
	configs := at(prefix, "share", "xenvtpm", "xl-configs")
	if err := installConfigs(filepath.Join(from, ConfigDir), configs, filepath.Join(prefix, "lib", "xenvtpm")); err != nil {
		return err
	}
	if err := os.MkdirAll(at("/var/lib/xenvtpm"), 0o700); err != nil {
		return err
	}
	logf("install: release %s in %s", report.Manifest.Version, lib)
	return nil
}

// hostPolicy returns the policy of the host, which on the first installation
// becomes the one that the release brings.
func hostPolicy(from, trust string, logf func(string, ...any)) (verify.Policy, error) {
	policy, err := verify.LoadPolicy(trust)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return policy, err
	}
	brought := filepath.Join(from, TrustDir)
	if policy, err = verify.LoadPolicy(brought); err != nil {
		return policy, err
	}
	logf("install: no policy in %s: taking the signers that came with the release; compare their fingerprints with their owners'", trust)
	return policy, copyTree(brought, trust, 0o644)
}

// exampleLib is where the example configurations have the images.
const exampleLib = "/usr/local/lib/xenvtpm"

// installConfigs copies the examples and makes them name the images in lib.
func installConfigs(from, to, lib string) error {
	if err := copyTree(from, to, 0o644); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(to, "*.cfg"))
	if err != nil {
		return err
	}
	for _, name := range files {
		if err := pointTo(name, lib); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func pointTo(name, lib string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	f, err := xlconf.Parse(b)
	if err != nil {
		return err
	}
	kernel, err := f.Text("kernel")
	if err != nil || filepath.Dir(kernel) != exampleLib {
		return err
	}
	if b, err = f.WithText("kernel", filepath.Join(lib, filepath.Base(kernel))); err != nil {
		return err
	}
	return build.WriteFile(name, b, 0o644)
}
