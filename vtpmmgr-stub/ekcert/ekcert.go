// Package ekcert writes the X.509 certificates that the manager issues: its own
// CA certificate, and one for each endorsement key of a vTPM, after the TCG EK
// Credential Profile for TPM Family 2.0, version 2.5 (EKP).
//
// It writes DER with cryptobyte and parses nothing. crypto/x509 would do more
// than an image needs; the tests read the results with it.
package ekcert

import (
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"xenvtpm/drivers/tpmid"
)

// Signer signs a SHA-256 digest with the CA's P-256 key and returns ECDSA's
// ASN.1 form.
type Signer func(digest [32]byte) ([]byte, error)

// CA is what the manager's certificates have in common.
type CA struct {
	Name  string // common name
	Point []byte // public key, 65 bytes uncompressed P-256
	Since time.Time
	Sign  Signer
}

// EK describes an endorsement key.
type EK struct {
	SPKI   []byte // SubjectPublicKeyInfo (SPKIOfECC, SPKIOfRSA)
	RSA    bool   // key usage: keyEncipherment, else keyAgreement
	URI    string // urn:uuid:... of the vTPM
	Serial [16]byte
	// Revision of the TPM 2.0 Library that the TPM says it follows, 159 for 1.59.
	Revision uint32
}

var (
	oidECDSASHA256   = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidECPublicKey   = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidRSAEncryption = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidCN            = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidSDA           = asn1.ObjectIdentifier{2, 5, 29, 9}
	oidSKI           = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSAN           = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidBasic         = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidAKI           = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidEKU           = asn1.ObjectIdentifier{2, 5, 29, 37}
	// TCG: EKP 3.1.2, 3.2.
	oidTPMManufacturer = asn1.ObjectIdentifier{2, 23, 133, 2, 1}
	oidTPMModel        = asn1.ObjectIdentifier{2, 23, 133, 2, 2}
	oidTPMVersion      = asn1.ObjectIdentifier{2, 23, 133, 2, 3}
	oidTPMSpec         = asn1.ObjectIdentifier{2, 23, 133, 2, 16}
	oidEKCertificate   = asn1.ObjectIdentifier{2, 23, 133, 8, 1}

	curves = map[int]asn1.ObjectIdentifier{256: {1, 2, 840, 10045, 3, 1, 7}, 384: {1, 3, 132, 0, 34}, 521: {1, 3, 132, 0, 35}}
)

// SPKIOfECC encodes a public key on P-256, P-384 or P-521 (bits), nil for others.
func SPKIOfECC(bits int, point []byte) []byte {
	oid, ok := curves[bits]
	if !ok {
		return nil
	}
	return spki(func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidECPublicKey)
		b.AddASN1ObjectIdentifier(oid)
	}, point)
}

// SPKIOfRSA encodes an RSA public key.
func SPKIOfRSA(modulus []byte, exponent uint32) []byte {
	var key cryptobyte.Builder
	key.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addUint(b, modulus)
		addUint(b, binary.BigEndian.AppendUint32(nil, exponent))
	})
	return spki(func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidRSAEncryption)
		b.AddASN1NULL()
	}, key.BytesOrPanic())
}

func spki(alg cryptobyte.BuilderContinuation, key []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, alg)
		b.AddASN1BitString(key)
	})
	return b.BytesOrPanic()
}

// addUint adds a non-negative INTEGER of big-endian bytes.
func addUint(b *cryptobyte.Builder, v []byte) {
	for len(v) > 1 && v[0] == 0 {
		v = v[1:]
	}
	b.AddASN1(cbasn1.INTEGER, func(b *cryptobyte.Builder) {
		if v[0]&0x80 != 0 {
			b.AddUint8(0)
		}
		b.AddBytes(v)
	})
}

func (ca *CA) spki() []byte { return SPKIOfECC(256, ca.Point) }

// keyID is RFC 7093, method 1.
func (ca *CA) keyID() []byte {
	d := sha256.Sum256(ca.Point)
	return d[:20]
}

// SelfSigned issues the CA's own certificate.
func (ca *CA) SelfSigned() ([]byte, error) {
	serial := sha256.Sum256(append([]byte("CA serial"), ca.Point...))
	return ca.issue(serial[:16], ca.name, ca.spki(), func(b *cryptobyte.Builder) {
		extension(b, oidBasic, true, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Boolean(true)
				b.AddASN1Int64(0)
			})
		})
		keyUsage(b, 1, 0x06) // keyCertSign, cRLSign
		extension(b, oidSKI, false, func(b *cryptobyte.Builder) { b.AddASN1OctetString(ca.keyID()) })
	})
}

// Certify issues an EK certificate. Its subject is empty, as EKP 3.2 allows; who
// it is stands in the alternative name.
func (ca *CA) Certify(ek EK) ([]byte, error) {
	empty := func(b *cryptobyte.Builder) { b.AddASN1(cbasn1.SEQUENCE, func(*cryptobyte.Builder) {}) }
	return ca.issue(ek.Serial[:], empty, ek.SPKI, func(b *cryptobyte.Builder) {
		extension(b, oidSAN, true, func(b *cryptobyte.Builder) { ek.altName(b) })
		extension(b, oidBasic, true, func(b *cryptobyte.Builder) { b.AddASN1(cbasn1.SEQUENCE, func(*cryptobyte.Builder) {}) })
		if ek.RSA {
			keyUsage(b, 5, 0x20) // keyEncipherment
		} else {
			keyUsage(b, 3, 0x08) // keyAgreement
		}
		extension(b, oidEKU, false, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidEKCertificate) })
		})
		extension(b, oidAKI, false, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(ca.keyID()) })
			})
		})
		extension(b, oidSDA, false, ek.tpmSpecification)
	})
}

// altName: directoryName with the TPM's make (EKP 3.1.2), and the vTPM's uuid.
func (ek *EK) altName(b *cryptobyte.Builder) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.Tag(4).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				attribute(b, oidTPMManufacturer, tpmid.CertManufacturer())
				attribute(b, oidTPMModel, tpmid.Model)
				attribute(b, oidTPMVersion, tpmid.CertVersion())
			})
		})
		b.AddASN1(cbasn1.Tag(6).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(ek.URI)) })
	})
}

// tpmSpecification: family 2.0, level 0, and the revision (EKP 3.1.3).
func (ek *EK) tpmSpecification(b *cryptobyte.Builder) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidTPMSpec)
			b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(cbasn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte("2.0")) })
					b.AddASN1Int64(0)
					b.AddASN1Int64(int64(ek.Revision))
				})
			})
		})
	})
}

func attribute(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, value string) {
	b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oid)
			b.AddASN1(cbasn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(value)) })
		})
	})
}

func (ca *CA) name(b *cryptobyte.Builder) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { attribute(b, oidCN, ca.Name) })
}

func extension(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, critical bool, value cryptobyte.BuilderContinuation) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		if critical {
			b.AddASN1Boolean(true)
		}
		b.AddASN1(cbasn1.OCTET_STRING, value)
	})
}

// keyUsage: unused counts the zero bits at the end of bits.
func keyUsage(b *cryptobyte.Builder, unused, bits uint8) {
	extension(b, oidKeyUsage, true, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.BIT_STRING, func(b *cryptobyte.Builder) {
			b.AddUint8(unused)
			b.AddUint8(bits)
		})
	})
}

// issue writes a certificate: RFC 5280 4.1, without end (4.1.2.5).
func (ca *CA) issue(serial []byte, subject cryptobyte.BuilderContinuation, spki []byte, extensions cryptobyte.BuilderContinuation) ([]byte, error) {
	if len(spki) == 0 {
		return nil, fmt.Errorf("ekcert: no public key that X.509 has an encoding for")
	}
	algorithm := func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidECDSASHA256) }
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { b.AddASN1Int64(2) })
		addUint(b, append([]byte{serial[0]&0x3F | 0x40}, serial[1:]...)) // positive, of fixed length
		b.AddASN1(cbasn1.SEQUENCE, algorithm)
		ca.name(b)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1UTCTime(ca.Since.UTC()) // before 2050
			b.AddASN1GeneralizedTime(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))
		})
		subject(b)
		b.AddBytes(spki)
		b.AddASN1(cbasn1.Tag(3).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { b.AddASN1(cbasn1.SEQUENCE, extensions) })
	})
	tbs, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	sig, err := ca.Sign(sha256.Sum256(tbs))
	if err != nil {
		return nil, err
	}
	var out cryptobyte.Builder
	out.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddASN1(cbasn1.SEQUENCE, algorithm)
		b.AddASN1BitString(sig)
	})
	return out.Bytes()
}
