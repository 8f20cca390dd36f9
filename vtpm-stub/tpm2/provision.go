package tpm2

import "bytes"

// What the manufacturer of a TPM does, outside of its commands: endorsement
// certificates in NV, and PCR values that come with the platform.

// EKTemplate names a default template of the TCG EK Credential Profile 2.5,
// annex B.3.
type EKTemplate uint8

// Default endorsement key templates.
const (
	EKRSA2048 EKTemplate = iota + 1 // L-1
	EKECCP256                       // L-2
)

// NV indices of the profile (section 2.2.1.4, 2.2.1.5).
const (
	NVCertRSA2048 Handle = 0x01C00002
	NVCertECCP256 Handle = 0x01C0000A
	NVCertChain   Handle = 0x01C00100 // first certificate of the issuers' chain
)

// ekPolicy is PolicyA of the profile: PolicySecret(TPM_RH_ENDORSEMENT), SHA-256.
var ekPolicy = [32]byte{
	0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xB3, 0xF8, 0x1A, 0x90, 0xCC, 0x8D, 0x46, 0xA5, 0xD7, 0x24,
	0xFD, 0x52, 0xD7, 0x6E, 0x06, 0x52, 0x0B, 0x64, 0xF2, 0xA1, 0xDA, 0x1B, 0x33, 0x14, 0x69, 0xAA,
}

// public is the template's public area.
func (k EKTemplate) public() TPMT_PUBLIC {
	p := TPMT_PUBLIC{
		NameAlg: TPM_ALG_SHA256, AuthPolicy: bytes.Clone(ekPolicy[:]),
		Attributes: objFixedTPM | objFixedParent | objSensitiveDataOrigin | objAdminWithPolicy | objRestricted | objDecrypt,
		Sym:        TPMT_SYM_DEF{Algorithm: TPM_ALG_AES, KeyBits: 128, Mode: TPM_ALG_CFB},
		Scheme:     nullScheme, KDF: nullScheme,
	}
	if k == EKRSA2048 {
		p.Type, p.KeyBits, p.Unique = TPM_ALG_RSA, 2048, make([]byte, 256)
		return p
	}
	p.Type, p.Curve = TPM_ALG_ECC, TPM_ECC_NIST_P256
	p.X, p.Y = make([]byte, 32), make([]byte, 32)
	return p
}

// EKPublic returns the TPMT_PUBLIC of the endorsement key that TPM2_CreatePrimary
// makes of a default template, and the part of it that identifies the key in a
// certificate: the modulus, or the uncompressed point. It takes as long as the
// command; an RSA key asks Config.Cancelled on the way. Errors: an RC.
func (t *TPM) EKPublic(k EKTemplate) (public, unique []byte, err error) {
	if t.failure != 0 {
		return nil, nil, TPM_RC_FAILURE
	}
	if k == EKRSA2048 && !t.offer.rsaBits(2048) {
		return nil, nil, TPM_RC_VALUE
	}
	pub := k.public()
	o, rc := t.createPrimary(TPM_RH_ENDORSEMENT, &pub, &TPMS_SENSITIVE_CREATE{})
	if rc != TPM_RC_SUCCESS {
		return nil, nil, rc
	}
	defer wipeObject(o)
	if k == EKRSA2048 {
		unique = bytes.Clone(o.pub.Unique)
	} else {
		unique = append(append([]byte{4}, o.pub.X...), o.pub.Y...)
	}
	return marshal(maxPublic, func(w *writer) { w.public(&o.pub) }), unique, nil
}

// nvCertificate are the attributes of a certificate's index (profile, section
// 2.2.1.5): the platform's, readable by all, locked once written.
const nvCertificate = nvPPWrite | nvWriteDefine | nvPPRead | nvOwnerRead | nvAuthRead | nvNoDA | nvPlatformCreate

// ProvisionNV puts data into an index with the attributes of a certificate, in
// place of what is there, and makes that permanent. The index is readable with
// empty authorization and locked against writing. Errors: TPM_RC_SIZE,
// TPM_RC_NV_SPACE (the index is then as before), TPM_RC_FAILURE.
func (t *TPM) ProvisionNV(index Handle, data []byte) error {
	switch {
	case t.failure != 0:
		return TPM_RC_FAILURE
	case !t.ram.started:
		return TPM_RC_INITIALIZE
	case index.Type() != TPM_HT_NV_INDEX:
		return TPM_RC_HANDLE
	case len(data) == 0 || len(data) > maxNVIndex:
		return TPM_RC_SIZE
	}
	ix := &nvIndex{data: bytes.Clone(data)}
	ix.pub = TPMS_NV_PUBLIC{
		Index: index, NameAlg: TPM_ALG_SHA256, DataSize: uint16(len(data)),
		Attributes: nvCertificate | nvWritten | nvWriteLocked,
	}
	old := t.nvFind(index)
	have := maxNVBytes - t.nvUsed()
	if old != nil {
		have += nvOverhead + len(old.data) + len(old.auth) + len(old.pub.AuthPolicy)
	}
	if nvOverhead+len(data) > have || old == nil && len(t.perm.nv) >= maxNVIndices {
		return TPM_RC_NV_SPACE
	}
	if old != nil {
		t.nvRemove(old)
	}
	if rc := t.nvAdd(ix); rc != TPM_RC_SUCCESS {
		return t.fail(rc, "internal error: no room for an index after the check for room")
	}
	return t.flush()
}

// NVData returns a copy of what is in a written index, nil when there is none.
func (t *TPM) NVData(index Handle) []byte {
	ix := t.nvFind(index)
	if ix == nil || !ix.pub.Attributes.has(nvWritten) {
		return nil
	}
	return bytes.Clone(ix.data)
}

// InitPCR gives PCR n of a bank a value before the guest's first command: a copy
// of the hardware's. It is called after Startup. A bank that is not allocated is
// left alone. Errors: an RC.
func (t *TPM) InitPCR(bank AlgID, n int, digest []byte) error {
	b := bankIndex(bank)
	switch {
	case t.failure != 0:
		return TPM_RC_FAILURE
	case !t.ram.started:
		return TPM_RC_INITIALIZE
	case b < 0 || n < 0 || n >= numPCR || len(digest) != bank.DigestSize():
		return TPM_RC_VALUE
	}
	if v := t.pcrValue(b, n); v != nil {
		copy(v, digest)
		t.pcrChanged(n)
	}
	return t.flush()
}
