package sshsig

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// An AllowedSigner is a line of an allowed signers file (ssh-keygen(1),
// "ALLOWED SIGNERS").
type AllowedSigner struct {
	Line        int
	Principals  []string
	Key         ssh.PublicKey
	Namespaces  []string  // patterns; empty allows every namespace
	ValidAfter  time.Time // zero: no limit
	ValidBefore time.Time
}

// Errors of AllowedSigner.Allows.
var (
	ErrNotYetValid  = errors.New("key is not valid yet")
	ErrExpired      = errors.New("key has expired")
	ErrKeyNamespace = errors.New("key is not allowed to sign for this namespace")
)

// Allows reports whether the line lets its key sign for namespace at time now.
func (a *AllowedSigner) Allows(namespace string, now time.Time) error {
	if len(a.Namespaces) > 0 && !matchList(a.Namespaces, namespace) {
		return ErrKeyNamespace
	}
	if !a.ValidAfter.IsZero() && now.Before(a.ValidAfter) {
		return fmt.Errorf("%w: before %s", ErrNotYetValid, a.ValidAfter.UTC().Format(time.RFC3339))
	}
	if !a.ValidBefore.IsZero() && now.After(a.ValidBefore) {
		return fmt.Errorf("%w: at %s", ErrExpired, a.ValidBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// ParseAllowedSigners reads an allowed signers file. A line that it does not
// understand is an error: guessing at whom to trust is no option.
func ParseAllowedSigners(b []byte) ([]AllowedSigner, error) {
	var list []AllowedSigner
	n := 0
	for line := range bytes.Lines(b) {
		n++
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' {
			continue
		}
		a, err := parseSigner(text)
		if err != nil {
			return nil, fmt.Errorf("allowed signers, line %d: %w", n, err)
		}
		a.Line = n
		list = append(list, *a)
	}
	return list, nil
}

// parseSigner reads: principals [options] keytype base64 [comment].
func parseSigner(text string) (*AllowedSigner, error) {
	principals, rest, err := field(text)
	if err != nil {
		return nil, err
	}
	a := &AllowedSigner{}
	for p := range strings.SplitSeq(principals, ",") {
		if p == "" {
			return nil, errors.New("empty principal")
		}
		a.Principals = append(a.Principals, p)
	}
	// What follows has the syntax of an authorized_keys line.
	key, _, options, more, err := ssh.ParseAuthorizedKey([]byte(rest))
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if len(more) > 0 {
		return nil, errors.New("more than one key")
	}
	a.Key = key
	for _, o := range options {
		if err := a.option(o); err != nil {
			return nil, err
		}
	}
	return a, CheckKey(key)
}

// field cuts the first word, which may be in double quotes.
func field(text string) (word, rest string, err error) {
	if strings.HasPrefix(text, `"`) {
		word, rest, ok := strings.Cut(text[1:], `"`)
		if !ok {
			return "", "", errors.New("unterminated quote")
		}
		return word, strings.TrimLeft(rest, " \t"), nil
	}
	i := strings.IndexAny(text, " \t")
	if i < 0 {
		return "", "", errors.New("no key")
	}
	return text[:i], strings.TrimLeft(text[i:], " \t"), nil
}

func (a *AllowedSigner) option(o string) error {
	name, value, _ := strings.Cut(o, "=")
	value = strings.Trim(value, `"`)
	var err error
	switch strings.ToLower(name) {
	case "namespaces":
		if value == "" {
			return errors.New("empty namespaces option")
		}
		a.Namespaces = strings.Split(value, ",")
	case "valid-after":
		a.ValidAfter, err = parseTime(value)
	case "valid-before":
		a.ValidBefore, err = parseTime(value)
	default: // cert-authority among them
		return fmt.Errorf("option %s is not supported", name)
	}
	return err
}

// parseTime reads YYYYMMDD[HHMM[SS]][Z]; without Z it is local time.
func parseTime(s string) (time.Time, error) {
	digits, utc := strings.CutSuffix(s, "Z")
	loc := time.Local
	if utc {
		loc = time.UTC
	}
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(digits) == len(layout) {
			t, err := time.ParseInLocation(layout, digits, loc)
			if err == nil {
				return t, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("time %q is not YYYYMMDD[HHMM[SS]][Z]", s)
}

// matchList applies OpenSSH's pattern lists (ssh_config(5), PATTERNS): some
// pattern must match and no negated one may.
func matchList(patterns []string, s string) bool {
	matched := false
	for _, p := range patterns {
		p, negated := strings.CutPrefix(p, "!")
		if match(p, s) {
			if negated {
				return false
			}
			matched = true
		}
	}
	return matched
}

// match knows * and ? only; path.Match's other characters are quoted, and the
// slash, which it treats apart, is replaced on both sides.
func match(pattern, s string) bool {
	quote := strings.NewReplacer(`\`, `\\`, `[`, `\[`, "/", "\x00")
	ok, err := path.Match(quote.Replace(pattern), strings.ReplaceAll(s, "/", "\x00"))
	return err == nil && ok
}

// Revoked is a set of keys that no signature may come from.
type Revoked map[string]bool

// With returns the keys of both lists.
func (r Revoked) With(more Revoked) Revoked {
	all := maps.Clone(more)
	maps.Copy(all, r)
	return all
}

// ParseRevoked reads a file of revoked keys, as ssh-keygen -r takes it: a binary
// KRL, or a list with one public key a line. A line may also be a fingerprint,
// SHA256:base64.
func ParseRevoked(b []byte) (Revoked, error) {
	if isKRL(b) {
		return parseKRL(b)
	}
	revoked, n := Revoked{}, 0
	for line := range bytes.Lines(b) {
		n++
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' {
			continue
		}
		if fp := strings.Fields(text)[0]; strings.HasPrefix(fp, "SHA256:") && len(fp) == len("SHA256:")+43 {
			revoked[fp] = true
			continue
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("revoked keys, line %d: %w", n, err)
		}
		revoked[ssh.FingerprintSHA256(key)] = true
	}
	return revoked, nil
}
