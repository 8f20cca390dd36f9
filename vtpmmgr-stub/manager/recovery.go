package manager

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"io"

	"xenvtpm/vtpmmgr-stub/store"
)

// The recovery key is a P-256 key that the operator keeps offline. The root
// secret is encrypted to it at provisioning (ECIES: ephemeral key, HKDF-SHA256,
// XAES-256-GCM) and lies in the key area.

const (
	recoveryInfo = "xenvtpm recovery 1"
	sessionInfo  = "xenvtpm recovery session 1"
	pointSize    = 65
)

var errRecovery = errors.New("recovery key or box malformed, or not of this manager")

// sealTo encrypts to a P-256 public key (65 bytes, uncompressed).
func sealTo(rand io.Reader, public, plain []byte, info string) ([]byte, error) {
	pub, err := ecdh.P256().NewPublicKey(public)
	if err != nil {
		return nil, errRecovery
	}
	eph, err := ecdh.P256().GenerateKey(rand)
	if err != nil {
		return nil, err
	}
	box, err := sharedBox(eph, pub, eph.PublicKey(), pub, info, rand)
	if err != nil {
		return nil, err
	}
	return box.Seal(eph.PublicKey().Bytes(), plain, []byte(info))
}

// openWith decrypts what sealTo made.
func openWith(key *ecdh.PrivateKey, in []byte, info string) ([]byte, error) {
	if len(in) < pointSize {
		return nil, errRecovery
	}
	eph, err := ecdh.P256().NewPublicKey(in[:pointSize])
	if err != nil {
		return nil, errRecovery
	}
	box, err := sharedBox(key, eph, eph, key.PublicKey(), info, nil)
	if err != nil {
		return nil, err
	}
	plain, err := box.Open(nil, in[pointSize:], []byte(info))
	if err != nil {
		return nil, errRecovery
	}
	return plain, nil
}

func sharedBox(mine *ecdh.PrivateKey, theirs, eph, static *ecdh.PublicKey, info string, rand io.Reader) (*store.Box, error) {
	secret, err := mine.ECDH(theirs)
	if err != nil {
		return nil, errRecovery
	}
	salt := append(eph.Bytes(), static.Bytes()...)
	key, err := hkdf.Key(sha256.New, secret, salt, info, 32)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return store.NewBox(key, rand)
}

// Rewrap is the offline half of a recovery: it opens a box with the recovery key
// and closes it again to the session key of a running manager, so that neither
// dom0 nor the wire sees the secret.
func Rewrap(rand io.Reader, recovery *ecdh.PrivateKey, box, session []byte) ([]byte, error) {
	secret, err := openWith(recovery, box, recoveryInfo)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	return sealTo(rand, session, secret, sessionInfo)
}
