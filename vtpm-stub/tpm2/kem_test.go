package tpm2

import (
	"bytes"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// TestDHKEMVector is RFC 9180 section A.3.1: DHKEM(P-256, HKDF-SHA256).
func TestDHKEMVector(t *testing.T) {
	pub := kemTemplate(TPM_ECC_NIST_P256, TPM_ALG_SHA256)
	recipient, err := tpmcrypto.NewECCPrivateKey(pub.Curve, hx("f3ce7fdae57e1a310d87f1ebbde6f328be0a99cdbcadf4d6589cf29de4b8ffd2"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := tpmcrypto.NewECCPrivateKey(pub.Curve, hx("4995788ef4b9d6132b249ce59a77281493eb39af373d236a1fe415cb0c2d7beb"))
	if err != nil {
		t.Fatal(err)
	}
	enc := serializePoint(e.Public().Point())
	if want := hx("04a92719c6195d5085104f469a8b9814d5838ff72b60501e2c4466e5e67b325ac98536d7b61a1af4b78e5b7f951c0900be863c403ce65c9bfcb9382657222d18c4"); !bytes.Equal(enc, want) {
		t.Fatalf("enc %x", enc)
	}
	z, err := recipient.ECDH(e.Public().Point())
	if err != nil {
		t.Fatal(err)
	}
	got, err := sharedSecret(&pub, z, enc, serializePoint(recipient.Public().Point()))
	if want := hx("c0d26aeab536609a572b07695d933b589dcf363ff9d93c93adea537aeabb8cb8"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("shared_secret %x, want %x (%v)", got, want, err)
	}
}

func kemTemplate(curve ECCCurve, h AlgID) TPMT_PUBLIC {
	p := eccSigner(attrsDecrypt, curve, scheme(TPM_ALG_ECDH, h))
	p.KDF = scheme(TPM_ALG_HKDF, h)
	return p
}

func TestEncapsulate(t *testing.T) {
	x := newTestTPM(t)
	for curve, h := range map[ECCCurve]AlgID{TPM_ECC_NIST_P256: TPM_ALG_SHA256, TPM_ECC_NIST_P384: TPM_ALG_SHA384, TPM_ECC_NIST_P521: TPM_ALG_SHA512} {
		key := x.createPrimaryKey(TPM_RH_OWNER, "", kemTemplate(curve, h)).handle
		r := x.ok(x.cmd(TPM_CC_Encapsulate, handles(key))).reader()
		secret, enc := bytes.Clone(r.b2(64)), bytes.Clone(r.b2(maxKEMCiphertext))
		if r.end() != TPM_RC_SUCCESS || len(secret) != h.DigestSize() {
			t.Errorf("%x: %v, secret of %d octets", curve, r.end(), len(secret))
		}
		dec := func(h Handle, enc []byte) response { return x.cmdS(TPM_CC_Decapsulate, handles(h), pw(""), b2(enc)) }
		if got := x.ok(dec(key, enc)).reader().b2(64); !bytes.Equal(got, secret) {
			t.Errorf("%x: the secrets differ", curve)
		}
		ecdh := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsDecrypt, curve, scheme(TPM_ALG_ECDH, h))).handle
		storage := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage)).handle
		x.unchanged(func() {
			x.want(x.cmd(TPM_CC_Encapsulate, handles(ecdh)), TPM_RC_KEY.Handle(1))
			x.want(dec(ecdh, enc), TPM_RC_KEY.Handle(1))
			x.want(dec(storage, enc), TPM_RC_ATTRIBUTES.Handle(1))
			x.want(dec(key, enc[1:]), TPM_RC_SIZE.Param(1))
			x.want(dec(key, nil), TPM_RC_SIZE.Param(1))
			x.want(dec(key, flip(enc, 0)), TPM_RC_ECC_POINT.Param(1))
			x.want(dec(key, flip(enc, len(enc)-1)), TPM_RC_ECC_POINT.Param(1))
			x.want(dec(key, make([]byte, maxKEMCiphertext+1)), TPM_RC_SIZE.Param(1))
		})
		for _, h := range []Handle{key, ecdh, storage} {
			x.flushObject(h)
		}
	}
}

// TestKEMTemplates: a KDF is for unrestricted ECDH decryption keys of a suite that exists.
func TestKEMTemplates(t *testing.T) {
	x := newTestTPM(t)
	for name, change := range map[string]func(p *TPMT_PUBLIC){
		"other KDF":    func(p *TPMT_PUBLIC) { p.KDF.Scheme = TPM_ALG_KDF2 },
		"other hash":   func(p *TPMT_PUBLIC) { p.KDF.Hash = TPM_ALG_SHA384 },
		"other curve":  func(p *TPMT_PUBLIC) { p.Curve = TPM_ECC_SM2_P256 },
		"null scheme":  func(p *TPMT_PUBLIC) { p.Scheme = nullScheme },
		"signing too":  func(p *TPMT_PUBLIC) { p.Attributes |= objSign; p.Scheme = nullScheme },
		"ECMQV scheme": func(p *TPMT_PUBLIC) { p.Scheme.Scheme = TPM_ALG_ECMQV },
	} {
		p := kemTemplate(TPM_ECC_NIST_P256, TPM_ALG_SHA256)
		change(&p)
		x.unchanged(func() {
			if r := x.cmdS(TPM_CC_CreatePrimary, handles(TPM_RH_OWNER), pw(""), createParams("", nil, p)); r.rc != TPM_RC_KDF.Param(2) {
				t.Errorf("%s: %v", name, r.rc)
			}
		})
	}
}
