// Package manifest describes a release: what its images are, what they were made
// from and how, and every other file that an installation takes from it. The
// description is a JSON file that is signed as it is, byte for byte.
package manifest

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	// Format names this version of the file format. Format1 covered the images
	// alone; what it describes may still be booted, and not be installed.
	Format  = "xen-vtpm-images/2"
	Format1 = "xen-vtpm-images/1"
	// Namespace is the SSHSIG namespace of manifests: a signature for any
	// other purpose does not count.
	Namespace = "xen-vtpm-images"
	// File is the manifest's name in its folder; signatures are File.*.sig
	// and File.sig.
	File = "manifest.json"
	// SBOMFile is the software bill of materials beside it.
	SBOMFile = "sbom.cdx.json"

	// MaxSize bounds a manifest, and MaxImage an image or a file beside it.
	MaxSize  = 1 << 20
	MaxImage = 64 << 20
)

// A Manifest describes the images of one folder, and what is released with them.
type Manifest struct {
	Format    string    `json:"format"`
	Version   string    `json:"version"`           // of the release, as in semver.org 2.0
	Expires   string    `json:"expires,omitempty"` // RFC 3339; no limit if empty
	Commit    string    `json:"commit"`            // of the source, "unknown" outside git
	Modified  bool      `json:"modified"`          // the source had uncommitted changes
	Toolchain Toolchain `json:"toolchain"`
	Flags     []string  `json:"flags"` // of go build
	Images    []Image   `json:"images"`
	Modules   []Module  `json:"modules"`
	Files     []Digest  `json:"files"` // other files of the folder: the SBOM

	// Since Format 2. Both are empty for images that are no release.
	Host  []HostFile `json:"host"`  // what an installation puts below its prefix
	Trust []Digest   `json:"trust"` // the policy that comes with the release
}

// Toolchain names the go command that built the images.
type Toolchain struct {
	Go     string `json:"go"`             // version that the images carry
	SDK    string `json:"sdk,omitempty"`  // version of the Go SDK it was derived from
	Port   string `json:"port,omitempty"` // SHA-256 of the port that was applied
	Tamago string `json:"tamago"`         // version of the contract's module
}

// A Digest identifies the contents of a file.
type Digest struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	SHA384 string `json:"sha384"`
}

// An Image is an ELF file and its compressed form.
type Image struct {
	Digest
	PVHEntry string  `json:"pvhEntry"` // hexadecimal, with 0x
	Package  string  `json:"package"`  // import path of the program
	Gzip     *Digest `json:"gzip,omitempty"`
}

// A HostFile is a file of a Xen host. Its name is a path below the prefix, as
// sbin/vtpmctl.
type HostFile struct {
	Digest
	Mode string `json:"mode"` // permissions, octal: 0755 or 0644
}

// Perm returns the permissions, which Validate has checked.
func (h HostFile) Perm() fs.FileMode {
	if h.Mode == modeProgram {
		return 0o755
	}
	return 0o644
}

const (
	modeProgram = "0755"
	modeText    = "0644"
)

// A Module is a Go module that is part of an image.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Sum     string `json:"sum"` // the h1: hash of go.sum
}

// Sum measures contents.
func Sum(name string, b []byte) Digest {
	s256, s384 := sha256.Sum256(b), sha512.Sum384(b)
	return Digest{name, int64(len(b)), hex.EncodeToString(s256[:]), hex.EncodeToString(s384[:])}
}

// Check reports whether b is what d describes.
func (d Digest) Check(b []byte) error {
	if int64(len(b)) != d.Size {
		return fmt.Errorf("%d bytes, expected %d", len(b), d.Size)
	}
	got := Sum(d.Name, b)
	if got.SHA256 != d.SHA256 {
		return fmt.Errorf("SHA-256 is %s, expected %s", got.SHA256, d.SHA256)
	}
	if got.SHA384 != d.SHA384 {
		return fmt.Errorf("SHA-384 is %s, expected %s", got.SHA384, d.SHA384)
	}
	return nil
}

// Digests lists every file of the images' folder that the manifest describes.
func (m *Manifest) Digests() []Digest {
	var all []Digest
	for _, im := range m.Images {
		all = append(all, im.Digest)
		if im.Gzip != nil {
			all = append(all, *im.Gzip)
		}
	}
	return append(all, m.Files...)
}

// Image returns the image called name, or nil.
func (m *Manifest) Image(name string) *Image {
	for i := range m.Images {
		if m.Images[i].Name == name {
			return &m.Images[i]
		}
	}
	return nil
}

// ExpiresAt returns the time limit, or the zero time.
func (m *Manifest) ExpiresAt() time.Time {
	t, _ := time.Parse(time.RFC3339, m.Expires) // checked by Validate
	return t
}

// Encode returns the bytes of the file.
func (m *Manifest) Encode() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	m.complete()
	b, err := json.MarshalIndent(m, "", "  ")
	return append(b, '\n'), err
}

// complete gives empty lists their brackets: a list that is missing is an error.
func (m *Manifest) complete() {
	if m.Flags == nil {
		m.Flags = []string{}
	}
	if m.Modules == nil {
		m.Modules = []Module{}
	}
	if m.Host == nil {
		m.Host = []HostFile{}
	}
	if m.Trust == nil {
		m.Trust = []Digest{}
	}
}

// Decode reads a manifest, refusing what it does not know.
func Decode(b []byte) (*Manifest, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("manifest of %d bytes", len(b))
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var m Manifest
	if err := dec.Decode(&m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("manifest: text behind the description")
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return &m, m.whole(b)
}

var (
	fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)
	hostName = regexp.MustCompile(`^(sbin|share)(/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){1,6}$`)
	hexEntry = regexp.MustCompile(`^0x[0-9a-f]{1,16}$`)
)

// Validate checks that the description makes sense by itself.
func (m *Manifest) Validate() error {
	if m.Format != Format && m.Format != Format1 {
		return fmt.Errorf("manifest: format %q, this program knows %q and %q", m.Format, Format, Format1)
	}
	if _, err := ParseVersion(m.Version); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	if m.Expires != "" {
		if _, err := time.Parse(time.RFC3339, m.Expires); err != nil {
			return fmt.Errorf("manifest: expires: %w", err)
		}
	}
	for what, text := range map[string]string{"commit": m.Commit, "toolchain's go": m.Toolchain.Go, "toolchain's tamago": m.Toolchain.Tamago} {
		if text == "" {
			return fmt.Errorf("manifest: no %s", what)
		}
	}
	for _, mod := range m.Modules {
		if mod.Path == "" || mod.Version == "" || mod.Sum == "" {
			return fmt.Errorf("manifest: module %q has no path, version or hash", mod.Path)
		}
	}
	if err := m.validateImages(); err != nil {
		return err
	}
	if err := m.validateFiles(); err != nil {
		return err
	}
	return m.validateHost()
}

func (m *Manifest) validateImages() error {
	if len(m.Images) == 0 {
		return errors.New("manifest: no images")
	}
	for _, im := range m.Images {
		switch {
		case !hexEntry.MatchString(im.PVHEntry):
			return fmt.Errorf("manifest: %s: PVH entry %q", im.Name, im.PVHEntry)
		case im.Package == "":
			return fmt.Errorf("manifest: %s: no package", im.Name)
		case im.Gzip != nil && im.Gzip.Name != im.Name+".gz":
			return fmt.Errorf("manifest: %s: compressed form is called %q", im.Name, im.Gzip.Name)
		}
	}
	return nil
}

func (m *Manifest) validateFiles() error {
	seen := map[string]bool{}
	for _, d := range m.Digests() {
		if !fileName.MatchString(d.Name) || path.Base(d.Name) != d.Name || Reserved(d.Name) {
			return fmt.Errorf("manifest: file name %q is not allowed", d.Name)
		}
		if err := d.validate(seen); err != nil {
			return err
		}
	}
	if !seen[SBOMFile] {
		return fmt.Errorf("manifest: no %s", SBOMFile)
	}
	return nil
}

// validate checks a description that no other may share its name with.
func (d Digest) validate(seen map[string]bool) error {
	if seen[d.Name] {
		return fmt.Errorf("manifest: %s is listed twice", d.Name)
	}
	seen[d.Name] = true
	if d.Size <= 0 || d.Size > MaxImage {
		return fmt.Errorf("manifest: %s: %d bytes", d.Name, d.Size)
	}
	if !isHex(d.SHA256, sha256.Size) || !isHex(d.SHA384, sha512.Size384) {
		return fmt.Errorf("manifest: %s: a digest is malformed", d.Name)
	}
	return nil
}

// TrustFiles are the names that a policy's files have; the first is always there.
var TrustFiles = []string{"allowed_signers", "rules.json", "revoked_keys"}

// validateHost checks what is released with the images.
func (m *Manifest) validateHost() error {
	if m.Format == Format1 && len(m.Host)+len(m.Trust) > 0 {
		return fmt.Errorf("manifest: format %s has no files of a host", Format1)
	}
	seen := map[string]bool{}
	for _, h := range m.Host {
		if !hostName.MatchString(h.Name) {
			return fmt.Errorf("manifest: %q is no place for a host's file", h.Name)
		}
		if h.Mode != modeProgram && h.Mode != modeText {
			return fmt.Errorf("manifest: %s: mode %q", h.Name, h.Mode)
		}
		if err := h.validate(seen); err != nil {
			return err
		}
	}
	seen = map[string]bool{}
	for _, d := range m.Trust {
		if !slices.Contains(TrustFiles, d.Name) {
			return fmt.Errorf("manifest: a policy has no file %q", d.Name)
		}
		if err := d.validate(seen); err != nil {
			return err
		}
	}
	if len(m.Trust) > 0 && !seen[TrustFiles[0]] {
		return fmt.Errorf("manifest: a policy without %s", TrustFiles[0])
	}
	return nil
}

// Reserved reports whether name is the manifest or one of its signatures,
// which cannot be listed in it.
func Reserved(name string) bool {
	return name == File || strings.HasPrefix(name, File+".") && strings.HasSuffix(name, ".sig")
}

func isHex(s string, size int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == size && strings.ToLower(s) == s
}
