package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"xenvtpm/tools/stubimage/manifest"
	"xenvtpm/tools/stubimage/sshsig"
)

// PolicyDir is where a host keeps its policy.
const PolicyDir = "/etc/xenvtpm/trust"

// Names of the files of a policy folder. Only the first must exist.
const (
	SignersFile = "allowed_signers" // ssh-keygen(1), "ALLOWED SIGNERS"
	RevokedFile = "revoked_keys"    // public keys, one a line
	RulesFile   = "rules.json"      // Rules
)

// Rules are the numbers of a policy.
type Rules struct {
	Quorum     int      `json:"quorum"`               // at least 1
	MinVersion string   `json:"minVersion,omitempty"` // lowest acceptable release
	Require    []string `json:"require,omitempty"`    // images that must be present
}

// LoadPolicy reads a policy folder.
func LoadPolicy(dir string) (Policy, error) {
	p := Policy{Quorum: 1}
	b, err := os.ReadFile(filepath.Join(dir, SignersFile))
	if err != nil {
		return p, fmt.Errorf("policy: %w", err)
	}
	if err := p.SetSigners(b); err != nil {
		return p, err
	}
	b, err = optional(dir, RevokedFile)
	if err != nil {
		return p, err
	}
	if p.Revoked, err = sshsig.ParseRevoked(b); err != nil {
		return p, fmt.Errorf("policy: %w", err)
	}
	if b, err = optional(dir, RulesFile); err != nil || b == nil {
		return p, err
	}
	return p, p.setRules(b)
}

// SetSigners takes an allowed signers file, which must not be empty.
func (p *Policy) SetSigners(b []byte) (err error) {
	if p.Signers, err = sshsig.ParseAllowedSigners(b); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	if len(p.Signers) == 0 {
		return errors.New("policy: no allowed signers: nothing could be accepted")
	}
	return nil
}

func (p *Policy) setRules(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var r Rules
	if err := dec.Decode(&r); err != nil {
		return fmt.Errorf("policy: %s: %w", RulesFile, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("policy: %s: text behind the rules", RulesFile)
	}
	if r.Quorum < 1 {
		return fmt.Errorf("policy: %s: quorum %d", RulesFile, r.Quorum)
	}
	if r.MinVersion != "" {
		if _, err := manifest.ParseVersion(r.MinVersion); err != nil {
			return fmt.Errorf("policy: %s: minimum %w", RulesFile, err)
		}
	}
	p.Quorum, p.MinVersion, p.Require = r.Quorum, r.MinVersion, r.Require
	return nil
}

func optional(dir, name string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return b, nil
}
