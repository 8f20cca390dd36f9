package hwtpm

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"xenvtpm/vtpmmgr-stub/proto"
)

// RecoveryKey is an authority's word that a manager is to take another recovery
// key. Its number only goes up.
type RecoveryKey struct {
	Manager   proto.UUID
	Number    uint64
	Public    []byte // P-256 point, 65 bytes
	Signature []byte // TPMT_SIGNATURE over Message
}

const recoveryKeyMagic = "XVTRCK\x00\x01"

// recoveryPoint is the size of an uncompressed P-256 point.
const recoveryPoint = 65

func (k *RecoveryKey) fields(b []byte) []byte {
	b = append(b, k.Manager[:]...)
	b = binary.BigEndian.AppendUint64(b, k.Number)
	return proto.AppendSized(b, k.Public)
}

// Message is what the signature covers.
func (k *RecoveryKey) Message() []byte { return k.fields([]byte("xenvtpm recovery key 1\x00")) }

// Append appends the encoding.
func (k *RecoveryKey) Append(b []byte) []byte {
	return proto.AppendSized(k.fields(append(b, recoveryKeyMagic...)), k.Signature)
}

// ParseRecoveryKey reads all of in; it verifies nothing.
func ParseRecoveryKey(in []byte) (*RecoveryKey, error) {
	r := proto.NewReader(in)
	magic := string(r.Bytes(len(recoveryKeyMagic)))
	k := &RecoveryKey{Manager: r.UUID(), Number: r.U64(), Public: bytes.Clone(r.Sized(recoveryPoint)), Signature: bytes.Clone(r.Sized(maxSignature))}
	if r.Done() != nil || magic != recoveryKeyMagic || len(k.Public) != recoveryPoint {
		return nil, fmt.Errorf("%w: not a certified recovery key of this version", ErrPolicy)
	}
	return k, nil
}
