package tpm2

import "bytes"

// TPMA_OBJECT (TPM20-P2 section 8.3): attributes of an object.
type TPMA_OBJECT uint32

const (
	objFixedTPM             TPMA_OBJECT = 1 << 1
	objStClear              TPMA_OBJECT = 1 << 2
	objFixedParent          TPMA_OBJECT = 1 << 4
	objSensitiveDataOrigin  TPMA_OBJECT = 1 << 5
	objUserWithAuth         TPMA_OBJECT = 1 << 6
	objAdminWithPolicy      TPMA_OBJECT = 1 << 7
	objFirmwareLimited      TPMA_OBJECT = 1 << 8
	objSVNLimited           TPMA_OBJECT = 1 << 9
	objNoDA                 TPMA_OBJECT = 1 << 10
	objEncryptedDuplication TPMA_OBJECT = 1 << 11
	objRestricted           TPMA_OBJECT = 1 << 16
	objDecrypt              TPMA_OBJECT = 1 << 17
	objSign                 TPMA_OBJECT = 1 << 18 // "encrypt" for a symmetric cipher
	objX509Sign             TPMA_OBJECT = 1 << 19

	objDefined = objFixedTPM | objStClear | objFixedParent | objSensitiveDataOrigin |
		objUserWithAuth | objAdminWithPolicy | objFirmwareLimited | objSVNLimited |
		objNoDA | objEncryptedDuplication | objRestricted | objDecrypt | objSign | objX509Sign
)

// has reports whether all bits of m are SET.
func (a TPMA_OBJECT) has(m TPMA_OBJECT) bool { return a&m == m }

// TPMT_PUBLIC is a public area (TPM20-P2 section 12.2.4) with the parameter and
// unique unions flattened; the comments say which type uses what.
type TPMT_PUBLIC struct {
	Type       AlgID
	NameAlg    AlgID
	Attributes TPMA_OBJECT
	AuthPolicy []byte

	Sym      TPMT_SYM_DEF // SYMCIPHER, RSA, ECC, MLKEM
	Scheme   TPMT_SCHEME  // KEYEDHASH, RSA, ECC; HASH_MLDSA: the hash
	KeyBits  uint16       // RSA
	Exponent uint32       // RSA; 0 means 65537
	Curve    ECCCurve     // ECC
	KDF      TPMT_SCHEME  // ECC
	ParamSet uint16       // MLKEM, MLDSA, HASH_MLDSA
	ExtMu    bool         // MLDSA: allowExternalMu

	Unique []byte // KEYEDHASH, SYMCIPHER: digest; RSA: modulus; MLKEM, MLDSA: the key
	X, Y   []byte // ECC: the point
	// A template of TPM2_CreateLoaded under a derivation parent has
	// TPMS_DERIVE in place of unique.
	Derive         bool
	Label, Context []byte
}

// isParent reports whether the object can have children: restricted decrypt
// keys that are not KEYEDHASH; the latter are derivation parents.
func (p *TPMT_PUBLIC) isParent() bool {
	return p.Attributes.has(objRestricted|objDecrypt) && !p.Attributes.has(objSign)
}

// isStorage reports whether the object is a storage key ("parent" of Load).
func (p *TPMT_PUBLIC) isStorage() bool {
	return p.isParent() && p.Type != TPM_ALG_KEYEDHASH && !p.isMLDSA()
}

// isDerivationParent reports whether children are derived from the object.
func (p *TPMT_PUBLIC) isDerivationParent() bool { return p.isParent() && p.Type == TPM_ALG_KEYEDHASH }

// asymmetric reports whether the object has a public key.
func (p *TPMT_PUBLIC) asymmetric() bool {
	return p.Type == TPM_ALG_RSA || p.Type == TPM_ALG_ECC || p.isML()
}

// publicHow says which form of a public area is read.
type publicHow int

const (
	publicPlain      publicHow = iota // TPMT_PUBLIC
	publicNullName                    // TPMT_PUBLIC+: nameAlg may be TPM_ALG_NULL
	publicDeriveForm                  // TPMT_PUBLIC with TPMS_DERIVE as unique
)

// public reads a TPMT_PUBLIC.
func (r *reader) public(how publicHow) TPMT_PUBLIC {
	var p TPMT_PUBLIC
	p.Type = r.publicType()
	p.NameAlg = r.hash(how == publicNullName)
	p.Attributes = TPMA_OBJECT(r.u32())
	if p.Attributes&^objDefined != 0 {
		r.fail(TPM_RC_RESERVED_BITS)
	}
	p.AuthPolicy = r.digest()
	r.publicParms(&p)
	r.publicUnique(&p, how == publicDeriveForm)
	return p
}

// publicType reads a TPMI_ALG_PUBLIC.
func (r *reader) publicType() AlgID {
	a := r.alg()
	switch a {
	case TPM_ALG_RSA, TPM_ALG_ECC, TPM_ALG_KEYEDHASH, TPM_ALG_SYMCIPHER:
	case TPM_ALG_MLKEM, TPM_ALG_MLDSA, TPM_ALG_HASH_MLDSA:
	default:
		r.fail(TPM_RC_TYPE)
	}
	if !r.profile.offers(a) {
		r.fail(TPM_RC_TYPE)
	}
	return a
}

// publicParms reads a TPMU_PUBLIC_PARMS for p.Type.
func (r *reader) publicParms(p *TPMT_PUBLIC) {
	switch p.Type {
	case TPM_ALG_KEYEDHASH:
		p.Scheme = r.scheme(schemeHMAC|schemeXOR|schemeNull, TPM_RC_VALUE)
	case TPM_ALG_SYMCIPHER:
		p.Sym = r.symDefObject(false)
	case TPM_ALG_RSA:
		p.Sym = r.symDefObject(true)
		p.Scheme = r.scheme(schemeRSASign|schemeRSAEnc|schemeNull, TPM_RC_VALUE)
		p.KeyBits = r.rsaBits()
		p.Exponent = r.u32()
	case TPM_ALG_ECC:
		p.Sym = r.symDefObject(true)
		p.Scheme = r.scheme(schemeECCSign|schemeECCKEX|schemeNull, TPM_RC_SCHEME)
		p.Curve = r.curve()
		p.KDF = r.kdfScheme()
	case TPM_ALG_MLKEM, TPM_ALG_MLDSA, TPM_ALG_HASH_MLDSA:
		r.mlParms(p)
	}
}

func (r *reader) publicUnique(p *TPMT_PUBLIC, derive bool) {
	switch {
	case derive:
		p.Derive = true
		p.Label = r.b2(maxLabel)
		p.Context = r.b2(maxLabel)
	case p.Type == TPM_ALG_RSA:
		p.Unique = r.b2(maxRSABytes)
	case p.Type == TPM_ALG_ECC:
		p.X = r.b2(maxECCBytes)
		p.Y = r.b2(maxECCBytes)
	case p.Type == TPM_ALG_MLKEM:
		p.Unique = r.b2(maxMLKEMPub)
	case p.isMLDSA():
		p.Unique = r.b2(maxMLDSAPub)
	default:
		p.Unique = r.digest()
	}
}

// rsaBits reads a TPMI_RSA_KEY_BITS.
func (r *reader) rsaBits() uint16 {
	n := r.u16()
	if !r.profile.rsaBits(n) {
		r.fail(TPM_RC_VALUE)
	}
	return n
}

// curve reads a TPMI_ECC_CURVE.
func (r *reader) curve() ECCCurve {
	c := ECCCurve(r.u16())
	if !r.profile.curve(c) {
		r.fail(TPM_RC_CURVE)
	}
	return c
}

// public2B reads a TPM2B_PUBLIC; its size must be that of the structure.
func (r *reader) public2B(how publicHow) TPMT_PUBLIC {
	s := r.sub()
	if r.rc == TPM_RC_SUCCESS && len(s.b) == 0 {
		r.fail(TPM_RC_SIZE)
	}
	p := s.public(how)
	r.endSub(&s)
	return p
}

func (w *writer) public(p *TPMT_PUBLIC) {
	w.alg(p.Type)
	w.alg(p.NameAlg)
	w.u32(uint32(p.Attributes))
	w.b2(p.AuthPolicy)
	w.publicParms(p)
	switch {
	case p.Derive:
		w.b2(p.Label)
		w.b2(p.Context)
	case p.Type == TPM_ALG_ECC:
		w.b2(p.X)
		w.b2(p.Y)
	default:
		w.b2(p.Unique)
	}
}

func (w *writer) publicParms(p *TPMT_PUBLIC) {
	switch p.Type {
	case TPM_ALG_KEYEDHASH:
		w.scheme(&p.Scheme)
	case TPM_ALG_SYMCIPHER:
		w.symDef(&p.Sym)
	case TPM_ALG_RSA:
		w.symDef(&p.Sym)
		w.scheme(&p.Scheme)
		w.u16(p.KeyBits)
		w.u32(p.Exponent)
	case TPM_ALG_ECC:
		w.symDef(&p.Sym)
		w.scheme(&p.Scheme)
		w.u16(uint16(p.Curve))
		w.scheme(&p.KDF)
	case TPM_ALG_MLKEM, TPM_ALG_MLDSA, TPM_ALG_HASH_MLDSA:
		w.mlParms(p)
	}
}

func (w *writer) public2B(p *TPMT_PUBLIC) {
	m := w.begin2B()
	w.public(p)
	w.end2B(m)
}

// clone returns a copy that shares no memory with p: what a reader returns
// aliases the command.
func (p *TPMT_PUBLIC) clone() TPMT_PUBLIC {
	c := *p
	for _, b := range []*[]byte{&c.AuthPolicy, &c.Unique, &c.X, &c.Y, &c.Label, &c.Context} {
		*b = bytes.Clone(*b)
	}
	return c
}

// TPMT_SENSITIVE (TPM20-P2 section 12.3.2.4). For RSA Sensitive is one prime,
// for ECC the scalar, for ML-KEM and ML-DSA the seed, else the key or the sealed data.
type TPMT_SENSITIVE struct {
	Type      AlgID
	Auth      []byte
	Seed      []byte
	Sensitive []byte
}

// sensitive reads a TPMT_SENSITIVE.
func (r *reader) sensitive() TPMT_SENSITIVE {
	var s TPMT_SENSITIVE
	s.Type = r.alg()
	switch s.Type {
	case TPM_ALG_RSA, TPM_ALG_ECC, TPM_ALG_KEYEDHASH, TPM_ALG_SYMCIPHER:
	case TPM_ALG_MLKEM, TPM_ALG_MLDSA, TPM_ALG_HASH_MLDSA:
	default:
		r.fail(TPM_RC_TYPE)
	}
	s.Auth = r.digest()
	s.Seed = r.digest()
	switch s.Type {
	case TPM_ALG_RSA:
		s.Sensitive = r.b2(maxRSABytes)
	case TPM_ALG_ECC:
		s.Sensitive = r.b2(maxECCBytes)
	case TPM_ALG_SYMCIPHER:
		s.Sensitive = r.b2(maxSymKeyBytes)
	case TPM_ALG_MLKEM, TPM_ALG_MLDSA, TPM_ALG_HASH_MLDSA:
		s.Sensitive = r.b2(mlSeedSize(s.Type))
	default:
		s.Sensitive = r.b2(maxSymData)
	}
	return s
}

func (w *writer) sensitive(s *TPMT_SENSITIVE) {
	w.alg(s.Type)
	w.b2(s.Auth)
	w.b2(s.Seed)
	w.b2(s.Sensitive)
}

func (w *writer) sensitive2B(s *TPMT_SENSITIVE) {
	m := w.begin2B()
	w.sensitive(s)
	w.end2B(m)
}

func (s *TPMT_SENSITIVE) clone() TPMT_SENSITIVE {
	c := *s
	for _, b := range []*[]byte{&c.Auth, &c.Seed, &c.Sensitive} {
		*b = bytes.Clone(*b)
	}
	return c
}

// TPMS_SENSITIVE_CREATE is what the caller gives for a new object.
type TPMS_SENSITIVE_CREATE struct {
	UserAuth []byte
	Data     []byte
}

// sensitiveCreate reads a TPM2B_SENSITIVE_CREATE.
func (r *reader) sensitiveCreate() TPMS_SENSITIVE_CREATE {
	s := r.sub()
	if r.rc == TPM_RC_SUCCESS && len(s.b) == 0 {
		r.fail(TPM_RC_SIZE)
	}
	c := TPMS_SENSITIVE_CREATE{UserAuth: s.digest(), Data: s.b2(maxSymData)}
	r.endSub(&s)
	return c
}
