package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"xenvtpm/vtpmmgr-stub/hwtpm"
)

// signer makes TPMT_SIGNATUREs.
type signer struct {
	public []byte // TPMT_PUBLIC
	sign   func(message []byte) ([]byte, error)
}

// loadAuthority reads the public part of an approval key: PEM or OpenSSH, public
// or private.
func loadAuthority(name string) ([]byte, error) {
	key, err := loadPublic(name)
	if err != nil {
		return nil, err
	}
	return hwtpm.AuthorityPublic(key)
}

func loadPublic(name string) (crypto.PublicKey, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(b); block != nil && block.Type == "PUBLIC KEY" {
		return x509.ParsePKIXPublicKey(block.Bytes)
	}
	if pub, _, _, _, err := ssh.ParseAuthorizedKey(b); err == nil {
		if c, ok := pub.(ssh.CryptoPublicKey); ok {
			return c.CryptoPublicKey(), nil
		}
	}
	if key, err := parsePrivate(b); err == nil {
		return key.Public(), nil
	}
	return nil, fmt.Errorf("%s: no public key in PEM or OpenSSH form", name)
}

func parsePrivate(b []byte) (crypto.Signer, error) {
	raw, err := ssh.ParseRawPrivateKey(b)
	if err != nil {
		return nil, err
	}
	key, ok := raw.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("keys of type %T cannot sign policies", raw)
	}
	return key, nil
}

// loadSigner takes a private key from a file, or (given a public one) from
// ssh-agent.
func (e *env) loadSigner(name string) (*signer, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	key, err := parsePrivate(b)
	var locked *ssh.PassphraseMissingError
	switch {
	case err == nil:
		return fileSigner(key)
	case errors.As(err, &locked):
		return nil, fmt.Errorf("%s has a passphrase; load it into ssh-agent (ssh-add) and give the .pub file", name)
	}
	if pub, _, _, _, perr := ssh.ParseAuthorizedKey(b); perr == nil {
		return e.agentSigner(pub)
	}
	return nil, fmt.Errorf("%s: %w", name, err)
}

func fileSigner(key crypto.Signer) (*signer, error) {
	public, err := hwtpm.AuthorityPublic(key.Public())
	if err != nil {
		return nil, err
	}
	return &signer{public: public, sign: func(message []byte) ([]byte, error) {
		hash, digest := crypto.SHA256, sha256sum(message)
		if k, ok := key.Public().(*ecdsa.PublicKey); ok && k.Curve.Params().BitSize == 384 {
			d := sha512.Sum384(message)
			hash, digest = crypto.SHA384, d[:]
		}
		sig, err := key.Sign(rand.Reader, digest, hash)
		if err != nil {
			return nil, err
		}
		return hwtpm.EncodeSignature(key.Public(), sig)
	}}, nil
}

func sha256sum(b []byte) []byte {
	d := sha256.Sum256(b)
	return d[:]
}

// agentSigner signs with ssh-agent: ECDSA keys sign SHA-256 or SHA-384 of the
// message by their curve (RFC 5656), RSA keys SHA-256 with rsa-sha2-256 (RFC
// 8332). Those are the schemes of hwtpm.
func (e *env) agentSigner(pub ssh.PublicKey) (*signer, error) {
	c, ok := pub.(ssh.CryptoPublicKey)
	if !ok {
		return nil, fmt.Errorf("keys of type %s cannot sign policies", pub.Type())
	}
	key := c.CryptoPublicKey()
	public, err := hwtpm.AuthorityPublic(key)
	if err != nil {
		return nil, err
	}
	socket := e.getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, errors.New("this is a public key, and there is no ssh-agent (SSH_AUTH_SOCK)")
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("ssh-agent: %w", err)
	}
	ag := agent.NewClient(conn)
	return &signer{public: public, sign: func(message []byte) ([]byte, error) {
		var flags agent.SignatureFlags
		if _, ok := key.(*rsa.PublicKey); ok {
			flags = agent.SignatureFlagRsaSha256
		}
		sig, err := ag.SignWithFlags(pub, message, flags)
		if err != nil {
			return nil, fmt.Errorf("ssh-agent: %w", err)
		}
		return agentSignature(key, sig)
	}}, nil
}

func agentSignature(key crypto.PublicKey, sig *ssh.Signature) ([]byte, error) {
	if _, ok := key.(*rsa.PublicKey); ok {
		if sig.Format != ssh.KeyAlgoRSASHA256 {
			return nil, fmt.Errorf("ssh-agent signed with %s, not rsa-sha2-256", sig.Format)
		}
		return hwtpm.EncodeSignature(key, sig.Blob)
	}
	var rs struct{ R, S *big.Int }
	if err := ssh.Unmarshal(sig.Blob, &rs); err != nil {
		return nil, fmt.Errorf("ssh-agent's signature: %w", err)
	}
	der, err := asn1.Marshal(rs)
	if err != nil {
		return nil, err
	}
	return hwtpm.EncodeSignature(key, der)
}
