package sshsig

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// krlMagic starts OpenSSH's binary key revocation lists (PROTOCOL.krl), the
// ones of ssh-keygen -k.
var krlMagic = []byte("SSHKRL\n\x00")

// Section types of a KRL.
const (
	krlCertificates = 1
	krlExplicitKey  = 2
	krlSHA1         = 3
	krlSHA256       = 5
)

// krlHeader is what follows the magic.
type krlHeader struct {
	Format    uint32
	Version   uint64
	Generated uint64
	Flags     uint64
	Reserved  string
	Comment   string
	Rest      []byte `ssh:"rest"`
}

type krlSection struct {
	Type byte
	Data string
	Rest []byte `ssh:"rest"`
}

type krlEntry struct {
	Value string
	Rest  []byte `ssh:"rest"`
}

// parseKRL reads a KRL. Certificates cannot sign images, so their sections are
// passed over; a section of an unknown type could revoke a key and is an
// error.
func parseKRL(b []byte) (Revoked, error) {
	var h krlHeader
	if err := ssh.Unmarshal(b[len(krlMagic):], &h); err != nil {
		return nil, fmt.Errorf("KRL header: %w", err)
	}
	if h.Format != 1 {
		return nil, fmt.Errorf("KRL of format %d is not supported", h.Format)
	}
	revoked := Revoked{}
	for rest := h.Rest; len(rest) > 0; {
		var s krlSection
		if err := ssh.Unmarshal(rest, &s); err != nil {
			return nil, fmt.Errorf("KRL section: %w", err)
		}
		if err := revoked.section(s.Type, []byte(s.Data)); err != nil {
			return nil, err
		}
		rest = s.Rest
	}
	return revoked, nil
}

func (r Revoked) section(typ byte, data []byte) error {
	if typ == krlCertificates {
		return nil
	}
	for len(data) > 0 {
		var e krlEntry
		if err := ssh.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("KRL entry: %w", err)
		}
		data = e.Rest
		value := []byte(e.Value)
		switch {
		case typ == krlExplicitKey:
			sum := sha256.Sum256(value)
			r[sha256Name(sum[:])] = true
		case typ == krlSHA256 && len(value) == sha256.Size:
			r[sha256Name(value)] = true
		case typ == krlSHA1 && len(value) == sha1.Size:
			r[sha1Name(value)] = true
		case typ == krlSHA1 || typ == krlSHA256:
			return errors.New("KRL entry: hash of the wrong size")
		default:
			return fmt.Errorf("KRL section of type %d is not supported", typ)
		}
	}
	return nil
}

func sha256Name(sum []byte) string { return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum) }
func sha1Name(sum []byte) string   { return "SHA1:" + base64.RawStdEncoding.EncodeToString(sum) }

// Has reports whether key is revoked.
func (r Revoked) Has(key ssh.PublicKey) bool {
	blob := key.Marshal()
	s256, s1 := sha256.Sum256(blob), sha1.Sum(blob)
	return r[sha256Name(s256[:])] || r[sha1Name(s1[:])]
}

func isKRL(b []byte) bool { return bytes.HasPrefix(b, krlMagic) }
