package manifest

import (
	"bytes"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"xenvtpm/tools/stubimage/elfnote"
)

// Describe completes m with the images called names in dir: digests, entry
// points, and the modules that the images themselves say they contain. Where m
// does not name the go command, the images do. It returns the manifest's and
// the SBOM's bytes.
func Describe(dir string, names []string, m Manifest) (manifest, sbom []byte, err error) {
	m.Format = Format
	uses := map[string][]string{}
	modules := map[string]Module{}
	for _, name := range names {
		im, mods, err := describeImage(dir, name, &m.Toolchain.Go)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		m.Images = append(m.Images, *im)
		for _, mod := range mods {
			if have, ok := modules[mod.Path]; ok && have != mod {
				return nil, nil, fmt.Errorf("%s has %s %s, another image %s: they were not built together", name, mod.Path, mod.Version, have.Version)
			}
			modules[mod.Path] = mod
			uses[name] = append(uses[name], mod.Path)
		}
	}
	for _, mod := range modules {
		m.Modules = append(m.Modules, mod)
	}
	sort.Slice(m.Modules, func(i, j int) bool { return m.Modules[i].Path < m.Modules[j].Path })
	if sbom, err = SBOM(&m, uses); err != nil {
		return nil, nil, err
	}
	m.Files = append(m.Files, Sum(SBOMFile, sbom))
	manifest, err = m.Encode()
	return manifest, sbom, err
}

// describeImage sets goVersion where it is empty, and holds the image to it
// otherwise.
func describeImage(dir, name string, goVersion *string) (*Image, []Module, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, nil, err
	}
	entry, err := elfnote.Entry(b)
	if err != nil {
		return nil, nil, err
	}
	info, err := buildinfo.Read(bytes.NewReader(b))
	if err != nil {
		return nil, nil, err
	}
	if *goVersion == "" {
		*goVersion = info.GoVersion
	}
	if info.GoVersion != *goVersion {
		return nil, nil, fmt.Errorf("built with %s, not with %s", info.GoVersion, *goVersion)
	}
	im := &Image{Digest: Sum(name, b), PVHEntry: fmt.Sprintf("%#x", entry), Package: info.Path}
	packed, err := os.ReadFile(filepath.Join(dir, name+".gz"))
	switch {
	case err == nil:
		d := Sum(name+".gz", packed)
		im.Gzip = &d
	case !errors.Is(err, os.ErrNotExist):
		return nil, nil, err
	}
	var mods []Module
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			return nil, nil, fmt.Errorf("module %s is replaced by %s: such an image cannot be rebuilt by others", dep.Path, dep.Replace.Path)
		}
		if dep.Sum == "" {
			return nil, nil, fmt.Errorf("module %s has no hash", dep.Path)
		}
		mods = append(mods, Module{dep.Path, dep.Version, dep.Sum})
	}
	return im, mods, nil
}

// Folder describes the plain files below dir, by their paths there, in the order
// of their names; programs are those that their owner may execute. Anything else
// than files and folders is an error: a link could point elsewhere on the host.
func Folder(dir string) ([]HostFile, error) {
	var all []HostFile
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s: not a plain file", name)
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		h := HostFile{Digest: Sum(filepath.ToSlash(rel), b), Mode: modeText}
		if info.Mode()&0o100 != 0 {
			h.Mode = modeProgram
		}
		all = append(all, h)
		return nil
	})
	return all, err
}
