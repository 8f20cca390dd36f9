package manager

import (
	"bytes"
	"io"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// keyFile is the payload of the store's key area: all that is needed to get at
// the root key. It is plain; nothing in it is secret. Once the root key has opened
// the store, the superblock vouches for it.
type keyFile struct {
	root     []byte // hwtpm.Binding of the root secret
	key      []byte // recovery key, public; empty if there is none, or in a first version
	recovery []byte // recovery box, empty if there is none (recovery.go)
}

const (
	keyFileFirst   = 1 // without key
	keyFileVersion = 2
)

func (k keyFile) encode() []byte {
	b := proto.AppendSized([]byte{keyFileVersion}, k.root)
	b = proto.AppendSized(b, k.key)
	return proto.AppendSized(b, k.recovery)
}

func parseKeyFile(in []byte) (k keyFile, err error) {
	r := proto.NewReader(in)
	version := r.U8()
	if version != keyFileFirst && version != keyFileVersion {
		return k, ErrKeyFile
	}
	k.root = bytes.Clone(r.Sized(0xFFFF))
	if version != keyFileFirst {
		k.key = bytes.Clone(r.Sized(pointSize))
	}
	k.recovery = bytes.Clone(r.Sized(0xFFFF))
	if r.Done() != nil {
		return keyFile{}, ErrKeyFile
	}
	return k, nil
}

// rootSecret is what is sealed: 1 + 16 + 32 + 32 bytes.
type rootSecret struct {
	manager proto.UUID
	key     [32]byte
	counter [hwtpm.AuthSize]byte
}

const rootVersion = 1

func (s rootSecret) encode() []byte {
	b := append([]byte{rootVersion}, s.manager[:]...)
	b = append(b, s.key[:]...)
	return append(b, s.counter[:]...)
}

func parseRoot(in []byte) (s rootSecret, err error) {
	r := proto.NewReader(in)
	version := r.U8()
	s.manager = r.UUID()
	copy(s.key[:], r.Bytes(len(s.key)))
	copy(s.counter[:], r.Bytes(len(s.counter)))
	if r.Done() != nil || version != rootVersion {
		return rootSecret{}, ErrKeyFile
	}
	return s, nil
}

// newRoot draws a root secret. The counter's authorisation has no zero bytes:
// TPMs drop trailing ones, and go-tpm cuts at any.
func newRoot(rand io.Reader, manager proto.UUID) (s rootSecret, err error) {
	s.manager = manager
	if _, err := io.ReadFull(rand, s.key[:]); err != nil {
		return s, err
	}
	var pool [8 * hwtpm.AuthSize]byte
	n := 0
	for n < len(s.counter) {
		if _, err := io.ReadFull(rand, pool[:]); err != nil {
			return s, err
		}
		for _, b := range pool {
			if b != 0 && n < len(s.counter) {
				s.counter[n] = b
				n++
			}
		}
	}
	return s, nil
}

func newUUID(rand io.Reader) (u proto.UUID, err error) {
	_, err = io.ReadFull(rand, u[:])
	u[6] = u[6]&0x0F | 0x40 // RFC 9562 version 4
	u[8] = u[8]&0x3F | 0x80
	return u, err
}
