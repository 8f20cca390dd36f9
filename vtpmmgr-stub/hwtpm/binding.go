package hwtpm

import (
	"bytes"
	"errors"

	"xenvtpm/vtpmmgr-stub/proto"
)

// Binding is a sealed object with all that is needed to open it: it is stored in
// the plain and holds no secret. What it says is checked by the TPM: altering it
// can only make it fail.
type Binding struct {
	Kind     uint8              // KindTPM20 or KindTPM12
	Identity Identity           // of the TPM that sealed it
	PCRs     proto.PCRSelection // of a local policy
	Values   [][]byte           // PCR values at sealing, to name what changed
	Auth     *Authority         // nil = local policy
	Public   []byte             // TPM2B_PUBLIC contents of the object
	Private  []byte             // TPM2B_PRIVATE contents
	Proof    *Proof             // of its making; nil: there is none
}

// Kinds of binding, by what sealed it.
const (
	KindTPM12 uint8 = 1 // Private is go-tpm's TPM_STORED_DATA, Public is empty
	KindTPM20 uint8 = 2

	bindingVersion       = 1
	bindingVersionProven = 2 // the same with a Proof behind it
)

var errBinding = errors.New("sealed object: encoding malformed or of a newer version")

// Append appends the encoding of b.
func (b *Binding) Append(out []byte) []byte {
	version := byte(bindingVersion)
	if b.Proof != nil {
		version = bindingVersionProven
	}
	out = append(out, version, b.Kind)
	out = proto.AppendSized(out, b.Identity.SRK)
	out = proto.AppendSized(out, b.Identity.EK)
	out = b.PCRs.Append(out)
	for _, v := range b.Values {
		out = append(out, v...)
	}
	if b.Auth != nil {
		out = b.Auth.append(append(out, 1))
	} else {
		out = append(out, 0)
	}
	out = proto.AppendSized(out, b.Public)
	out = proto.AppendSized(out, b.Private)
	if b.Proof != nil {
		out = b.Proof.append(out)
	}
	return out
}

// ParseBinding reads all of in.
func ParseBinding(in []byte) (*Binding, error) {
	r := proto.NewReader(in)
	version, kind := r.U8(), r.U8()
	if version != bindingVersion && version != bindingVersionProven || kind != KindTPM12 && kind != KindTPM20 {
		return nil, errBinding
	}
	b := &Binding{Kind: kind, Identity: Identity{SRK: bytes.Clone(r.Sized(68)), EK: bytes.Clone(r.Sized(68))}}
	b.PCRs = proto.ReadPCRSelection(r)
	if r.Err() != nil {
		return nil, errBinding
	}
	for range b.PCRs.Count() {
		b.Values = append(b.Values, bytes.Clone(r.Bytes(proto.DigestSize(b.PCRs.Alg))))
	}
	if r.U8() != 0 {
		var err error
		if b.Auth, err = readAuthority(r); err != nil {
			return nil, errBinding
		}
	}
	b.Public, b.Private = bytes.Clone(r.Sized(maxSealedPart)), bytes.Clone(r.Sized(maxSealedPart))
	if version == bindingVersionProven {
		b.Proof = readProof(r)
	}
	if r.Done() != nil {
		return nil, errBinding
	}
	return b, nil
}
