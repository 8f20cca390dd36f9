package manager

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"xenvtpm/vtpmmgr-stub/store"
)

// The recovery key is a P-256 key that the operator keeps offline. The root
// secret is encrypted to it at provisioning (ECIES: ephemeral key, HKDF-SHA256,
// XAES-256-GCM) and lies in the key area, beside the key's public half.
//
// The way back is encrypted from the recovery key to the session key of a running
// manager: the key of that box follows from two agreements, of the ephemeral key
// and of the recovery key with the session key. Only who has the recovery key can
// make it, and only that manager can open it.

const (
	recoveryInfo = "xenvtpm recovery 1"
	sessionInfo  = "xenvtpm recovery session 2"
	pointSize    = 65
)

var errRecovery = errors.New("recovery key or box malformed, or not of this manager")

// sealTo encrypts to a P-256 public key (65 bytes, uncompressed).
func sealTo(rand io.Reader, public, plain []byte) ([]byte, error) {
	pub, err := ecdh.P256().NewPublicKey(public)
	if err != nil {
		return nil, errRecovery
	}
	eph, err := ecdh.P256().GenerateKey(rand)
	if err != nil {
		return nil, err
	}
	secret, err := eph.ECDH(pub)
	if err != nil {
		return nil, errRecovery
	}
	box, err := sharedBox(secret, recoveryInfo, rand, eph.PublicKey(), pub)
	if err != nil {
		return nil, err
	}
	return box.Seal(eph.PublicKey().Bytes(), plain, []byte(recoveryInfo))
}

// openWith decrypts what sealTo made.
func openWith(key *ecdh.PrivateKey, in []byte) ([]byte, error) {
	eph, rest, err := takePoint(in)
	if err != nil {
		return nil, err
	}
	secret, err := key.ECDH(eph)
	if err != nil {
		return nil, errRecovery
	}
	box, err := sharedBox(secret, recoveryInfo, nil, eph, key.PublicKey())
	if err != nil {
		return nil, err
	}
	return openBox(box, rest, recoveryInfo)
}

// sealFrom encrypts from the recovery key to a session key.
func sealFrom(rand io.Reader, from *ecdh.PrivateKey, session, plain []byte) ([]byte, error) {
	pub, err := ecdh.P256().NewPublicKey(session)
	if err != nil {
		return nil, errRecovery
	}
	eph, err := ecdh.P256().GenerateKey(rand)
	if err != nil {
		return nil, err
	}
	first, err := eph.ECDH(pub)
	if err != nil {
		return nil, errRecovery
	}
	second, err := from.ECDH(pub)
	if err != nil {
		return nil, errRecovery
	}
	box, err := sharedBox(append(first, second...), sessionInfo, rand, eph.PublicKey(), pub, from.PublicKey())
	if err != nil {
		return nil, err
	}
	return box.Seal(eph.PublicKey().Bytes(), plain, []byte(sessionInfo))
}

// openFrom decrypts what the holder of that recovery key made for a session key.
func openFrom(session *ecdh.PrivateKey, recovery, in []byte) ([]byte, error) {
	from, err := ecdh.P256().NewPublicKey(recovery)
	if err != nil {
		return nil, errRecovery
	}
	eph, rest, err := takePoint(in)
	if err != nil {
		return nil, err
	}
	first, err := session.ECDH(eph)
	if err != nil {
		return nil, errRecovery
	}
	second, err := session.ECDH(from)
	if err != nil {
		return nil, errRecovery
	}
	box, err := sharedBox(append(first, second...), sessionInfo, nil, eph, session.PublicKey(), from)
	if err != nil {
		return nil, err
	}
	return openBox(box, rest, sessionInfo)
}

func takePoint(in []byte) (*ecdh.PublicKey, []byte, error) {
	if len(in) < pointSize {
		return nil, nil, errRecovery
	}
	p, err := ecdh.P256().NewPublicKey(in[:pointSize])
	if err != nil {
		return nil, nil, errRecovery
	}
	return p, in[pointSize:], nil
}

func openBox(box *store.Box, in []byte, info string) ([]byte, error) {
	plain, err := box.Open(nil, in, []byte(info))
	if err != nil {
		return nil, errRecovery
	}
	return plain, nil
}

// sharedBox is the box of what was agreed on, for exactly those public keys.
func sharedBox(secret []byte, info string, rand io.Reader, keys ...*ecdh.PublicKey) (*store.Box, error) {
	var salt []byte
	for _, k := range keys {
		salt = append(salt, k.Bytes()...)
	}
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
	secret, err := openWith(recovery, box)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	return sealFrom(rand, recovery, session, secret)
}

// Fingerprint is what people compare of a key or a box: 128 bits of its SHA-256,
// in groups of four hexadecimal digits.
func Fingerprint(b []byte) string {
	d := sha256.Sum256(b)
	text := hex.EncodeToString(d[:16])
	var groups []string
	for ; len(text) > 0; text = text[4:] {
		groups = append(groups, text[:4])
	}
	return strings.Join(groups, "-")
}

// SameFingerprint compares what somebody has typed, in any case and grouping.
func SameFingerprint(b []byte, typed string) error {
	strip := strings.NewReplacer("-", "", " ", "", ":", "")
	if want := Fingerprint(b); strip.Replace(strings.ToLower(typed)) != strip.Replace(want) {
		return fmt.Errorf("its fingerprint is %s, not %s", want, typed)
	}
	return nil
}
