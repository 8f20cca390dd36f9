package tpm2

import (
	"crypto/hkdf"
	"encoding/binary"
	"hash"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// maxKEMCiphertext bounds a TPM2B_KEM_CIPHERTEXT.
const maxKEMCiphertext = maxMLKEMCiphertext

// kemID returns the identifier of DHKEM with curve and KDF of a key (RFC 9180 section 7.1), 0
// when there is none.
func kemID(p *TPMT_PUBLIC) uint16 {
	if p.Type != TPM_ALG_ECC || p.Scheme.Scheme != TPM_ALG_ECDH || p.KDF.Scheme != TPM_ALG_HKDF {
		return 0
	}
	switch {
	case p.Curve == TPM_ECC_NIST_P256 && p.KDF.Hash == TPM_ALG_SHA256:
		return 0x0010
	case p.Curve == TPM_ECC_NIST_P384 && p.KDF.Hash == TPM_ALG_SHA384:
		return 0x0011
	case p.Curve == TPM_ECC_NIST_P521 && p.KDF.Hash == TPM_ALG_SHA512:
		return 0x0012
	}
	return 0
}

// isKEM reports whether a key can encapsulate (v185, P2 section 12.2.3.5): an unrestricted
// decryption key for ECDH with a KDF that makes it a DHKEM.
func (p *TPMT_PUBLIC) isKEM() bool {
	a := p.Attributes
	return a.has(objDecrypt) && a&(objRestricted|objSign) == 0 && kemID(p) != 0
}

// serializePoint is the uncompressed form of SEC 1.
func serializePoint(p tpmcrypto.Point) []byte {
	return append(append([]byte{4}, p.X...), p.Y...)
}

// sharedSecret is ExtractAndExpand of RFC 9180 section 4.1; z is the Diffie-Hellman point, enc
// the ephemeral and static the recipient's public key. A failure is a bug: lengths are fixed.
func sharedSecret(pub *TPMT_PUBLIC, z tpmcrypto.Point, enc, static []byte) ([]byte, error) {
	h := func() hash.Hash { return tpmcrypto.NewHash(pub.KDF.Hash) }
	suite := binary.BigEndian.AppendUint16([]byte("KEM"), kemID(pub))
	labeled := func(label string, rest ...[]byte) []byte {
		b := append([]byte("HPKE-v1"), suite...)
		b = append(b, label...)
		for _, r := range rest {
			b = append(b, r...)
		}
		return b
	}
	prk, err := hkdf.Extract(h, labeled("eae_prk", z.X), nil)
	if err != nil {
		return nil, err
	}
	n := pub.KDF.Hash.DigestSize()
	info := append(binary.BigEndian.AppendUint16(nil, uint16(n)), labeled("shared_secret", enc, static)...)
	return hkdf.Expand(h, prk, string(info), n)
}

// encapsulateML is TPM2_Encapsulate for an ML-KEM key.
func encapsulateML(c *call, o *object) RC {
	k, rc := o.mlkemPublic()
	if rc != TPM_RC_SUCCESS {
		return rc.Handle(1)
	}
	secret, ciphertext := k.Encapsulate()
	c.out.b2(secret)
	c.out.b2(ciphertext)
	clear(secret)
	return TPM_RC_SUCCESS
}

// decapsulateML is TPM2_Decapsulate for an ML-KEM key.
func decapsulateML(c *call, o *object, ciphertext []byte) RC {
	if rc := unrestrictedDecrypt(o, TPM_ALG_MLKEM); rc != TPM_RC_SUCCESS {
		return rc
	}
	k, rc := o.mlkemKey()
	if rc != TPM_RC_SUCCESS {
		return rc.Handle(1)
	}
	secret, err := k.Decapsulate(ciphertext)
	if err != nil {
		return TPM_RC_SIZE.Param(1)
	}
	c.out.b2(secret)
	clear(secret)
	return TPM_RC_SUCCESS
}
