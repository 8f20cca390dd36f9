package tpm2

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"
)

// goPublic returns the public key of a loaded object for the standard library.
func (x *testTPM) goPublic(h Handle) any {
	x.t.Helper()
	p := &x.transient(h).pub
	if p.Type == TPM_ALG_RSA {
		e := int(p.Exponent)
		if e == 0 {
			e = 65537
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(p.Unique), E: e}
	}
	c := map[ECCCurve]elliptic.Curve{TPM_ECC_NIST_P224: elliptic.P224(), TPM_ECC_NIST_P256: elliptic.P256(),
		TPM_ECC_NIST_P384: elliptic.P384(), TPM_ECC_NIST_P521: elliptic.P521()}[p.Curve]
	return &ecdsa.PublicKey{Curve: c, X: new(big.Int).SetBytes(p.X), Y: new(big.Int).SetBytes(p.Y)}
}

func samePublic(a, b any) bool {
	switch k := a.(type) {
	case *rsa.PublicKey:
		return k.Equal(b)
	case *ecdsa.PublicKey:
		return k.Equal(b)
	}
	return false
}
