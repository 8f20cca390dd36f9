package options

import (
	"crypto/pbkdf2"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
)

// Secret reads the key that a KeySpec names: 16 or 32 bytes from a key file, or
// 32 derived from a passphrase. Mode aes-256-cbc asks for 32 bytes. (State is
// sealed with AES-256-GCM under a key derived from these bytes; the mode's name is accepted
// because scripts pass it.)
func (k *KeySpec) Secret() ([]byte, error) {
	raw, name, err := k.read()
	if err != nil {
		return nil, err
	}
	if k.PwdFile != "" || k.PwdFD >= 0 {
		return k.derive([]byte(strings.TrimRight(string(raw), "\r\n")), name)
	}
	if k.Format != "binary" {
		text := strings.TrimPrefix(strings.TrimSpace(string(raw)), "0x")
		if raw, err = hex.DecodeString(text); err != nil {
			return nil, fmt.Errorf("%s: the key is not in hexadecimal; say format=binary for a binary one", name)
		}
	}
	if len(raw) != 32 && (len(raw) != 16 || k.Mode == "aes-256-cbc") {
		return nil, fmt.Errorf("%s: a key of %d bytes; 16 (aes-cbc) or 32 (aes-256-cbc) are needed", name, len(raw))
	}
	return raw, nil
}

func (k *KeySpec) read() ([]byte, string, error) {
	name, fd := k.File+k.PwdFile, max(k.FD, k.PwdFD)
	var f *os.File
	var err error
	if fd >= 0 {
		name = fmt.Sprintf("descriptor %d", fd)
		f = os.NewFile(uintptr(fd), name)
	} else if f, err = os.Open(name); err != nil {
		return nil, name, fmt.Errorf("read the key: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	raw, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return nil, name, fmt.Errorf("read the key from %s: %w", name, err)
	}
	if k.Remove && fd < 0 {
		if err := os.Remove(name); err != nil {
			return nil, name, fmt.Errorf("remove the key file: %w", err)
		}
	}
	return raw, name, nil
}

func (k *KeySpec) derive(pass []byte, name string) ([]byte, error) {
	if len(pass) == 0 {
		return nil, fmt.Errorf("%s: the passphrase is empty", name)
	}
	if k.KDF == "sha512" {
		sum := sha512.Sum512(pass)
		return sum[:32], nil
	}
	return pbkdf2.Key(sha512.New, string(pass), []byte("vtpmd state key"), 100_000, 32)
}
