package verify

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"xenvtpm/tools/stubimage/manifest"
	"xenvtpm/tools/xlconf"
)

// Folders of a release, below its own folder.
const (
	ImagesDir = "images" // exactly the images, the manifest, its signatures
	HostDir   = "host"   // exactly what an installation puts below its prefix
	TrustDir  = "trust"  // a policy that accepts its signers
)

// LibDir is the folder of the images below a prefix.
const LibDir = "lib/xenvtpm"

// A Release is one that was verified, with all that was read of it.
type Release struct {
	*Report
	Images, Host, Trust map[string][]byte // by name
}

// ReadRelease checks the whole release folder at dir: images, files of the host and
// policy, and that there is nothing else in them.
func ReadRelease(dir string, p Policy) (*Release, error) {
	report, images, err := folder(filepath.Join(dir, ImagesDir), p)
	if err != nil {
		return nil, err
	}
	m := report.Manifest
	if m.Format != manifest.Format {
		return nil, refuse(OldFormat, "release %s is of format %s, whose signatures cover the images alone: its tools could be anybody's", m.Version, m.Format)
	}
	if len(m.Host) == 0 || len(m.Trust) == 0 {
		return nil, refuse(Missing, "%s of release %s lists no files of a host, or no policy: these are images that were built, and no release", manifest.File, m.Version)
	}
	r := &Release{Report: report, Images: images}
	if r.Host, err = listed(filepath.Join(dir, HostDir), hostDigests(m)); err != nil {
		return nil, err
	}
	r.Trust, err = listed(filepath.Join(dir, TrustDir), m.Trust)
	return r, err
}

func hostDigests(m *manifest.Manifest) (all []manifest.Digest) {
	for _, h := range m.Host {
		all = append(all, h.Digest)
	}
	return all
}

// listed reads the files in list below dir, which may have no others.
func listed(dir string, list []manifest.Digest) (map[string][]byte, error) {
	read := map[string][]byte{}
	for _, d := range list {
		b, err := described(dir, d)
		if err != nil {
			return nil, err
		}
		read[d.Name] = b
	}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err == nil && read[filepath.ToSlash(rel)] == nil {
			return refuse(Extra, "%s is in %s and not in the manifest", rel, dir)
		}
		return err
	})
	return read, err
}

// Installed checks what was installed below destdir: the images in their folder, and
// each file that came with them.
func Installed(destdir, prefix string, p Policy) (*Report, error) {
	lib := filepath.Join(destdir, prefix, LibDir)
	report, err := Dir(lib, p)
	if err != nil {
		return nil, err
	}
	m := report.Manifest
	if m.Format != manifest.Format || len(m.Host) == 0 {
		return nil, refuse(OldFormat, "release %s in %s does not say which tools belong to it: install a release of format %s", m.Version, lib, manifest.Format)
	}
	for _, h := range m.Host {
		if err := installed(destdir, prefix, h); err != nil {
			return nil, err
		}
	}
	return report, nil
}

func installed(destdir, prefix string, h manifest.HostFile) error {
	name := filepath.Join(destdir, prefix, filepath.FromSlash(h.Name))
	st, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return refuse(Missing, "%s is in the manifest and not there", name)
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return refuse(Changed, "%s: not a plain file", name)
	case st.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 || st.Mode().Perm()&^h.Perm() != 0:
		return refuse(Changed, "%s: mode %v, expected %s", name, st.Mode(), h.Mode)
	}
	b, err := readFile(filepath.Dir(name), filepath.Base(name), manifest.MaxImage)
	if err != nil {
		return err
	}
	if h.Check(b) == nil {
		return nil
	}
	// An example names the images below this prefix.
	if again, err := PointTo(b, filepath.Join(prefix, LibDir), ExampleLib); err == nil && h.Check(again) == nil {
		return nil
	}
	return refuse(Changed, "%s: %v", name, h.Check(b))
}

// ExampleLib is where the example configurations have the images.
const ExampleLib = "/usr/local/" + LibDir

// PointTo returns an xl configuration that boots an image in the folder to, where
// the one in b boots one in the folder from; any other is returned as it is.
func PointTo(b []byte, from, to string) ([]byte, error) {
	f, err := xlconf.Parse(b)
	if err != nil {
		return nil, err
	}
	kernel, err := f.Text("kernel")
	if err != nil || filepath.Dir(kernel) != from || from == to {
		return b, err
	}
	out, err := f.WithText("kernel", filepath.Join(to, filepath.Base(kernel)))
	if err != nil || bytes.Equal(out, b) {
		return b, err
	}
	return out, nil
}

// HostPolicy reads the policy in dir. ok is false where there is none at all: no
// folder, or an empty one. A folder with anything in it is somebody's policy, whole
// or not.
func HostPolicy(dir string) (p Policy, ok bool, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return p, false, nil
	}
	if err != nil {
		return p, false, fmt.Errorf("policy: %w", err)
	}
	p, err = LoadPolicy(dir)
	return p, true, err
}
