package hwtpm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"xenvtpm/vtpmmgr-stub/proto"
)

// Release is an authority's leave for vTPMs of its group to go to another one.
// It holds as long as the group's policy list that it names is the newest: with
// the next list the authority takes back what it has not yet seen used.
type Release struct {
	Authority []byte // TPMT_PUBLIC
	Group     proto.UUID
	Sequence  uint64     // of the group's policy list
	To        proto.UUID // zero: the default group
	VTPMs     []proto.UUID
	Signature []byte // TPMT_SIGNATURE over Message
}

// MaxReleased is the most vTPMs that one release may name.
const MaxReleased = 1024

// Message is what the signature covers.
func (l *Release) Message() []byte {
	b := append([]byte("xenvtpm release 1\x00"), l.Group[:]...)
	b = binary.BigEndian.AppendUint64(b, l.Sequence)
	b = append(b, l.To[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(l.VTPMs)))
	for _, u := range l.VTPMs {
		b = append(b, u[:]...)
	}
	return b
}

// Verify checks the signature by the authority that the release names.
func (l *Release) Verify() error {
	if n := len(l.VTPMs); n == 0 || n > MaxReleased {
		return fmt.Errorf("%w: release of %d vTPMs, want 1 to %d", ErrPolicy, n, MaxReleased)
	}
	return VerifyMessage(l.Authority, l.Message(), l.Signature)
}

// Lets reports whether the release is of that group's vTPM u, to that other one.
func (l *Release) Lets(u, group, to proto.UUID) bool {
	return l.Group == group && l.To == to && slices.Contains(l.VTPMs, u)
}

const releaseMagic = "XVTREL\x00\x01"

// Append appends the encoding.
func (l *Release) Append(b []byte) []byte {
	b = append(b, releaseMagic...)
	b = proto.AppendSized(b, l.Authority)
	b = append(b, l.Message()[len("xenvtpm release 1\x00"):]...)
	return proto.AppendSized(b, l.Signature)
}

// ParseRelease reads all of in; it verifies nothing.
func ParseRelease(in []byte) (*Release, error) {
	r := proto.NewReader(in)
	if string(r.Bytes(len(releaseMagic))) != releaseMagic {
		return nil, fmt.Errorf("%w: not a release of this version", ErrPolicy)
	}
	l := &Release{Authority: bytes.Clone(r.Sized(maxPublic)), Group: r.UUID(), Sequence: r.U64(), To: r.UUID()}
	n := int(r.U16())
	if n > MaxReleased {
		return nil, fmt.Errorf("%w: release of %d vTPMs", ErrPolicy, n)
	}
	for range n {
		l.VTPMs = append(l.VTPMs, r.UUID())
	}
	l.Signature = bytes.Clone(r.Sized(maxSignature))
	if r.Done() != nil {
		return nil, fmt.Errorf("%w: release is cut off or too long", ErrPolicy)
	}
	return l, nil
}
