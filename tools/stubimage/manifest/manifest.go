// Package manifest describes a set of images: what they are, what they were
// made from and how. The description is a JSON file that is signed as it is,
// byte for byte.
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
	"path"
	"regexp"
	"strings"
	"time"
)

const (
	// Format names this version of the file format.
	Format = "xen-vtpm-images/1"
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

// A Manifest describes the images of one folder.
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
	Files     []Digest  `json:"files"` // other files of the folder, such as the SBOM
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

// Digests lists every file that the manifest describes.
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
	b, err := json.MarshalIndent(m, "", "  ")
	return append(b, '\n'), err
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
	return &m, m.Validate()
}

var (
	fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)
	hexEntry = regexp.MustCompile(`^0x[0-9a-f]{1,16}$`)
)

// Validate checks that the description makes sense by itself.
func (m *Manifest) Validate() error {
	if m.Format != Format {
		return fmt.Errorf("manifest: format %q, this program knows %q", m.Format, Format)
	}
	if _, err := ParseVersion(m.Version); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	if m.Expires != "" {
		if _, err := time.Parse(time.RFC3339, m.Expires); err != nil {
			return fmt.Errorf("manifest: expires: %w", err)
		}
	}
	if len(m.Images) == 0 {
		return errors.New("manifest: no images")
	}
	for _, im := range m.Images {
		if !hexEntry.MatchString(im.PVHEntry) {
			return fmt.Errorf("manifest: %s: PVH entry %q", im.Name, im.PVHEntry)
		}
		if im.Gzip != nil && im.Gzip.Name != im.Name+".gz" {
			return fmt.Errorf("manifest: %s: compressed form is called %q", im.Name, im.Gzip.Name)
		}
	}
	return m.validateFiles()
}

func (m *Manifest) validateFiles() error {
	seen := map[string]bool{}
	for _, d := range m.Digests() {
		if !fileName.MatchString(d.Name) || path.Base(d.Name) != d.Name || Reserved(d.Name) {
			return fmt.Errorf("manifest: file name %q is not allowed", d.Name)
		}
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
