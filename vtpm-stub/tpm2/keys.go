package tpm2

import (
	"bytes"
	"errors"
	"io"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// checkPublic checks a public area that is created or loaded: attributes that
// exclude each other, scheme and symmetric algorithm against attributes, sizes
// (TPM20-P2 section 8.3, TPM20-P1 clause 25). parent is nil for primary and
// external objects; external skips the rules about the parent.
//
// Errors, without a parameter number: TPM_RC_ATTRIBUTES, _HASH, _KDF, _RANGE,
// _SCHEME, _SIZE, _SYMMETRIC.
func checkPublic(p *TPMT_PUBLIC, parent *object, external bool) RC {
	if p.NameAlg == TPM_ALG_NULL && !external {
		return TPM_RC_HASH
	}
	if rc := checkPolicySize(p); rc != TPM_RC_SUCCESS {
		return rc
	}
	if !external {
		if rc := checkParentAttributes(p.Attributes, parent); rc != TPM_RC_SUCCESS {
			return rc
		}
	}
	if rc := checkUse(p); rc != TPM_RC_SUCCESS {
		return rc
	}
	return checkParms(p, parent)
}

func checkPolicySize(p *TPMT_PUBLIC) RC {
	if n := len(p.AuthPolicy); n != 0 && n != p.NameAlg.DigestSize() {
		return TPM_RC_SIZE
	}
	return TPM_RC_SUCCESS
}

// checkParms is checkPublic without the attributes: all that holds for a public
// area alone, whose attributes are arbitrary (TPM20-P1 section 29.4).
func checkParms(p *TPMT_PUBLIC, parent *object) RC {
	if rc := checkSchemes(p); rc != TPM_RC_SUCCESS {
		return rc
	}
	if parent != nil && p.isStorage() && p.Attributes.has(objFixedParent) {
		return checkSameProtection(p, &parent.pub)
	}
	return TPM_RC_SUCCESS
}

// checkSameProtection: a storage key that cannot leave its parent protects its
// children as the parent does (TPM20-P3 section 12.1.1).
func checkSameProtection(p, parent *TPMT_PUBLIC) RC {
	switch {
	case p.NameAlg != parent.NameAlg:
		return TPM_RC_HASH
	case p.Sym != parent.Sym:
		return TPM_RC_SYMMETRIC
	}
	return TPM_RC_SUCCESS
}

// checkUse checks the attributes that say what a key is for.
func checkUse(p *TPMT_PUBLIC) RC {
	a := p.Attributes
	switch {
	case a&(objFirmwareLimited|objSVNLimited) != 0:
		return TPM_RC_ATTRIBUTES // no firmware-limited hierarchies here
	case a.has(objRestricted) && a.has(objSign) == a.has(objDecrypt):
		return TPM_RC_ATTRIBUTES
	case p.Type != TPM_ALG_KEYEDHASH && a&(objSign|objDecrypt) == 0:
		return TPM_RC_ATTRIBUTES
	case a.has(objX509Sign) && (!p.asymmetric() || !a.has(objSign) || a.has(objDecrypt)):
		return TPM_RC_ATTRIBUTES
	case p.Type == TPM_ALG_SYMCIPHER && a.has(objRestricted|objSign),
		p.isMLDSA() && a.has(objDecrypt), p.Type == TPM_ALG_MLKEM && a.has(objSign):
		return TPM_RC_ATTRIBUTES
	}
	return TPM_RC_SUCCESS
}

// checkParentAttributes is TPM20-P1 table "Allowed Hierarchy Settings". A
// permanent handle counts as a parent with fixedTPM SET.
func checkParentAttributes(a TPMA_OBJECT, parent *object) RC {
	fixed := parent == nil || parent.pub.Attributes.has(objFixedTPM)
	switch {
	case fixed && a.has(objFixedTPM) != a.has(objFixedParent):
		return TPM_RC_ATTRIBUTES
	case !fixed && a.has(objFixedTPM):
		return TPM_RC_ATTRIBUTES
	case a.has(objFixedTPM | objEncryptedDuplication):
		return TPM_RC_ATTRIBUTES
	case !fixed && a.has(objEncryptedDuplication) != parent.pub.Attributes.has(objEncryptedDuplication):
		return TPM_RC_ATTRIBUTES
	}
	return TPM_RC_SUCCESS
}

func checkSchemes(p *TPMT_PUBLIC) RC {
	switch p.Type {
	case TPM_ALG_KEYEDHASH:
		return checkKeyedHash(p)
	case TPM_ALG_SYMCIPHER:
		if p.isParent() && p.Sym.Mode != TPM_ALG_CFB && p.Sym.Mode != TPM_ALG_NULL {
			return TPM_RC_SYMMETRIC
		}
		return TPM_RC_SUCCESS
	}
	return checkAsymmetric(p)
}

// checkKeyedHash: HMAC keys sign, XOR obfuscation keys decrypt, the rest has
// the null scheme.
func checkKeyedHash(p *TPMT_PUBLIC) RC {
	a := p.Attributes
	want := AlgID(TPM_ALG_NULL)
	switch {
	case a.has(objSign) && !a.has(objDecrypt):
		want = TPM_ALG_HMAC
	case a.has(objDecrypt) && !a.has(objSign):
		want = TPM_ALG_XOR
	}
	if p.Scheme.Scheme != want && (p.Scheme.Scheme != TPM_ALG_NULL || a.has(objRestricted)) {
		return TPM_RC_SCHEME
	}
	if p.isDerivationParent() && p.Scheme.KDF != TPM_ALG_KDF1_SP800_108 {
		return TPM_RC_SCHEME
	}
	return TPM_RC_SUCCESS
}

func checkAsymmetric(p *TPMT_PUBLIC) RC {
	a := p.Attributes
	class := schemeClass(p.Scheme.Scheme)
	sign := a.has(objSign) && !a.has(objDecrypt)
	decrypt := a.has(objDecrypt) && !a.has(objSign)
	switch {
	case p.isML(): // the type is the scheme
	case class == schemeNull:
		if sign && a.has(objRestricted) {
			return TPM_RC_SCHEME
		}
	case class&(schemeRSASign|schemeECCSign) != 0 && !sign,
		class&(schemeRSAEnc|schemeECCKEX) != 0 && (!decrypt || a.has(objRestricted)):
		return TPM_RC_SCHEME
	}
	if p.isStorage() {
		if p.Sym.Algorithm == TPM_ALG_NULL || p.Sym.Mode != TPM_ALG_CFB {
			return TPM_RC_SYMMETRIC
		}
	} else if p.Sym.Algorithm != TPM_ALG_NULL {
		return TPM_RC_SYMMETRIC
	}
	if p.Type == TPM_ALG_ECC {
		if p.KDF.Scheme != TPM_ALG_NULL && !p.isKEM() {
			return TPM_RC_KDF
		}
		return TPM_RC_SUCCESS
	}
	if p.isML() {
		return TPM_RC_SUCCESS
	}
	if _, err := tpmcrypto.RSAExponent(p.Exponent); err != nil {
		return TPM_RC_RANGE
	}
	return TPM_RC_SUCCESS
}

// checkCreate checks what a new object is made of, beside checkPublic
// (TPM20-P3 section 12.1.1). Errors, without a parameter number:
// TPM_RC_ATTRIBUTES, TPM_RC_VALUE, TPM_RC_SIZE; see the caller for which
// parameter they are about.
func checkCreate(p *TPMT_PUBLIC, data []byte) (rc RC, param int) {
	origin := p.Attributes.has(objSensitiveDataOrigin)
	switch {
	case p.asymmetric() && len(data) != 0:
		return TPM_RC_VALUE, 1
	case origin != (len(data) == 0):
		return TPM_RC_ATTRIBUTES, 2
	case p.Type == TPM_ALG_KEYEDHASH && origin && p.Attributes&(objSign|objDecrypt) == 0:
		return TPM_RC_ATTRIBUTES, 2 // a data object without data
	case p.isDerivationParent() && !origin:
		return TPM_RC_ATTRIBUTES, 2
	case p.Type == TPM_ALG_SYMCIPHER && !origin && len(data) != int(p.Sym.KeyBits)/8,
		len(data) > maxHMACKey(p):
		return TPM_RC_SIZE, 1
	}
	return TPM_RC_SUCCESS, 0
}

// readKey fills a new symmetric key. That of a block cipher is read again until it is none
// that must not be used.
func readKey(src io.Reader, p *TPMT_PUBLIC, key []byte) error {
	for {
		if _, err := io.ReadFull(src, key); err != nil || p.Type != TPM_ALG_SYMCIPHER {
			return err
		}
		tpmcrypto.SetParity(p.Sym.Algorithm, key)
		if !tpmcrypto.WeakKey(p.Sym.Algorithm, key) {
			return nil
		}
	}
}

// generateSensitive makes the sensitive area of a new object and the unique
// field of p (TPM20-P1 section 27.7). Octets come from src; before the seed
// value reseed is called, if not nil. p must have passed checkPublic and
// checkCreate. Errors: TPM_RC_CANCELED, TPM_RC_NO_RESULT.
func (t *TPM) generateSensitive(p *TPMT_PUBLIC, in *TPMS_SENSITIVE_CREATE, src io.Reader, reseed func()) (*object, RC) {
	o := &object{private: true}
	s := &o.sens
	s.Type = p.Type
	s.Auth = append([]byte(nil), stripZeros(in.UserAuth)...)
	var err error
	switch p.Type {
	case TPM_ALG_RSA:
		err = t.generateRSA(o, p, src)
	case TPM_ALG_ECC:
		err = generateECC(o, p, src)
	case TPM_ALG_MLKEM, TPM_ALG_MLDSA, TPM_ALG_HASH_MLDSA:
		err = generateML(o, p, src)
	default:
		s.Sensitive = append([]byte(nil), in.Data...)
		if len(in.Data) == 0 {
			n := p.NameAlg.DigestSize()
			if p.Type == TPM_ALG_SYMCIPHER {
				n = int(p.Sym.KeyBits) / 8
			}
			s.Sensitive = make([]byte, n)
			err = readKey(src, p, s.Sensitive)
		}
	}
	if err != nil {
		return nil, generateRC(err)
	}
	if reseed != nil {
		reseed()
	}
	if !p.asymmetric() || p.isStorage() {
		s.Seed = make([]byte, p.NameAlg.DigestSize())
		if _, err := io.ReadFull(src, s.Seed); err != nil {
			return nil, generateRC(err)
		}
	}
	if !p.asymmetric() {
		p.Unique = t.hash.Sum(p.NameAlg, nil, s.Seed, s.Sensitive)
	}
	o.pub = p.clone()
	return o, TPM_RC_SUCCESS
}

func generateRC(err error) RC {
	if errors.Is(err, tpmcrypto.ErrCanceled) {
		return TPM_RC_CANCELED
	}
	return TPM_RC_NO_RESULT
}

func (t *TPM) generateRSA(o *object, p *TPMT_PUBLIC, src io.Reader) error {
	k, err := tpmcrypto.GenerateRSA(int(p.KeyBits), p.Exponent, src, t.cancelled)
	if err != nil {
		return err
	}
	p.Unique = k.Public().Modulus()
	o.sens.Sensitive = k.Prime()
	o.key = k
	return nil
}

func generateECC(o *object, p *TPMT_PUBLIC, src io.Reader) error {
	k, err := tpmcrypto.GenerateECC(p.Curve, src)
	if err != nil {
		return err
	}
	q := k.Public().Point()
	p.X, p.Y = q.X, q.Y
	o.sens.Sensitive = bytes.Clone(k.Private()) // which is wiped with the object; a persistent copy shares k
	o.key = k
	return nil
}

// rsaKey returns the private key of an RSA object. Errors: TPM_RC_KEY.
func (o *object) rsaKey() (*tpmcrypto.RSAPrivateKey, RC) {
	if k, ok := o.key.(*tpmcrypto.RSAPrivateKey); ok {
		return k, TPM_RC_SUCCESS
	}
	if o.pub.Type != TPM_ALG_RSA || !o.private {
		return nil, TPM_RC_KEY
	}
	k, err := tpmcrypto.NewRSAPrivateKey(o.pub.Unique, o.pub.Exponent, o.sens.Sensitive)
	if err != nil {
		return nil, TPM_RC_KEY
	}
	o.key = k
	return k, TPM_RC_SUCCESS
}

// rsaPublic returns the public key of an RSA object. Errors: TPM_RC_KEY.
func (o *object) rsaPublic() (*tpmcrypto.RSAPublicKey, RC) {
	if k, ok := o.key.(*tpmcrypto.RSAPrivateKey); ok {
		return k.Public(), TPM_RC_SUCCESS
	}
	if k, ok := o.publicKey.(*tpmcrypto.RSAPublicKey); ok {
		return k, TPM_RC_SUCCESS
	}
	if o.pub.Type != TPM_ALG_RSA {
		return nil, TPM_RC_KEY
	}
	k, err := tpmcrypto.NewRSAPublicKey(o.pub.Unique, o.pub.Exponent)
	if err != nil {
		return nil, TPM_RC_KEY
	}
	o.publicKey = k
	return k, TPM_RC_SUCCESS
}

// eccKey returns the private key of an ECC object. Errors: TPM_RC_KEY.
func (o *object) eccKey() (*tpmcrypto.ECCPrivateKey, RC) {
	if k, ok := o.key.(*tpmcrypto.ECCPrivateKey); ok {
		return k, TPM_RC_SUCCESS
	}
	if o.pub.Type != TPM_ALG_ECC || !o.private {
		return nil, TPM_RC_KEY
	}
	k, err := tpmcrypto.NewECCPrivateKey(o.pub.Curve, o.sens.Sensitive)
	if err != nil {
		return nil, TPM_RC_KEY
	}
	o.key = k
	return k, TPM_RC_SUCCESS
}

// eccPublic returns the public key of an ECC object. Errors: TPM_RC_KEY.
func (o *object) eccPublic() (*tpmcrypto.ECCPublicKey, RC) {
	if k, ok := o.key.(*tpmcrypto.ECCPrivateKey); ok {
		return k.Public(), TPM_RC_SUCCESS
	}
	if k, ok := o.publicKey.(*tpmcrypto.ECCPublicKey); ok {
		return k, TPM_RC_SUCCESS
	}
	if o.pub.Type != TPM_ALG_ECC {
		return nil, TPM_RC_KEY
	}
	k, err := tpmcrypto.NewECCPublicKey(o.pub.Curve, o.pub.X, o.pub.Y)
	if err != nil {
		return nil, TPM_RC_KEY
	}
	o.publicKey = k
	return k, TPM_RC_SUCCESS
}

// secretHash returns the hash of secret sharing with an RSA key: that of its
// OAEP scheme, or its nameAlg (TPM20-P1 section B.10.1).
func (o *object) secretHash() AlgID {
	if o.pub.Type == TPM_ALG_RSA && o.pub.Scheme.Scheme == TPM_ALG_OAEP {
		return o.pub.Scheme.Hash
	}
	return o.pub.NameAlg
}

// recoverSecret decrypts a TPM2B_ENCRYPTED_SECRET for an asymmetric key with
// its private part. label is one of tpmcrypto.Label*. Errors, without a
// parameter number: TPM_RC_KEY, TPM_RC_VALUE.
func (t *TPM) recoverSecret(o *object, label string, encrypted []byte) ([]byte, RC) {
	if o.pub.Type == TPM_ALG_RSA {
		k, rc := o.rsaKey()
		if rc != TPM_RC_SUCCESS {
			return nil, rc
		}
		if len(encrypted) != k.Public().Size() {
			return nil, TPM_RC_VALUE
		}
		s, err := tpmcrypto.RecoverRSA(k, o.secretHash(), label, encrypted)
		if err != nil {
			return nil, TPM_RC_VALUE
		}
		return s, TPM_RC_SUCCESS
	}
	if o.pub.Type == TPM_ALG_MLKEM {
		k, rc := o.mlkemKey()
		if rc != TPM_RC_SUCCESS {
			return nil, rc
		}
		s, err := tpmcrypto.RecoverMLKEM(k, o.pub.NameAlg, label, encrypted)
		if err != nil {
			return nil, TPM_RC_VALUE
		}
		return s, TPM_RC_SUCCESS
	}
	k, rc := o.eccKey()
	if rc != TPM_RC_SUCCESS {
		return nil, rc
	}
	r := reader{b: encrypted}
	p := tpmcrypto.Point{X: r.b2(maxECCBytes), Y: r.b2(maxECCBytes)}
	if r.end() != TPM_RC_SUCCESS {
		return nil, TPM_RC_VALUE
	}
	s, err := tpmcrypto.RecoverECC(k, o.pub.NameAlg, label, p)
	if err != nil {
		return nil, TPM_RC_VALUE
	}
	return s, TPM_RC_SUCCESS
}

// shareSecret makes a seed for the holder of an asymmetric key and the
// TPM2B_ENCRYPTED_SECRET contents that carry it. Errors: TPM_RC_KEY.
func (t *TPM) shareSecret(o *object, label string) (seed, encrypted []byte, rc RC) {
	if o.pub.Type == TPM_ALG_RSA {
		k, rc := o.rsaPublic()
		if rc != TPM_RC_SUCCESS {
			return nil, nil, rc
		}
		seed, encrypted, err := tpmcrypto.ShareRSA(k, o.secretHash(), label, rng{t})
		if err != nil {
			return nil, nil, TPM_RC_KEY
		}
		return seed, encrypted, TPM_RC_SUCCESS
	}
	if o.pub.Type == TPM_ALG_MLKEM {
		k, rc := o.mlkemPublic()
		if rc != TPM_RC_SUCCESS {
			return nil, nil, rc
		}
		seed, encrypted, err := tpmcrypto.ShareMLKEM(k, o.pub.NameAlg, label)
		if err != nil {
			return nil, nil, TPM_RC_KEY
		}
		return seed, encrypted, TPM_RC_SUCCESS
	}
	k, rc := o.eccPublic()
	if rc != TPM_RC_SUCCESS {
		return nil, nil, rc
	}
	seed, p, err := tpmcrypto.ShareECC(k, o.pub.NameAlg, label, rng{t})
	if err != nil {
		return nil, nil, TPM_RC_KEY
	}
	encrypted = marshal(4+2*maxECCBytes, func(w *writer) { w.b2(p.X); w.b2(p.Y) })
	return seed, encrypted, TPM_RC_SUCCESS
}
