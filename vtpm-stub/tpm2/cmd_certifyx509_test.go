package tpm2

import (
	"crypto/x509"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

func der(tag asn1.Tag, parts ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) {
		for _, p := range parts {
			b.AddBytes(p)
		}
	})
	return b.BytesOrPanic()
}

// certExt is an Extension with a BIT STRING.
func certExt(oid []byte, unused byte, bits ...byte) []byte {
	v := der(asn1.OCTET_STRING, der(asn1.BIT_STRING, append([]byte{unused}, bits...)))
	return der(asn1.SEQUENCE, der(asn1.OBJECT_IDENTIFIER, oid), der(asn1.BOOLEAN, []byte{0xff}), v)
}

func certExts(exts ...[]byte) []byte { return der(extensionsTag, der(asn1.SEQUENCE, exts...)) }

// usage octets: bit 0 is the top one.
const (
	useSign        = 0x80
	useContent     = 0x40
	useKeyEncipher = 0x20
	useAgreement   = 0x08
)

func partial(exts []byte, alg ...[]byte) []byte {
	name := func(cn string) []byte {
		var b cryptobyte.Builder
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.OBJECT_IDENTIFIER, func(b *cryptobyte.Builder) { b.AddBytes([]byte{0x55, 4, 3}) })
					b.AddASN1(asn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(cn)) })
				})
			})
		})
		return b.BytesOrPanic()
	}
	var v cryptobyte.Builder
	v.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1UTCTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		b.AddASN1UTCTime(time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC))
	})
	parts := append(alg, name("issuer"), v.BytesOrPanic(), name("subject"), exts)
	return der(asn1.SEQUENCE, parts...)
}

// assemble puts a certificate together as a client does, from what it gave and what it got.
func assemble(t *testing.T, given, added []byte, sig TPMT_SIGNATURE) []byte {
	t.Helper()
	split := func(in []byte) (list [][]byte) {
		s := cryptobyte.String(in)
		var seq cryptobyte.String
		if !s.ReadASN1(&seq, asn1.SEQUENCE) || !s.Empty() {
			t.Fatal("not a SEQUENCE")
		}
		for !seq.Empty() {
			var e cryptobyte.String
			var tag asn1.Tag
			if !seq.ReadAnyASN1Element(&e, &tag) {
				t.Fatal("not DER")
			}
			list = append(list, e)
		}
		return list
	}
	g, a := split(given), split(added)
	alg := g[0]
	if len(g) == 4 {
		alg, a, g = a[2], [][]byte{a[0], a[1], a[3]}, append([][]byte{nil}, g...)
	}
	tbs := der(asn1.SEQUENCE, a[0], a[1], alg, g[1], g[2], g[3], a[2], g[4])
	value := sig.R
	if sig.S != nil {
		var b cryptobyte.Builder
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { derUint(b, sig.R); derUint(b, sig.S) })
		value = b.BytesOrPanic()
	}
	return der(asn1.SEQUENCE, tbs, alg, der(asn1.BIT_STRING, []byte{0}, value))
}

func (x *testTPM) certifyX509(o, key Handle, s TPMT_SCHEME, given []byte) response {
	return x.cmdS(TPM_CC_CertifyX509, handles(o, key), pw("", ""), b2(nil), schemeBytes(s), b2(given))
}

// TestCertifyX509 has crypto/x509 check certificates of every kind of key and scheme.
func TestCertifyX509(t *testing.T) {
	x := newTestTPM(t, withRSA1024)
	o := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsSign, TPM_ECC_NIST_P384, nullScheme)).handle
	rsaSubject := x.createPrimaryKey(TPM_RH_OWNER, "", rsa1024(attrsSign, nullScheme)).handle
	tpma := certExt(oidTPMAObject, 0, u32(uint32(attrsSign))...)
	for name, c := range map[string]struct {
		pub TPMT_PUBLIC
		s   TPMT_SCHEME
		alg x509.SignatureAlgorithm
		obj Handle
	}{
		"ECDSA":           {eccSigner(attrsSign|objX509Sign, TPM_ECC_NIST_P256, scheme(TPM_ALG_ECDSA, TPM_ALG_SHA256)), nullScheme, x509.ECDSAWithSHA256, o},
		"ECDSA SHA-384":   {eccTemplate(attrsSign), scheme(TPM_ALG_ECDSA, TPM_ALG_SHA384), x509.ECDSAWithSHA384, rsaSubject},
		"ECDSA P-521":     {eccSigner(attrsSign, TPM_ECC_NIST_P521, nullScheme), scheme(TPM_ALG_ECDSA, TPM_ALG_SHA512), x509.ECDSAWithSHA512, o},
		"RSASSA":          {rsa1024(attrsSign, nullScheme), scheme(TPM_ALG_RSASSA, TPM_ALG_SHA256), x509.SHA256WithRSA, o},
		"RSASSA SHA-512":  {rsa1024(attrsSign, nullScheme), scheme(TPM_ALG_RSASSA, TPM_ALG_SHA512), x509.SHA512WithRSA, o},
		"RSAPSS":          {rsa1024(attrsSign, nullScheme), scheme(TPM_ALG_RSAPSS, TPM_ALG_SHA256), x509.SHA256WithRSAPSS, rsaSubject},
		"RSAPSS SHA-384":  {rsa1024(attrsSign, nullScheme), scheme(TPM_ALG_RSAPSS, TPM_ALG_SHA384), x509.SHA384WithRSAPSS, o},
		"algorithm given": {eccTemplate(attrsSign), scheme(TPM_ALG_ECDSA, TPM_ALG_SHA256), x509.ECDSAWithSHA256, o},
	} {
		t.Run(name, func(t *testing.T) {
			key := x.createPrimaryKey(TPM_RH_OWNER, "", c.pub).handle
			defer x.flushObject(key)
			given := partial(certExts(certExt(oidKeyUsage, 6, useSign|useContent), tpma))
			if name == "algorithm given" {
				given = partial(certExts(certExt(oidKeyUsage, 6, useSign|useContent), tpma),
					der(asn1.SEQUENCE, der(asn1.OBJECT_IDENTIFIER, oidECDSA(3, 2))))
			}
			r := x.ok(x.certifyX509(c.obj, key, c.s, given)).reader()
			added, digest := r.maxBuffer(), r.digest()
			sig := r.signature(false)
			if r.end() != TPM_RC_SUCCESS {
				t.Fatal(r.end())
			}
			cert, err := x509.ParseCertificate(assemble(t, given, added, sig))
			if err != nil {
				t.Fatal(err)
			}
			if cert.SignatureAlgorithm != c.alg || cert.Subject.CommonName != "subject" || cert.Issuer.CommonName != "issuer" {
				t.Errorf("%v, subject %v, issuer %v", cert.SignatureAlgorithm, cert.Subject, cert.Issuer)
			}
			if cert.KeyUsage != x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment {
				t.Errorf("key usage %b", cert.KeyUsage)
			}
			parent := x509.Certificate{PublicKey: x.goPublic(key), PublicKeyAlgorithm: x509.ECDSA}
			if c.pub.Type == TPM_ALG_RSA {
				parent.PublicKeyAlgorithm = x509.RSA
			}
			// A 1024-bit key is too small for CheckSignature; the TPM's own verification
			// does, and that has its own tests.
			if c.pub.Type == TPM_ALG_ECC {
				if err := parent.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
					t.Error(err)
				}
			}
			if want := x.hash.Sum(sig.Hash, nil, cert.RawTBSCertificate); string(want) != string(digest) {
				t.Error("tbsDigest is not that of the TBSCertificate")
			}
			x.ok(x.verifySig(key, digest, sig))
			if !samePublic(cert.PublicKey, x.goPublic(c.obj)) {
				t.Error("the certified key is another")
			}
		})
	}
}

// TestCertifyX509Errors has the rows of the error table.
func TestCertifyX509Errors(t *testing.T) {
	x := newTestTPM(t)
	ecdsa := scheme(TPM_ALG_ECDSA, TPM_ALG_SHA256)
	o := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	store := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage)).handle
	mac := x.keyWith(hmacTemplate(TPM_ALG_SHA256), []byte("key"))
	bn := x.createPrimaryKey(TPM_RH_OWNER, "", eccSigner(attrsSign, TPM_ECC_BN_P256, nullScheme)).handle
	use := func(b byte) []byte { return certExt(oidKeyUsage, 0, b) }
	good := partial(certExts(use(useSign)))
	x.ok(x.certifyX509(o, o, ecdsa, good))
	x.ok(x.certifyX509(store, o, ecdsa, partial(certExts(use(useKeyEncipher|useAgreement)))))
	elements := func(n int) []byte {
		var l [][]byte
		for range n {
			l = append(l, der(asn1.SEQUENCE))
		}
		return der(asn1.SEQUENCE, append(l, certExts(use(useSign)))...)
	}
	for name, c := range map[string]struct {
		o, key Handle
		s      TPMT_SCHEME
		given  []byte
		rc     RC
	}{
		"HMAC key":             {o, mac, nullScheme, good, TPM_RC_KEY.Handle(2)},
		"storage key signs":    {o, store, ecdsa, good, TPM_RC_KEY.Handle(2)},
		"HMAC key certified":   {mac, o, ecdsa, good, TPM_RC_KEY.Handle(1)},
		"curve without OID":    {bn, o, ecdsa, good, TPM_RC_KEY.Handle(1)},
		"no scheme":            {o, o, nullScheme, good, TPM_RC_SCHEME.Param(2)},
		"scheme without OID":   {o, o, scheme(TPM_ALG_ECSCHNORR, TPM_ALG_SHA256), good, TPM_RC_SCHEME.Param(2)},
		"null key, no scheme":  {o, TPM_RH_NULL, nullScheme, good, TPM_RC_SCHEME.Param(2)},
		"empty":                {o, o, ecdsa, nil, TPM_RC_VALUE.Param(3)},
		"trailing":             {o, o, ecdsa, append(good[:len(good):len(good)], 0), TPM_RC_VALUE.Param(3)},
		"cut":                  {o, o, ecdsa, good[:len(good)-1], TPM_RC_VALUE.Param(3)},
		"three elements":       {o, o, ecdsa, elements(2), TPM_RC_VALUE.Param(3)},
		"six elements":         {o, o, ecdsa, elements(5), TPM_RC_VALUE.Param(3)},
		"no extensions":        {o, o, ecdsa, der(asn1.SEQUENCE, der(asn1.SEQUENCE), der(asn1.SEQUENCE), der(asn1.SEQUENCE), der(asn1.SEQUENCE)), TPM_RC_VALUE.Param(3)},
		"no key usage":         {o, o, ecdsa, partial(certExts(certExt(oidTPMAObject, 0, u32(uint32(attrsSign))...))), TPM_RC_VALUE.Param(3)},
		"key usage twice":      {o, o, ecdsa, partial(certExts(use(useSign), use(useSign))), TPM_RC_VALUE.Param(3)},
		"key usage empty":      {o, o, ecdsa, partial(certExts(certExt(oidKeyUsage, 0))), TPM_RC_VALUE.Param(3)},
		"unused bits set":      {o, o, ecdsa, partial(certExts(certExt(oidKeyUsage, 7, 0xC0))), TPM_RC_VALUE.Param(3)},
		"signs, cannot":        {store, o, ecdsa, good, TPM_RC_ATTRIBUTES.Param(3)},
		"encipherment, cannot": {o, o, ecdsa, partial(certExts(use(useKeyEncipher))), TPM_RC_ATTRIBUTES.Param(3)},
		"agreement, cannot":    {o, o, ecdsa, partial(certExts(use(useAgreement))), TPM_RC_ATTRIBUTES.Param(3)},
		"decipher only":        {o, o, ecdsa, partial(certExts(certExt(oidKeyUsage, 7, useSign, 0x80))), TPM_RC_ATTRIBUTES.Param(3)},
		"other TPMA_OBJECT":    {o, o, ecdsa, partial(certExts(use(useSign), certExt(oidTPMAObject, 0, u32(uint32(attrsSign|objNoDA))...))), TPM_RC_ATTRIBUTES.Param(3)},
	} {
		x.unchanged(func() {
			if r := x.certifyX509(c.o, c.key, c.s, c.given); r.rc != c.rc {
				t.Errorf("%s: %v, want %v", name, r.rc, c.rc)
			}
		})
	}
	r := x.cmdS(TPM_CC_CertifyX509, handles(o, o), pw("", ""), b2([]byte{1}), schemeBytes(ecdsa), b2(good))
	x.want(r, TPM_RC_SIZE.Param(1))
	in := x.ok(x.certifyX509(o, TPM_RH_NULL, ecdsa, good)).reader()
	in.maxBuffer()
	in.digest()
	if sig := in.signature(true); sig.Alg != TPM_ALG_NULL || in.end() != TPM_RC_SUCCESS {
		t.Errorf("signature of TPM_RH_NULL: %+v", sig)
	}
}

// FuzzPartialCert feeds the DER parser.
func FuzzPartialCert(f *testing.F) {
	good := partial(certExts(certExt(oidKeyUsage, 0, useSign)))
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(partial(certExts(certExt(oidTPMAObject, 0, 1, 2, 3, 4)), der(asn1.SEQUENCE)))
	pub := eccTemplate(attrsSign)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parsePartial(b)
		if !ok {
			return
		}
		if checkExtensions(p.extensions, &pub) == TPM_RC_SUCCESS {
			if len(p.issuer) == 0 || len(p.validity) == 0 || len(p.subject) == 0 {
				t.Error("an element is missing")
			}
		}
	})
}
