package tpm2

import (
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers of X.509, without tag and length.
var (
	oidKeyUsage   = []byte{0x55, 0x1d, 0x0f}                            // 2.5.29.15
	oidTPMAObject = []byte{0x67, 0x81, 0x05, 0x0a, 0x01, 0x01, 0x01}    // 2.23.133.10.1.1.1
	oidECKey      = []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1}          // 1.2.840.10045.2.1
	oidP192       = []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 1}       // 1.2.840.10045.3.1.1
	oidP256       = []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}       // 1.2.840.10045.3.1.7
	oidSM2        = []byte{0x2a, 0x81, 0x1c, 0xcf, 0x55, 1, 0x82, 0x2d} // 1.2.156.10197.1.301
)

// oidPKCS1 is 1.2.840.113549.1.1.n.
func oidPKCS1(n byte) []byte { return []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, n} }

const (
	pkcs1RSA    = 1
	pkcs1MGF1   = 8
	pkcs1RSAPSS = 10
)

// oidNIST is 2.16.840.1.101.3.4.arc.n.
func oidNIST(arc, n byte) []byte { return []byte{0x60, 0x86, 0x48, 1, 0x65, 3, 4, arc, n} }

// oidECDSA is 1.2.840.10045.4 with the given arcs below it.
func oidECDSA(arcs ...byte) []byte { return append([]byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 4}, arcs...) }

// oidCerticom is 1.3.132.0.n.
func oidCerticom(n byte) []byte { return []byte{0x2b, 0x81, 4, 0, n} }

// hashOID returns the identifier of a hash.
func hashOID(h AlgID) []byte {
	switch h {
	case TPM_ALG_SHA1:
		return []byte{0x2b, 0x0e, 0x03, 0x02, 0x1a}
	case TPM_ALG_SHA256:
		return oidNIST(2, 1)
	case TPM_ALG_SHA384:
		return oidNIST(2, 2)
	case TPM_ALG_SHA512:
		return oidNIST(2, 3)
	case TPM_ALG_SHA3_256:
		return oidNIST(2, 8)
	case TPM_ALG_SHA3_384:
		return oidNIST(2, 9)
	case TPM_ALG_SHA3_512:
		return oidNIST(2, 10)
	}
	return nil
}

// signatureOID returns the identifier of a scheme with its hash, nil if there is none.
func signatureOID(s *TPMT_SCHEME) []byte {
	type row struct{ pkcs1, ecdsa []byte }
	rows := map[AlgID]row{
		TPM_ALG_SHA1:     {oidPKCS1(5), oidECDSA(1)},
		TPM_ALG_SHA256:   {oidPKCS1(11), oidECDSA(3, 2)},
		TPM_ALG_SHA384:   {oidPKCS1(12), oidECDSA(3, 3)},
		TPM_ALG_SHA512:   {oidPKCS1(13), oidECDSA(3, 4)},
		TPM_ALG_SHA3_256: {oidNIST(3, 14), oidNIST(3, 10)},
		TPM_ALG_SHA3_384: {oidNIST(3, 15), oidNIST(3, 11)},
		TPM_ALG_SHA3_512: {oidNIST(3, 16), oidNIST(3, 12)},
	}
	switch s.Scheme {
	case TPM_ALG_RSASSA:
		return rows[s.Hash].pkcs1
	case TPM_ALG_RSAPSS:
		return oidPKCS1(pkcs1RSAPSS)
	case TPM_ALG_ECDSA:
		return rows[s.Hash].ecdsa
	}
	return nil
}

func curveOID(c ECCCurve) []byte {
	switch c {
	case TPM_ECC_NIST_P192:
		return oidP192
	case TPM_ECC_NIST_P224:
		return oidCerticom(33)
	case TPM_ECC_NIST_P256:
		return oidP256
	case TPM_ECC_NIST_P384:
		return oidCerticom(34)
	case TPM_ECC_NIST_P521:
		return oidCerticom(35)
	case TPM_ECC_SM2_P256:
		return oidSM2
	}
	return nil
}

// derSequence appends a SEQUENCE.
func derSequence(b *cryptobyte.Builder, f func(b *cryptobyte.Builder)) {
	b.AddASN1(asn1.SEQUENCE, f)
}

func derOID(b *cryptobyte.Builder, oid []byte) {
	b.AddASN1(asn1.OBJECT_IDENTIFIER, func(b *cryptobyte.Builder) { b.AddBytes(oid) })
}

// derAlgorithm appends an AlgorithmIdentifier whose parameters are NULL.
func derAlgorithm(b *cryptobyte.Builder, oid []byte) {
	derSequence(b, func(b *cryptobyte.Builder) {
		derOID(b, oid)
		b.AddASN1NULL()
	})
}

// derSignature appends the AlgorithmIdentifier of a scheme that has one. salt is the
// length of the salt of PSS.
func derSignature(b *cryptobyte.Builder, s *TPMT_SCHEME, salt int) {
	oid := signatureOID(s)
	switch s.Scheme {
	case TPM_ALG_RSASSA:
		derAlgorithm(b, oid)
	case TPM_ALG_ECDSA:
		derSequence(b, func(b *cryptobyte.Builder) { derOID(b, oid) }) // RFC 5758: no parameters
	default:
		derSequence(b, func(b *cryptobyte.Builder) {
			derOID(b, oid)
			derSequence(b, func(b *cryptobyte.Builder) { derPSS(b, s.Hash, salt) })
		})
	}
}

// derPSS appends the fields of RSASSA-PSS-params (RFC 8017 section A.2.3).
func derPSS(b *cryptobyte.Builder, h AlgID, salt int) {
	field := func(n uint8, f func(b *cryptobyte.Builder)) {
		b.AddASN1(asn1.Tag(n).ContextSpecific().Constructed(), f)
	}
	field(0, func(b *cryptobyte.Builder) { derAlgorithm(b, hashOID(h)) })
	field(1, func(b *cryptobyte.Builder) {
		derSequence(b, func(b *cryptobyte.Builder) {
			derOID(b, oidPKCS1(pkcs1MGF1))
			derAlgorithm(b, hashOID(h))
		})
	})
	field(2, func(b *cryptobyte.Builder) { b.AddASN1Int64(int64(salt)) })
}

// derPublicKey appends the SubjectPublicKeyInfo of an asymmetric key and reports whether its
// kind has one.
func derPublicKey(b *cryptobyte.Builder, o *object) bool {
	switch o.pub.Type {
	case TPM_ALG_RSA:
		k, rc := o.rsaPublic()
		if rc != TPM_RC_SUCCESS {
			return false
		}
		derSequence(b, func(b *cryptobyte.Builder) {
			derAlgorithm(b, oidPKCS1(pkcs1RSA))
			b.AddASN1(asn1.BIT_STRING, func(b *cryptobyte.Builder) {
				b.AddUint8(0)
				derSequence(b, func(b *cryptobyte.Builder) {
					derUint(b, k.Modulus())
					b.AddASN1Int64(int64(k.Exponent()))
				})
			})
		})
		return true
	case TPM_ALG_ECC:
		return derECKey(b, o)
	}
	return false
}

func derECKey(b *cryptobyte.Builder, o *object) bool {
	oid := curveOID(o.pub.Curve)
	k, rc := o.eccPublic()
	if oid == nil || rc != TPM_RC_SUCCESS {
		return false
	}
	q := k.Point()
	derSequence(b, func(b *cryptobyte.Builder) {
		derSequence(b, func(b *cryptobyte.Builder) {
			derOID(b, oidECKey)
			derOID(b, oid)
		})
		b.AddASN1(asn1.BIT_STRING, func(b *cryptobyte.Builder) {
			b.AddBytes([]byte{0, 4}) // no unused bits; an uncompressed point
			b.AddBytes(q.X)
			b.AddBytes(q.Y)
		})
	})
	return true
}

// derUint appends an INTEGER that is not negative.
func derUint(b *cryptobyte.Builder, v []byte) {
	for len(v) > 1 && v[0] == 0 {
		v = v[1:]
	}
	b.AddASN1(asn1.INTEGER, func(b *cryptobyte.Builder) {
		if v[0] >= 0x80 {
			b.AddUint8(0)
		}
		b.AddBytes(v)
	})
}

// partialCert is what TPM2_CertifyX509 is given: DER elements, alg empty if it was left out.
type partialCert struct {
	alg, issuer, validity, subject, extensions cryptobyte.String
}

// parsePartial takes a partial certificate apart; ok is false when it is malformed.
func parsePartial(der []byte) (p partialCert, ok bool) {
	in := cryptobyte.String(der)
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !in.Empty() {
		return p, false
	}
	var all []cryptobyte.String
	for !seq.Empty() {
		var e cryptobyte.String
		var tag asn1.Tag
		if !seq.ReadAnyASN1Element(&e, &tag) || len(all) == 5 {
			return p, false
		}
		if tag == extensionsTag != (seq.Empty()) || tag != asn1.SEQUENCE && tag != extensionsTag {
			return p, false // the last one, and only that
		}
		all = append(all, e)
	}
	if len(all) == 5 {
		p.alg, all = all[0], all[1:]
	}
	if len(all) != 4 {
		return p, false
	}
	p.issuer, p.validity, p.subject, p.extensions = all[0], all[1], all[2], all[3]
	return p, true
}

// extensionsTag is that of [3] Extensions.
var extensionsTag = asn1.Tag(3).ContextSpecific().Constructed()
