package hwtpm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/asn1"
	"fmt"
	"math/big"

	"github.com/google/go-tpm/tpm2"
)

// An authority's key is ECDSA P-256 (with SHA-256), P-384 (with SHA-384) or RSA
// of 3072 bits (PKCS #1 v1.5 with SHA-256): what TPMs verify and ssh-agent signs.

// AuthorityPublic makes the TPMT_PUBLIC of an approval key.
func AuthorityPublic(key crypto.PublicKey) ([]byte, error) {
	pub := tpm2.TPMTPublic{ObjectAttributes: tpm2.TPMAObject{SignEncrypt: true, UserWithAuth: true}, NameAlg: tpm2.TPMAlgSHA256}
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		curve := tpm2.TPMECCNistP256
		if k.Curve == elliptic.P384() {
			curve, pub.NameAlg = tpm2.TPMECCNistP384, tpm2.TPMAlgSHA384
		} else if k.Curve != elliptic.P256() {
			return nil, fmt.Errorf("%w: curve %s; use P-256 or P-384", ErrPolicy, k.Curve.Params().Name)
		}
		point, err := k.Bytes()
		if err != nil {
			return nil, fmt.Errorf("%w: %v", ErrPolicy, err)
		}
		n := (len(point) - 1) / 2
		pub.Type = tpm2.TPMAlgECC
		pub.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{CurveID: curve,
			Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull}, Scheme: tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgNull},
			KDF: tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull}})
		pub.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: point[1 : 1+n]}, Y: tpm2.TPM2BECCParameter{Buffer: point[1+n:]}})
	case *rsa.PublicKey:
		if k.N.BitLen() != 3072 || k.E != 65537 {
			return nil, fmt.Errorf("%w: RSA key of %d bits; use 3072 with exponent 65537", ErrPolicy, k.N.BitLen())
		}
		pub.Type = tpm2.TPMAlgRSA
		pub.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{KeyBits: 3072,
			Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull}, Scheme: tpm2.TPMTRSAScheme{Scheme: tpm2.TPMAlgNull}})
		pub.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: k.N.Bytes()})
	default:
		return nil, fmt.Errorf("%w: key type %T; use ECDSA P-256, P-384 or RSA 3072", ErrPolicy, key)
	}
	return tpm2.Marshal(pub), nil
}

// authorityKey reads a TPMT_PUBLIC and insists that AuthorityPublic made it.
func authorityKey(public []byte) (key crypto.PublicKey, hash crypto.Hash, err error) {
	defer guardPolicy(&err)
	pub, err := tpm2.Unmarshal[tpm2.TPMTPublic](public)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: public key: %v", ErrPolicy, err)
	}
	if key, err = tpm2.Pub(*pub); err != nil {
		return nil, 0, fmt.Errorf("%w: public key: %v", ErrPolicy, err)
	}
	again, err := AuthorityPublic(key)
	if err != nil {
		return nil, 0, err
	}
	if string(again) != string(public) {
		return nil, 0, fmt.Errorf("%w: public key with unusual attributes", ErrPolicy)
	}
	return key, authorityHash(key), nil
}

func authorityHash(key crypto.PublicKey) crypto.Hash {
	if k, ok := key.(*ecdsa.PublicKey); ok && k.Curve == elliptic.P384() {
		return crypto.SHA384
	}
	return crypto.SHA256
}

func tpmHash(h crypto.Hash) tpm2.TPMIAlgHash {
	if h == crypto.SHA384 {
		return tpm2.TPMAlgSHA384
	}
	return tpm2.TPMAlgSHA256
}

// AuthorityName describes an approval key for people.
func AuthorityName(public []byte) string {
	key, _, err := authorityKey(public)
	if err != nil {
		return "unreadable key"
	}
	kind := "RSA-3072"
	if k, ok := key.(*ecdsa.PublicKey); ok {
		kind = "ECDSA " + k.Curve.Params().Name
	}
	name, err := keyName(public)
	if err != nil {
		return "unreadable key"
	}
	return fmt.Sprintf("%s %x", kind, name[2:10])
}

type ecdsaSignature struct{ R, S *big.Int }

// EncodeSignature makes a TPMT_SIGNATURE of what Go's signers return: ASN.1 for
// ECDSA, the bytes for RSA.
func EncodeSignature(key crypto.PublicKey, sig []byte) ([]byte, error) {
	hash := tpmHash(authorityHash(key))
	if _, ok := key.(*rsa.PublicKey); ok {
		return tpm2.Marshal(tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgRSASSA, Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgRSASSA,
			&tpm2.TPMSSignatureRSA{Hash: hash, Sig: tpm2.TPM2BPublicKeyRSA{Buffer: sig}})}), nil
	}
	k, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: key type %T", ErrPolicy, key)
	}
	var rs ecdsaSignature
	if rest, err := asn1.Unmarshal(sig, &rs); err != nil || len(rest) != 0 || rs.R.Sign() <= 0 || rs.S.Sign() <= 0 {
		return nil, fmt.Errorf("%w: signature encoding", ErrPolicy)
	}
	n := (k.Curve.Params().BitSize + 7) / 8
	if rs.R.BitLen() > 8*n || rs.S.BitLen() > 8*n {
		return nil, fmt.Errorf("%w: signature encoding", ErrPolicy)
	}
	return tpm2.Marshal(tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgECDSA, Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA,
		&tpm2.TPMSSignatureECC{Hash: hash, SignatureR: tpm2.TPM2BECCParameter{Buffer: rs.R.FillBytes(make([]byte, n))},
			SignatureS: tpm2.TPM2BECCParameter{Buffer: rs.S.FillBytes(make([]byte, n))}})}), nil
}

// VerifyMessage checks a TPMT_SIGNATURE by an approval key, without a TPM.
func VerifyMessage(public, message, signature []byte) (err error) {
	defer guardPolicy(&err)
	key, hash, err := authorityKey(public)
	if err != nil {
		return err
	}
	sig, err := tpm2.Unmarshal[tpm2.TPMTSignature](signature)
	if err != nil {
		return fmt.Errorf("%w: signature encoding", ErrPolicy)
	}
	return verifyDigest(key, hash, digest(hash, message), sig)
}

func digest(hash crypto.Hash, message []byte) []byte {
	h := hash.New()
	h.Write(message)
	return h.Sum(nil)
}

func verifyDigest(key crypto.PublicKey, hash crypto.Hash, digest []byte, sig *tpm2.TPMTSignature) error {
	good := false
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		s, err := sig.Signature.ECDSA()
		good = err == nil && s.Hash == tpmHash(hash) && ecdsa.Verify(k, digest, new(big.Int).SetBytes(s.SignatureR.Buffer), new(big.Int).SetBytes(s.SignatureS.Buffer))
	case *rsa.PublicKey:
		s, err := sig.Signature.RSASSA()
		good = err == nil && s.Hash == tpmHash(hash) && rsa.VerifyPKCS1v15(k, hash, digest, s.Sig.Buffer) == nil
	}
	if !good {
		return fmt.Errorf("%w: signature does not verify", ErrPolicy)
	}
	return nil
}

// guardPolicy is guard for bytes that a client sent.
func guardPolicy(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: malformed", ErrPolicy)
	}
}
