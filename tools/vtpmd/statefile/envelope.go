// Package statefile keeps a TPM's state blobs on a Linux file system: written
// atomically and durably (temporary file, fsync, rename, fsync of the folder),
// encrypted when a key is given, and locked against a second process.
//
// Whoever can write the folder controls the bytes: a blob is checked (AES-256-
// GCM with a key, SHA-256 without) before anything of it is used. Rolling back
// to an older file cannot be seen here; the Xen manager is what prevents that.
package statefile

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
)

// Kind says which of a TPM's states a blob holds.
type Kind uint8

// The two kinds of state.
const (
	Permanent Kind = 1
	Volatile  Kind = 2
)

func (k Kind) String() string {
	switch k {
	case Permanent:
		return "permanent"
	case Volatile:
		return "volatile"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Errors of an envelope.
var (
	ErrForeign   = errors.New("not written by vtpmd")
	ErrNewer     = errors.New("written by a newer vtpmd")
	ErrDamaged   = errors.New("damaged")
	ErrKeyNeeded = errors.New("encrypted, and no key was given")
	ErrWrongKey  = errors.New("wrong key, or damaged")
	ErrPlain     = errors.New("not encrypted, although a key was given")
)

// The header: 8 bytes magic, u8 version, u8 kind, u8 flags, u8 zero, u32
// payload length. Then a 12-byte nonce, the payload, and 16 bytes of GCM tag
// or 32 of SHA-256. The header is authenticated with the payload.
const (
	magic      = "vTPMdata"
	version    = 1
	flagSealed = 1
	headerLen  = 16
	nonceLen   = 12
	tagLen     = 16
	// MaxPayload bounds a state blob in bytes.
	MaxPayload = 1 << 20
)

// Key encrypts state; nil means no encryption.
type Key struct{ aead cipher.AEAD }

// NewKey derives the encryption key from what the user gave.
func NewKey(secret []byte) (*Key, error) {
	derived, err := hkdf.Key(sha256.New, secret, nil, "vtpmd state file v1", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Key{aead}, nil
}

// Seal wraps a payload for storage or migration.
func Seal(kind Kind, payload []byte, key *Key) ([]byte, error) {
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("%v state of %d bytes, at most %d fit", kind, len(payload), MaxPayload)
	}
	out := make([]byte, headerLen+nonceLen, headerLen+nonceLen+len(payload)+sha256.Size)
	copy(out, magic)
	out[8], out[9] = version, byte(kind)
	binary.BigEndian.PutUint32(out[12:], uint32(len(payload)))
	if key == nil {
		out = append(out, payload...)
		sum := sha256.Sum256(out)
		return append(out, sum[:]...), nil
	}
	out[10] = flagSealed
	nonce := out[headerLen:]
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return key.aead.Seal(out, nonce, payload, out[:headerLen]), nil
}

// Sealed reports whether an envelope says that it is encrypted.
func Sealed(env []byte) bool {
	return len(env) >= headerLen && string(env[:8]) == magic && env[10]&flagSealed != 0
}

// Unseal checks an envelope of the given kind and returns its payload.
func Unseal(kind Kind, env []byte, key *Key) ([]byte, error) {
	if len(env) < 8 || string(env[:8]) != magic {
		return nil, fmt.Errorf("%v state: %w", kind, ErrForeign)
	}
	if len(env) < headerLen+nonceLen+tagLen {
		return nil, fmt.Errorf("%v state: %w: only %d bytes", kind, ErrDamaged, len(env))
	}
	if env[8] != version {
		return nil, fmt.Errorf("%v state: %w (format %d, this one knows %d)", kind, ErrNewer, env[8], version)
	}
	if Kind(env[9]) != kind {
		return nil, fmt.Errorf("%v state: %w: holds %v", kind, ErrDamaged, Kind(env[9]))
	}
	payload, err := open(env, key)
	if err != nil {
		return nil, fmt.Errorf("%v state: %w", kind, err)
	}
	if uint64(binary.BigEndian.Uint32(env[12:])) != uint64(len(payload)) {
		return nil, fmt.Errorf("%v state: %w: length field", kind, ErrDamaged)
	}
	return payload, nil
}

func open(env []byte, key *Key) ([]byte, error) {
	body := env[headerLen+nonceLen:]
	switch sealed := env[10]&flagSealed != 0; {
	case sealed && key == nil:
		return nil, ErrKeyNeeded
	case !sealed && key != nil:
		return nil, ErrPlain
	case sealed:
		p, err := key.aead.Open(nil, env[headerLen:headerLen+nonceLen], body, env[:headerLen])
		if err != nil {
			return nil, ErrWrongKey
		}
		return p, nil
	}
	if len(body) < sha256.Size {
		return nil, ErrDamaged
	}
	end := len(env) - sha256.Size
	sum := sha256.Sum256(env[:end])
	if subtle.ConstantTimeCompare(sum[:], env[end:]) != 1 {
		return nil, ErrDamaged
	}
	return env[headerLen+nonceLen : end], nil
}
