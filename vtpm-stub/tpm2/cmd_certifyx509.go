package tpm2

import (
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// cmdCertifyX509 is TPM2_CertifyX509 (TPM20-P3 section 18.8). The serial number is random.
//
//	TPM_RC_ATTRIBUTES  P3  the object is not what key usage or TPMA_OBJECT say
//	TPM_RC_KEY         H1  the object has no SubjectPublicKeyInfo: symmetric, or a curve
//	                       without an identifier
//	TPM_RC_KEY         H2  the key is not an asymmetric signing key
//	TPM_RC_SCHEME      P2  the scheme is not the key's, none is named, or it has no
//	                       identifier and the caller gave none
//	TPM_RC_SIZE        P1  reserved is not empty
//	TPM_RC_SIZE        P3  with the signature, of HashML-DSA, more than a response holds
//	TPM_RC_VALUE       P3  partialCertificate is malformed
//	TPM_RC_RANGE, TPM_RC_VALUE  P2  ECDAA: the count was not given out, or was used
func cmdCertifyX509(t *TPM, c *call) RC {
	reserved := c.in.param().data()
	in := c.in.param().sigScheme()
	partial := c.in.param().maxBuffer()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if len(reserved) != 0 {
		return TPM_RC_SIZE.Param(1)
	}
	o, key := c.object(0), c.object(1)
	if key != nil && !key.pub.asymmetric() {
		return TPM_RC_KEY.Handle(2)
	}
	scheme, rc := signer(c, 1, 2, &in)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	p, ok := parsePartial(partial)
	if !ok {
		return TPM_RC_VALUE.Param(3)
	}
	if scheme.Hash == TPM_ALG_NULL || len(p.alg) == 0 && signatureOID(&scheme) == nil {
		return TPM_RC_SCHEME.Param(2)
	}
	if rc := checkExtensions(p.extensions, &o.pub); rc != TPM_RC_SUCCESS {
		return rc.Param(3)
	}
	added, tbs, ok := t.completeCert(o, key, &scheme, &p)
	if !ok {
		return TPM_RC_KEY.Handle(1)
	}
	digest := t.hash.Sum(scheme.Hash, nil, tbs)
	if key != nil && !t.fitsSignature(key, len(added)+2+len(digest)) {
		return TPM_RC_SIZE.Param(3)
	}
	sig, rc := t.sign(key, &scheme, digest)
	if rc != TPM_RC_SUCCESS {
		return signPosition(rc, 2, 2)
	}
	c.out.b2(added)
	c.out.b2(digest)
	c.out.signature(&sig)
	return TPM_RC_SUCCESS
}

// completeCert makes what is missing of a TBSCertificate (RFC 5280 section 4.1) and
// puts it together. ok is false if the public key cannot be expressed.
func (t *TPM) completeCert(o, key *object, s *TPMT_SCHEME, p *partialCert) (added, tbs []byte, ok bool) {
	var version, alg, spki cryptobyte.Builder
	version.AddASN1(asn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { b.AddASN1Int64(2) })
	var serial [16]byte
	t.random(serial[:])
	serial[0] = serial[0]&0x7f | 0x40 // positive, and of one length
	derUint(&version, serial[:])
	if len(p.alg) == 0 {
		derSignature(&alg, s, saltLength(key, s.Hash))
	}
	if !derPublicKey(&spki, o) {
		return nil, nil, false
	}
	head, own, pub := version.BytesOrPanic(), alg.BytesOrPanic(), spki.BytesOrPanic()
	added = derList(head, own, pub)
	tbs = derList(head, own, p.alg, p.issuer, p.validity, p.subject, pub, p.extensions)
	return added, tbs, true
}

// saltLength is that of the PSS signatures that we make: the digest size, or what fits.
func saltLength(key *object, h AlgID) int {
	n := h.DigestSize()
	if key != nil && key.pub.Type == TPM_ALG_RSA {
		n = min(n, (int(key.pub.KeyBits)-1+7)/8-h.DigestSize()-2)
	}
	return max(n, 0)
}

// derList is a SEQUENCE of elements that are DER already.
func derList(elements ...[]byte) []byte {
	var b cryptobyte.Builder
	derSequence(&b, func(b *cryptobyte.Builder) {
		for _, e := range elements {
			b.AddBytes(e)
		}
	})
	return b.BytesOrPanic()
}
