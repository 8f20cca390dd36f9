package tpm2

import (
	"io"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// Keys of ML-KEM, ML-DSA and HashML-DSA (v185, P1 clauses 46 and 47).
//
// Offered are the parameter sets whose largest structure goes through Xen's
// transport of 4088 octets: not ML-DSA-87, whose signature has 4627. ML-KEM-512
// is not in the standard library.

// mlParameterSets is TPMA_ML_PARAMETER_SET (v185, P2 section 8.13): ML-KEM-768
// and -1024, ML-DSA-44 and -65, extMu.
const mlParameterSets = 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<6

// Largest sizes of the offered sets.
const (
	maxMLKEMPub        = 1568 // MAX_MLKEM_PUB_SIZE
	maxMLKEMCiphertext = 1568 // MAX_MLKEM_CT_SIZE
	maxMLDSAPub        = 1952 // MAX_MLDSA_PUB_SIZE
	maxMLDSASignature  = 3309 // MAX_MLDSA_SIG_SIZE
)

// isMLDSA reports whether the key is of ML-DSA or HashML-DSA.
func (p *TPMT_PUBLIC) isMLDSA() bool { return p.Type == TPM_ALG_MLDSA || p.Type == TPM_ALG_HASH_MLDSA }

// isML reports whether the key is of one of the types of this file.
func (p *TPMT_PUBLIC) isML() bool { return p.Type == TPM_ALG_MLKEM || p.isMLDSA() }

// mlPublicSize is the size of the public key of a parameter set.
func (p *TPMT_PUBLIC) mlPublicSize() int {
	if p.Type == TPM_ALG_MLKEM {
		return tpmcrypto.MLKEMSet(p.ParamSet).PublicSize()
	}
	return tpmcrypto.MLDSASet(p.ParamSet).PublicSize()
}

// mlParms reads TPMS_MLKEM_PARMS, TPMS_MLDSA_PARMS or TPMS_HASH_MLDSA_PARMS. The
// types of signing keys are schemes too; Scheme repeats them with their hash.
func (r *reader) mlParms(p *TPMT_PUBLIC) {
	p.Scheme, p.Sym.Algorithm = nullScheme, TPM_ALG_NULL
	if p.Type == TPM_ALG_MLKEM {
		p.Sym = r.symDefObject(true)
	}
	p.ParamSet = r.u16()
	offered := p.ParamSet == uint16(tpmcrypto.MLDSA44) || p.ParamSet == uint16(tpmcrypto.MLDSA65)
	if p.Type == TPM_ALG_MLKEM {
		offered = p.ParamSet == uint16(tpmcrypto.MLKEM768) || p.ParamSet == uint16(tpmcrypto.MLKEM1024)
	}
	if !offered {
		r.fail(TPM_RC_PARMS)
	}
	switch p.Type {
	case TPM_ALG_MLDSA:
		p.ExtMu = r.yesNo()
		p.Scheme.Scheme = TPM_ALG_MLDSA
	case TPM_ALG_HASH_MLDSA:
		p.Scheme = TPMT_SCHEME{Scheme: TPM_ALG_HASH_MLDSA, Hash: r.hash(false)}
		if !tpmcrypto.PrehashOK(p.Scheme.Hash) {
			r.fail(TPM_RC_HASH) // SHA-1: FIPS 204 takes approved hashes only
		}
	}
}

func (w *writer) mlParms(p *TPMT_PUBLIC) {
	if p.Type == TPM_ALG_MLKEM {
		w.symDef(&p.Sym)
	}
	w.u16(p.ParamSet)
	switch p.Type {
	case TPM_ALG_MLDSA:
		w.yesNo(p.ExtMu)
	case TPM_ALG_HASH_MLDSA:
		w.alg(p.Scheme.Hash)
	}
}

// mlSeedSize is the size of the private key, a seed, of a type.
func mlSeedSize(typ AlgID) int {
	if typ == TPM_ALG_MLKEM {
		return tpmcrypto.MLKEMSeedSize
	}
	return tpmcrypto.MLDSASeedSize
}

// generateML makes a key: the octets of src are the seed.
func generateML(o *object, p *TPMT_PUBLIC, src io.Reader) error {
	seed := make([]byte, mlSeedSize(p.Type))
	if _, err := io.ReadFull(src, seed); err != nil {
		return err
	}
	o.sens.Sensitive = seed
	return o.expandML(p)
}

// expandML expands the seed and sets the unique field of p.
func (o *object) expandML(p *TPMT_PUBLIC) error {
	if p.Type == TPM_ALG_MLKEM {
		k, err := tpmcrypto.NewMLKEMPrivateKey(tpmcrypto.MLKEMSet(p.ParamSet), o.sens.Sensitive)
		if err != nil {
			return err
		}
		o.key, p.Unique = k, k.Public().Bytes()
		return nil
	}
	k, err := tpmcrypto.NewMLDSAPrivateKey(tpmcrypto.MLDSASet(p.ParamSet), o.sens.Sensitive)
	if err != nil {
		return err
	}
	o.key, p.Unique = k, k.Public().Bytes()
	return nil
}

// keepML keeps an expanded private key with a transient object. One of ML-DSA takes 90 KB: all
// persistent objects together would take megabytes of a small domain, so that those expand
// the seed at each use.
func (o *object) keepML(k any) {
	if o.handle.Type() != TPM_HT_PERSISTENT {
		o.key = k
	}
}

// mlkemKey returns the private key of an ML-KEM object. Errors: TPM_RC_KEY.
func (o *object) mlkemKey() (*tpmcrypto.MLKEMPrivateKey, RC) {
	if k, ok := o.key.(*tpmcrypto.MLKEMPrivateKey); ok {
		return k, TPM_RC_SUCCESS
	}
	if o.pub.Type != TPM_ALG_MLKEM || !o.private {
		return nil, TPM_RC_KEY
	}
	k, err := tpmcrypto.NewMLKEMPrivateKey(tpmcrypto.MLKEMSet(o.pub.ParamSet), o.sens.Sensitive)
	if err != nil {
		return nil, TPM_RC_KEY
	}
	o.keepML(k)
	return k, TPM_RC_SUCCESS
}

// mlkemPublic returns the public key of an ML-KEM object. Errors: TPM_RC_KEY.
func (o *object) mlkemPublic() (*tpmcrypto.MLKEMPublicKey, RC) {
	switch k := o.key.(type) {
	case *tpmcrypto.MLKEMPrivateKey:
		return k.Public(), TPM_RC_SUCCESS
	case *tpmcrypto.MLKEMPublicKey:
		return k, TPM_RC_SUCCESS
	}
	if o.pub.Type != TPM_ALG_MLKEM {
		return nil, TPM_RC_KEY
	}
	k, err := tpmcrypto.NewMLKEMPublicKey(tpmcrypto.MLKEMSet(o.pub.ParamSet), o.pub.Unique)
	if err != nil {
		return nil, TPM_RC_KEY
	}
	if !o.private {
		o.key = k
	}
	return k, TPM_RC_SUCCESS
}

// mldsaKey returns the private key of an ML-DSA object. Errors: TPM_RC_KEY.
func (o *object) mldsaKey() (*tpmcrypto.MLDSAPrivateKey, RC) {
	if k, ok := o.key.(*tpmcrypto.MLDSAPrivateKey); ok {
		return k, TPM_RC_SUCCESS
	}
	if !o.pub.isMLDSA() || !o.private {
		return nil, TPM_RC_KEY
	}
	k, err := tpmcrypto.NewMLDSAPrivateKey(tpmcrypto.MLDSASet(o.pub.ParamSet), o.sens.Sensitive)
	if err != nil {
		return nil, TPM_RC_KEY
	}
	o.keepML(k)
	return k, TPM_RC_SUCCESS
}

// mldsaPublic returns the public key of an ML-DSA object. Errors: TPM_RC_KEY.
func (o *object) mldsaPublic() (*tpmcrypto.MLDSAPublicKey, RC) {
	switch k := o.key.(type) {
	case *tpmcrypto.MLDSAPrivateKey:
		return k.Public(), TPM_RC_SUCCESS
	case *tpmcrypto.MLDSAPublicKey:
		return k, TPM_RC_SUCCESS
	}
	if !o.pub.isMLDSA() {
		return nil, TPM_RC_KEY
	}
	k, err := tpmcrypto.NewMLDSAPublicKey(tpmcrypto.MLDSASet(o.pub.ParamSet), o.pub.Unique)
	if err != nil {
		return nil, TPM_RC_KEY
	}
	if !o.private {
		o.key = k
	}
	return k, TPM_RC_SUCCESS
}

// checkMLPublic checks the unique field of a loaded key. Errors: TPM_RC_KEY.
func checkMLPublic(o *object) (rc RC) {
	if len(o.pub.Unique) != o.pub.mlPublicSize() {
		return TPM_RC_KEY
	}
	if o.pub.Type == TPM_ALG_MLKEM {
		_, rc = o.mlkemPublic()
		return rc
	}
	_, rc = o.mldsaPublic()
	return rc
}

// checkMLPair checks that the seed makes the public key. Errors: TPM_RC_BINDING,
// TPM_RC_KEY_SIZE, TPM_RC_SIZE.
func checkMLPair(o *object, named bool) RC {
	if len(o.sens.Sensitive) != mlSeedSize(o.pub.Type) {
		return TPM_RC_KEY_SIZE
	}
	if rc := checkStorageSeed(o); rc != TPM_RC_SUCCESS || !named {
		return rc
	}
	made := o.pub
	if err := o.expandML(&made); err != nil {
		return TPM_RC_KEY_SIZE
	}
	if !tpmcrypto.Equal(made.Unique, o.pub.Unique) {
		return TPM_RC_BINDING
	}
	return TPM_RC_SUCCESS
}
