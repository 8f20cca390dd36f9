// Package sshsig makes and checks OpenSSH's detached file signatures
// (PROTOCOL.sshsig of OpenSSH), the ones of ssh-keygen -Y sign and -Y verify.
//
// Ed25519 and ECDSA keys on the NIST curves are supported, plain and on
// security keys (sk-*); RSA and certificates are not.
package sshsig

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/ssh"
)

const (
	magic   = "SSHSIG"
	version = 1
	begin   = "-----BEGIN SSH SIGNATURE-----"
	end     = "-----END SSH SIGNATURE-----"

	// MaxSize bounds an armored signature; real ones have a few hundred
	// bytes.
	MaxSize = 16 << 10
)

// Errors of Verify that a caller may want to tell apart.
var (
	ErrNamespace = errors.New("signature is for another namespace")
	ErrSignature = errors.New("signature does not match the file")
)

// A Signature is a parsed signature file.
type Signature struct {
	Key       ssh.PublicKey
	Namespace string
	Hash      string // sha256 or sha512
	sig       *ssh.Signature
}

// envelope is the signature blob behind the magic (PROTOCOL.sshsig section 2).
type envelope struct {
	Version   uint32
	PublicKey string
	Namespace string
	Reserved  string
	Hash      string
	Signature string
}

// signed is what the key signs, behind the magic (section 3).
type signed struct {
	Namespace string
	Reserved  string
	Hash      string
	Digest    string
}

// algorithms are the accepted key types and the signature format of each.
var algorithms = map[string]bool{
	ssh.KeyAlgoED25519: true, ssh.KeyAlgoSKED25519: true, ssh.KeyAlgoSKECDSA256: true,
	ssh.KeyAlgoECDSA256: true, ssh.KeyAlgoECDSA384: true, ssh.KeyAlgoECDSA521: true,
}

// CheckKey reports why a key cannot be used for image signatures.
func CheckKey(key ssh.PublicKey) error {
	if !algorithms[key.Type()] {
		return fmt.Errorf("key type %s is not supported: use ed25519 or ecdsa", key.Type())
	}
	return nil
}

// Sign signs message for namespace and returns the armored signature.
func Sign(random io.Reader, signer ssh.Signer, namespace string, message []byte) ([]byte, error) {
	if err := CheckKey(signer.PublicKey()); err != nil {
		return nil, err
	}
	if namespace == "" {
		return nil, errors.New("empty namespace")
	}
	data, err := toSign(namespace, "sha512", message)
	if err != nil {
		return nil, err
	}
	sig, err := signer.Sign(random, data)
	if err != nil {
		return nil, fmt.Errorf("sign with %s: %w", ssh.FingerprintSHA256(signer.PublicKey()), err)
	}
	blob := append([]byte(magic), ssh.Marshal(envelope{
		Version: version, PublicKey: string(signer.PublicKey().Marshal()),
		Namespace: namespace, Hash: "sha512", Signature: string(ssh.Marshal(sig)),
	})...)
	return armor(blob), nil
}

// Parse reads an armored signature. It checks the form only: see Verify.
func Parse(armored []byte) (*Signature, error) {
	blob, err := dearmor(armored)
	if err != nil {
		return nil, err
	}
	rest, ok := bytes.CutPrefix(blob, []byte(magic))
	if !ok {
		return nil, errors.New("not an SSH signature")
	}
	var env envelope
	if err := ssh.Unmarshal(rest, &env); err != nil {
		return nil, fmt.Errorf("signature blob: %w", err)
	}
	if env.Version != version {
		return nil, fmt.Errorf("signature version %d is not supported", env.Version)
	}
	s := &Signature{Namespace: env.Namespace, Hash: env.Hash, sig: new(ssh.Signature)}
	if s.Key, err = ssh.ParsePublicKey([]byte(env.PublicKey)); err != nil {
		return nil, fmt.Errorf("signature's public key: %w", err)
	}
	if err := CheckKey(s.Key); err != nil {
		return nil, err
	}
	if err := ssh.Unmarshal([]byte(env.Signature), s.sig); err != nil {
		return nil, fmt.Errorf("signature value: %w", err)
	}
	return s, nil
}

// Verify checks that s is its key's signature of message for namespace. Who
// the key belongs to is the caller's question: see AllowedSigners.
func (s *Signature) Verify(namespace string, message []byte) error {
	if s.Namespace != namespace {
		return fmt.Errorf("%w: %q instead of %q", ErrNamespace, s.Namespace, namespace)
	}
	data, err := toSign(s.Namespace, s.Hash, message)
	if err != nil {
		return err
	}
	if s.sig.Format != s.Key.Type() {
		return fmt.Errorf("%w: a %s value by a %s key", ErrSignature, s.sig.Format, s.Key.Type())
	}
	if err := s.Key.Verify(data, s.sig); err != nil {
		return ErrSignature
	}
	return s.touched()
}

// touched refuses a security key's signature that was made without the user:
// bit 0 of the flags byte in front of the counter (PROTOCOL.u2f).
func (s *Signature) touched() error {
	switch s.Key.Type() {
	case ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		if len(s.sig.Rest) < 1 || s.sig.Rest[0]&1 == 0 {
			return fmt.Errorf("%w: the security key was not touched", ErrSignature)
		}
	}
	return nil
}

// toSign is the message to be signed for a file.
func toSign(namespace, hash string, message []byte) ([]byte, error) {
	var digest []byte
	switch hash {
	case "sha512":
		d := sha512.Sum512(message)
		digest = d[:]
	case "sha256":
		d := sha256.Sum256(message)
		digest = d[:]
	default:
		return nil, fmt.Errorf("signature hash %q is not supported", hash)
	}
	return append([]byte(magic), ssh.Marshal(signed{Namespace: namespace, Hash: hash, Digest: string(digest)})...), nil
}

// armor wraps lines at 70 characters, as ssh-keygen does.
func armor(blob []byte) []byte {
	text := base64.StdEncoding.EncodeToString(blob)
	var b bytes.Buffer
	b.WriteString(begin + "\n")
	for len(text) > 0 {
		n := min(70, len(text))
		b.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	b.WriteString(end + "\n")
	return b.Bytes()
}

func dearmor(armored []byte) ([]byte, error) {
	if len(armored) > MaxSize {
		return nil, fmt.Errorf("signature file of %d bytes", len(armored))
	}
	text, ok := bytes.CutPrefix(bytes.ReplaceAll(armored, []byte("\r\n"), []byte("\n")), []byte(begin+"\n"))
	if !ok {
		return nil, fmt.Errorf("signature does not start with %q", begin)
	}
	text, rest, ok := bytes.Cut(text, []byte(end))
	if !ok || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("signature does not end with %q", end)
	}
	blob, err := base64.StdEncoding.DecodeString(string(bytes.ReplaceAll(text, []byte("\n"), nil)))
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	return blob, nil
}
