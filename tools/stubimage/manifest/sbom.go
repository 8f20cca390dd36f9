package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
)

// The subset of CycloneDX 1.5 (JSON) that a Go program needs. There is no
// serial number and no time stamp: the same images give the same file.
type bom struct {
	Format       string       `json:"bomFormat"`
	Spec         string       `json:"specVersion"`
	Version      int          `json:"version"`
	Metadata     bomMetadata  `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type bomMetadata struct {
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version,omitempty"`
	PURL       string     `json:"purl,omitempty"`
	Hashes     []bomHash  `json:"hashes,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type bomHash struct {
	Alg     string `json:"alg"`
	Content string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

// SBOM returns the images, the modules and the toolchain of m as a CycloneDX
// bill of materials. uses lists the module paths that each image contains.
func SBOM(m *Manifest, uses map[string][]string) ([]byte, error) {
	root := component{Type: "firmware", Ref: "xen-vtpm-images", Name: "xen-vtpm-images", Version: m.Version,
		Properties: []property{{"commit", m.Commit}}}
	b := bom{Format: "CycloneDX", Spec: "1.5", Version: 1, Metadata: bomMetadata{root}}
	refs := map[string]string{}
	std := component{Type: "framework", Ref: "go-std", Name: "Go runtime and standard library", Version: m.Toolchain.Go,
		Properties: []property{{"sdk", m.Toolchain.SDK}, {"port-sha256", m.Toolchain.Port}}}
	b.Components = append(b.Components, std)
	for _, mod := range m.Modules {
		c := moduleComponent(mod)
		refs[mod.Path] = c.Ref
		b.Components = append(b.Components, c)
	}
	top := dependency{Ref: root.Ref, DependsOn: []string{}}
	for _, im := range m.Images {
		c := component{Type: "firmware", Ref: "image:" + im.Name, Name: im.Name, Version: m.Version,
			Hashes:     []bomHash{{"SHA-256", im.SHA256}, {"SHA-384", im.SHA384}},
			Properties: []property{{"package", im.Package}, {"pvh-entry", im.PVHEntry}}}
		b.Components = append(b.Components, c)
		top.DependsOn = append(top.DependsOn, c.Ref)
		dep := dependency{Ref: c.Ref, DependsOn: []string{std.Ref}}
		for _, path := range uses[im.Name] {
			dep.DependsOn = append(dep.DependsOn, refs[path])
		}
		b.Dependencies = append(b.Dependencies, dep)
	}
	b.Dependencies = append(b.Dependencies, top)
	out, err := json.MarshalIndent(b, "", "  ")
	return append(out, '\n'), err
}

// moduleComponent describes a module. The h1: sum of go.sum is a hash over a
// list of file hashes, no hash of a file, so it is a property.
func moduleComponent(mod Module) component {
	purl := "pkg:golang/" + mod.Path + "@" + url.PathEscape(mod.Version)
	id := sha256.Sum256([]byte(purl))
	return component{Type: "library", Ref: "module:" + hex.EncodeToString(id[:6]), Name: mod.Path, Version: mod.Version,
		PURL: purl, Properties: []property{{"go-sum", mod.Sum}}}
}
