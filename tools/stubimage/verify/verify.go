// Package verify decides whether a folder of images may be used: who signed
// its manifest, whether that is recent enough, and whether the folder is
// exactly what the manifest says. It needs no network and no other program.
package verify

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"xenvtpm/tools/stubimage/manifest"
	"xenvtpm/tools/stubimage/sshsig"
)

// A Policy says what is acceptable.
type Policy struct {
	Signers    []sshsig.AllowedSigner
	Revoked    sshsig.Revoked
	Quorum     int       // signers needed; 0 means 1
	MinVersion string    // lowest acceptable release; empty accepts all
	Require    []string  // images that must be present
	Now        time.Time // zero is the system's time
}

// A Code names the reason of a refusal; it is part of the --json output.
type Code string

const (
	Unsigned      Code = "unsigned"
	UnknownSigner Code = "unknown-signer"
	BadSignature  Code = "bad-signature"
	Namespace     Code = "wrong-namespace"
	KeyExpired    Code = "key-expired"
	KeyRevoked    Code = "key-revoked"
	Quorum        Code = "quorum"
	Malformed     Code = "malformed-manifest"
	Expired       Code = "manifest-expired"
	OldVersion    Code = "version-too-low"
	Missing       Code = "missing-file"
	Changed       Code = "changed-file"
	Extra         Code = "extra-file"
	OldFormat     Code = "old-format"
)

// A Refusal is the error for images that were looked at and must not be used.
// Any other error means that they could not be looked at.
type Refusal struct {
	Code   Code
	Detail string
}

func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Detail }

func refuse(code Code, format string, args ...any) error {
	return &Refusal{code, fmt.Sprintf(format, args...)}
}

// A Signer is one whose signature counted.
type Signer struct {
	Principals  []string `json:"principals"`
	Fingerprint string   `json:"fingerprint"`
	File        string   `json:"file"`
}

// A Report describes accepted images.
type Report struct {
	Manifest *manifest.Manifest `json:"manifest"`
	Signers  []Signer           `json:"signers"`
	// Ignored are signatures that did not count, with the reason.
	Ignored []string `json:"ignored,omitempty"`
}

// Dir checks the folder of images at dir.
func Dir(dir string, p Policy) (*Report, error) {
	report, _, err := folder(dir, p)
	return report, err
}

// folder is Dir that also returns what it has read: whoever copies it, copies what
// was verified.
func folder(dir string, p Policy) (*Report, map[string][]byte, error) {
	if p.Now.IsZero() {
		p.Now = time.Now()
	}
	raw, err := readFile(dir, manifest.File, manifest.MaxSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, refuse(Missing, "no %s in %s", manifest.File, dir)
	}
	if err != nil {
		return nil, nil, err
	}
	report := &Report{}
	read := map[string][]byte{manifest.File: raw}
	if err := signatures(dir, raw, p, report, read); err != nil {
		return nil, nil, err
	}
	// Only what is signed is parsed.
	m, err := manifest.Decode(raw)
	if err != nil {
		return nil, nil, refuse(Malformed, "%v", err)
	}
	report.Manifest = m
	if err := fresh(m, p); err != nil {
		return nil, nil, err
	}
	return report, read, contents(dir, m, p, read)
}

// Image checks the image in file, compressed or not, with the whole folder it
// lies in: the check before xl create. Symbolic links in the path of the folder
// are resolved, and the path to boot from is returned.
func Image(file string, p Policy) (path string, report *Report, err error) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(file))
	if err != nil {
		return "", nil, err
	}
	if report, err = Dir(dir, p); err != nil {
		return "", nil, err
	}
	name := filepath.Base(file)
	if report.Manifest.Image(strings.TrimSuffix(name, ".gz")) == nil {
		return "", nil, refuse(Extra, "%s is no image of release %s", name, report.Manifest.Version)
	}
	path = filepath.Join(dir, name)
	if _, err := os.Lstat(path); err != nil {
		return "", nil, refuse(Missing, "%s is not in %s", name, dir)
	}
	return path, report, nil
}

// fresh checks age and version.
func fresh(m *manifest.Manifest, p Policy) error {
	if t := m.ExpiresAt(); !t.IsZero() && p.Now.After(t) {
		return refuse(Expired, "release %s expired at %s", m.Version, m.Expires)
	}
	if p.MinVersion == "" {
		return nil
	}
	least, err := manifest.ParseVersion(p.MinVersion)
	if err != nil {
		return fmt.Errorf("policy: minimum %w", err)
	}
	have, err := manifest.ParseVersion(m.Version)
	if err != nil {
		return refuse(Malformed, "%v", err)
	}
	if have.Compare(least) < 0 {
		return refuse(OldVersion, "release %s is below the minimum %s", have, least)
	}
	return nil
}

// contents compares the folder with the manifest, both ways.
func contents(dir string, m *manifest.Manifest, p Policy, read map[string][]byte) error {
	for _, name := range p.Require {
		if m.Image(name) == nil {
			return refuse(Missing, "release %s has no image %s", m.Version, name)
		}
	}
	listed := map[string]bool{}
	for _, d := range m.Digests() {
		listed[d.Name] = true
		b, err := described(dir, d)
		if err != nil {
			return err
		}
		read[d.Name] = b
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !listed[e.Name()] && !manifest.Reserved(e.Name()) {
			return refuse(Extra, "%s is in %s and not in the manifest", e.Name(), dir)
		}
	}
	return nil
}

// described reads a file that must be as the manifest says.
func described(dir string, d manifest.Digest) ([]byte, error) {
	b, err := readFile(dir, filepath.FromSlash(d.Name), d.Size)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, refuse(Missing, "%s is in the manifest and not in %s", d.Name, dir)
	case errors.Is(err, errNotPlain), errors.Is(err, errTooBig):
		return nil, refuse(Changed, "%v", err)
	case err != nil:
		return nil, err
	}
	if err := d.Check(b); err != nil {
		return nil, refuse(Changed, "%s: %v", d.Name, err)
	}
	return b, nil
}

// signatures counts the signers of raw.
func signatures(dir string, raw []byte, p Policy, report *Report, read map[string][]byte) error {
	names, err := signatureFiles(dir)
	if err != nil {
		return err
	}
	const most = 64
	if len(names) == 0 {
		return refuse(Unsigned, "no %s.*.sig in %s", manifest.File, dir)
	}
	if len(names) > most {
		return refuse(Malformed, "%d signature files", len(names))
	}
	var first *Refusal
	count := newCounter()
	for _, base := range names {
		signer, err := one(dir, base, raw, p, read)
		var r *Refusal
		switch {
		case errors.As(err, &r):
			report.Ignored = append(report.Ignored, base+": "+r.Error())
			if first == nil {
				first = r
			}
		case err != nil:
			return err
		case count.add(signer):
			report.Signers = append(report.Signers, Signer{signer.Principals, ssh.FingerprintSHA256(signer.Key), base})
		default:
			report.Ignored = append(report.Ignored, base+": a second signature by "+strings.Join(signer.Principals, ","))
		}
	}
	need := max(p.Quorum, 1)
	if len(report.Signers) >= need {
		return nil
	}
	if len(report.Signers) == 0 && first != nil {
		return first
	}
	return refuse(Quorum, "%d of %d needed signers (ignored: %s)", len(report.Signers), need, orNone(report.Ignored))
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, "; ")
}

// signatureFiles lists the manifest's signatures by name.
func signatureFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Name() != manifest.File && manifest.Reserved(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// one checks a signature file and returns the allowed signer whose it is.
func one(dir, name string, raw []byte, p Policy, read map[string][]byte) (*sshsig.AllowedSigner, error) {
	b, err := readFile(dir, name, sshsig.MaxSize)
	if errors.Is(err, errNotPlain) || errors.Is(err, errTooBig) {
		return nil, refuse(BadSignature, "%v", err)
	}
	if err != nil {
		return nil, err
	}
	read[name] = b
	s, err := sshsig.Parse(b)
	if err != nil {
		return nil, refuse(BadSignature, "%v", err)
	}
	fp := ssh.FingerprintSHA256(s.Key)
	switch err := s.Verify(manifest.Namespace, raw); {
	case errors.Is(err, sshsig.ErrNamespace):
		return nil, refuse(Namespace, "%v", err)
	case err != nil:
		return nil, refuse(BadSignature, "%s by %s", err, fp)
	}
	if p.Revoked.Has(s.Key) {
		return nil, refuse(KeyRevoked, "%s", fp)
	}
	var reason error = &Refusal{UnknownSigner, fp + " is no allowed signer"}
	for i := range p.Signers {
		a := &p.Signers[i]
		if ssh.FingerprintSHA256(a.Key) != fp {
			continue
		}
		switch err := a.Allows(manifest.Namespace, p.Now); {
		case err == nil:
			return a, nil
		case errors.Is(err, sshsig.ErrKeyNamespace):
			reason = refuse(UnknownSigner, "%s of %s: %v", fp, strings.Join(a.Principals, ","), err)
		default:
			reason = refuse(KeyExpired, "%s of %s: %v", fp, strings.Join(a.Principals, ","), err)
		}
	}
	return nil, reason
}

// A counter counts people rather than keys: two lines of the allowed signers
// that share a principal, or a key, are one signer.
type counter struct{ used map[string]bool }

func newCounter() *counter { return &counter{map[string]bool{}} }

func (c *counter) add(a *sshsig.AllowedSigner) bool {
	ids := []string{"key " + ssh.FingerprintSHA256(a.Key)}
	for _, p := range a.Principals {
		ids = append(ids, "principal "+p)
	}
	for _, id := range ids {
		if c.used[id] {
			return false
		}
	}
	for _, id := range ids {
		c.used[id] = true
	}
	return true
}

var (
	errNotPlain = errors.New("not a plain file")
	errTooBig   = errors.New("too big")
)

// readFile reads a plain file of at most limit bytes. A symbolic link could
// point elsewhere by the time the image is used.
func readFile(dir, name string, limit int64) ([]byte, error) {
	file := filepath.Join(dir, name)
	st, err := os.Lstat(file)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", name, errNotPlain)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: %w: more than %d bytes", name, errTooBig, limit)
	}
	return b, err
}
