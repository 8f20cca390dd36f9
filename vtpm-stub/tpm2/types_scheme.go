package tpm2

// TPMT_SYM_DEF is also TPMT_SYM_DEF_OBJECT (TPM20-P2 sections 11.1.6, 11.1.7).
// For TPM_ALG_XOR Hash is set and KeyBits and Mode are zero; for TPM_ALG_NULL
// all are zero.
type TPMT_SYM_DEF struct {
	Algorithm AlgID
	KeyBits   uint16
	Mode      AlgID
	Hash      AlgID
}

// symDef reads a TPMT_SYM_DEF. null: "+" in the command table.
func (r *reader) symDef(null bool) TPMT_SYM_DEF {
	d := TPMT_SYM_DEF{Algorithm: r.alg()}
	if d.Algorithm == TPM_ALG_XOR && r.profile.offers(TPM_ALG_XOR) {
		d.Hash = r.hash(false)
		return d
	}
	return r.symDefRest(d, null)
}

// symDefObject reads a TPMT_SYM_DEF_OBJECT, which has no XOR.
func (r *reader) symDefObject(null bool) TPMT_SYM_DEF {
	return r.symDefRest(TPMT_SYM_DEF{Algorithm: r.alg()}, null)
}

func (r *reader) symDefRest(d TPMT_SYM_DEF, null bool) TPMT_SYM_DEF {
	switch {
	case d.Algorithm == TPM_ALG_NULL && null:
	case d.Algorithm.SymBlockSize() != 0 && r.profile.offers(d.Algorithm):
		d.KeyBits = r.u16()
		if r.rc == TPM_RC_SUCCESS && !r.profile.symBits(d.Algorithm, d.KeyBits) {
			r.fail(TPM_RC_VALUE)
		}
		d.Mode = r.symMode(true)
	default:
		r.fail(TPM_RC_SYMMETRIC)
	}
	return d
}

// symMode reads a TPMI_ALG_SYM_MODE (also TPMI_ALG_CIPHER_MODE).
func (r *reader) symMode(null bool) AlgID {
	m := r.alg()
	switch m {
	case TPM_ALG_CTR, TPM_ALG_OFB, TPM_ALG_CBC, TPM_ALG_CFB, TPM_ALG_ECB, TPM_ALG_CMAC:
	case TPM_ALG_NULL:
		if !null {
			r.fail(TPM_RC_MODE)
		}
	default:
		r.fail(TPM_RC_MODE)
	}
	if m != TPM_ALG_NULL && !r.profile.offers(m) {
		r.fail(TPM_RC_MODE)
	}
	return m
}

func (w *writer) symDef(d *TPMT_SYM_DEF) {
	w.alg(d.Algorithm)
	switch d.Algorithm {
	case TPM_ALG_NULL:
	case TPM_ALG_XOR:
		w.alg(d.Hash)
	default:
		w.u16(d.KeyBits)
		w.alg(d.Mode)
	}
}

// TPMT_SCHEME is every kind of scheme with its details: TPMT_KEYEDHASH_SCHEME,
// TPMT_SIG_SCHEME, TPMT_RSA_SCHEME, TPMT_RSA_DECRYPT, TPMT_ECC_SCHEME and
// TPMT_KDF_SCHEME (TPM20-P2 section 11.2). Fields that the scheme has not are
// zero; Hash is TPM_ALG_NULL for RSAES and the null scheme.
type TPMT_SCHEME struct {
	Scheme AlgID
	Hash   AlgID
	KDF    AlgID  // TPM_ALG_XOR only
	Count  uint16 // TPM_ALG_ECDAA only
}

var nullScheme = TPMT_SCHEME{Scheme: TPM_ALG_NULL, Hash: TPM_ALG_NULL}

// scheme classes, a bit set.
const (
	schemeHMAC      = 1 << iota // HMAC
	schemeXOR                   // XOR
	schemeRSASign               // RSASSA, RSAPSS
	schemeRSAEnc                // RSAES, OAEP
	schemeECCSign               // ECDSA, ECDAA, SM2, ECSCHNORR
	schemeECCKEX                // ECDH, ECMQV
	schemeKDF                   // MGF1, HKDF, KDF1_SP800_56A, KDF2, KDF1_SP800_108
	schemeMLDSA                 // MLDSA
	schemeHashMLDSA             // HASH_MLDSA
	schemeNull                  // "+"
)

func schemeClass(a AlgID) int {
	switch a {
	case TPM_ALG_HMAC:
		return schemeHMAC
	case TPM_ALG_XOR:
		return schemeXOR
	case TPM_ALG_RSASSA, TPM_ALG_RSAPSS:
		return schemeRSASign
	case TPM_ALG_RSAES, TPM_ALG_OAEP:
		return schemeRSAEnc
	case TPM_ALG_ECDSA, TPM_ALG_ECDAA, TPM_ALG_SM2, TPM_ALG_ECSCHNORR:
		return schemeECCSign
	case TPM_ALG_ECDH, TPM_ALG_ECMQV:
		return schemeECCKEX
	case TPM_ALG_MGF1, TPM_ALG_HKDF, TPM_ALG_KDF1_SP800_56A, TPM_ALG_KDF2, TPM_ALG_KDF1_SP800_108:
		return schemeKDF
	case TPM_ALG_MLDSA:
		return schemeMLDSA
	case TPM_ALG_HASH_MLDSA:
		return schemeHashMLDSA
	case TPM_ALG_NULL:
		return schemeNull
	}
	return 0
}

// scheme reads a scheme selector of one of the classes and its details.
// selRC is the code for a selector outside of them.
func (r *reader) scheme(classes int, selRC RC) TPMT_SCHEME {
	s := TPMT_SCHEME{Scheme: r.alg(), Hash: TPM_ALG_NULL}
	c := r.profile.schemeClass(s.Scheme)
	if c&classes == 0 {
		r.fail(selRC)
		return s
	}
	switch {
	case c == schemeNull, s.Scheme == TPM_ALG_RSAES:
		return s
	}
	s.Hash = r.hash(false)
	switch s.Scheme {
	case TPM_ALG_ECDAA:
		s.Count = r.u16()
	case TPM_ALG_XOR:
		s.KDF = r.alg()
		if r.profile.schemeClass(s.KDF)&(schemeKDF|schemeNull) == 0 || s.KDF == TPM_ALG_HKDF {
			r.fail(TPM_RC_KDF)
		}
	}
	return s
}

const (
	schemeAnySign   = schemeHMAC | schemeRSASign | schemeECCSign
	schemeAnyMLDSA  = schemeMLDSA | schemeHashMLDSA
	schemeSignature = schemeAnySign | schemeAnyMLDSA
)

// sigScheme reads a TPMT_SIG_SCHEME+. TPMU_SIG_SCHEME has no details for ML-DSA, whose keys
// leave no choice of scheme (v185, P2 section 11.2.1.4): the selector alone is taken.
func (r *reader) sigScheme() TPMT_SCHEME {
	if b := r.b; len(b) >= 2 && r.profile.schemeClass(AlgID(b[0])<<8|AlgID(b[1]))&schemeAnyMLDSA != 0 {
		return TPMT_SCHEME{Scheme: r.alg(), Hash: TPM_ALG_NULL}
	}
	return r.scheme(schemeAnySign|schemeNull, TPM_RC_SCHEME)
}

// rsaDecrypt reads a TPMT_RSA_DECRYPT+.
func (r *reader) rsaDecrypt() TPMT_SCHEME {
	return r.scheme(schemeRSAEnc|schemeNull, TPM_RC_VALUE)
}

// kdfScheme reads a TPMT_KDF_SCHEME+.
func (r *reader) kdfScheme() TPMT_SCHEME {
	return r.scheme(schemeKDF|schemeNull, TPM_RC_KDF)
}

// macScheme reads a TPMI_ALG_MAC_SCHEME: CMAC or a hash for HMAC.
func (r *reader) macScheme(null bool) AlgID {
	a := r.alg()
	cmac := a == TPM_ALG_CMAC && r.profile.offers(a)
	if !cmac && !r.profile.hash(a) && !(null && a == TPM_ALG_NULL) {
		r.fail(TPM_RC_SYMMETRIC)
	}
	return a
}

func (w *writer) scheme(s *TPMT_SCHEME) {
	w.alg(s.Scheme)
	if s.Scheme == TPM_ALG_NULL || s.Scheme == TPM_ALG_RSAES {
		return
	}
	w.alg(s.Hash)
	switch s.Scheme {
	case TPM_ALG_ECDAA:
		w.u16(s.Count)
	case TPM_ALG_XOR:
		w.alg(s.KDF)
	}
}

// TPMT_SIGNATURE (TPM20-P2 section 11.3.4). RSA signatures are in R; for ECC
// R and S are; for TPM_ALG_HMAC R is the digest; for ML-DSA R is the signature,
// and Hash TPM_ALG_NULL unless it is HashML-DSA.
type TPMT_SIGNATURE struct {
	Alg  AlgID
	Hash AlgID
	R, S []byte
}

// signature reads a TPMT_SIGNATURE. null: "+" in the command table.
func (r *reader) signature(null bool) TPMT_SIGNATURE {
	s := TPMT_SIGNATURE{Alg: r.alg(), Hash: TPM_ALG_NULL}
	c := r.profile.schemeClass(s.Alg)
	if s.Alg == TPM_ALG_NULL && null {
		return s
	}
	if c&schemeSignature == 0 {
		r.fail(TPM_RC_SCHEME)
		return s
	}
	if c != schemeMLDSA {
		s.Hash = r.hash(false)
	}
	switch c {
	case schemeHMAC:
		s.R = r.bytes(s.Hash.DigestSize())
	case schemeRSASign:
		s.R = r.b2(maxRSABytes)
	case schemeMLDSA, schemeHashMLDSA:
		s.R = r.b2(maxMLDSASignature)
	default:
		s.R = r.b2(maxECCBytes)
		s.S = r.b2(maxECCBytes)
	}
	return s
}

func (w *writer) signature(s *TPMT_SIGNATURE) {
	w.alg(s.Alg)
	switch schemeClass(s.Alg) {
	case schemeNull:
	case schemeHMAC:
		w.alg(s.Hash)
		w.raw(s.R)
	case schemeMLDSA:
		w.b2(s.R)
	case schemeRSASign, schemeHashMLDSA:
		w.alg(s.Hash)
		w.b2(s.R)
	default:
		w.alg(s.Hash)
		w.b2(s.R)
		w.b2(s.S)
	}
}
