package tpm2

import (
	"bytes"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// TestMLDSAAttestation attests with keys of both types.
func TestMLDSAAttestation(t *testing.T) {
	x := newTestTPM(t)
	pure := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", mldsaTemplate(set65, attrsSign|objRestricted, false)).handle
	hash := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", hashMLDSATemplate(set65, attrsSign|objRestricted, TPM_ALG_SHA384)).handle
	quote := func(k Handle, scheme []byte) response {
		return x.cmdS(TPM_CC_Quote, handles(k), pw(""), b2([]byte("q")), scheme, selectPCR(TPM_ALG_SHA256, 0, 1))
	}
	check := func(r response, k Handle, typ ST) attested {
		t.Helper()
		a := x.readAttest(r)
		ok := x.holds
		if k == hash {
			ok = x.holdsHash
		}
		if !ok(x.transient(k), a.sig, nil, a.doc) || a.head.Type != typ || string(a.head.ExtraData) != "q" {
			t.Errorf("type %x: %+v", typ, a.head)
		}
		return a
	}
	for _, k := range []Handle{pure, hash} {
		check(x.cmdS(TPM_CC_Certify, handles(pure, k), pw("", ""), b2([]byte("q")), noScheme), k, TPM_ST_ATTEST_CERTIFY)
		check(x.cmdS(TPM_CC_GetTime, handles(TPM_RH_ENDORSEMENT, k), pw("", ""), b2([]byte("q")), noScheme), k, TPM_ST_ATTEST_TIME)
	}
	a := check(quote(hash, noScheme), hash, TPM_ST_ATTEST_QUOTE)
	var sel TPML_PCR_SELECTION
	a.rest.pcrSelection(&sel)
	if got, want := a.rest.digest(), tpmcrypto.Sum(TPM_ALG_SHA384, make([]byte, 64)); !bytes.Equal(got, want) {
		t.Errorf("digest of PCR %x, want %x", got, want)
	}
	x.defineIndex(testIndex, "", 0, 1024)
	x.ok(x.writeIndex(testIndex, "", bytes.Repeat([]byte{5}, 1024)))
	certify := func(k Handle, size int) response {
		return x.cmdS(TPM_CC_NV_Certify, handles(k, testIndex, testIndex), pw("", ""), b2([]byte("q")), noScheme, u16(uint16(size)), u16(0))
	}
	check(certify(pure, 400), pure, TPM_ST_ATTEST_NV)
	check(certify(hash, 0), hash, TPM_ST_ATTEST_NV_DIGEST)
	// ML-DSA has no hash of its own: the digests are of the key's nameAlg. The schemes of both types
	// may be named, without details.
	for _, in := range [][]byte{noScheme, u16(uint16(TPM_ALG_MLDSA))} {
		a = check(quote(pure, in), pure, TPM_ST_ATTEST_QUOTE)
		a.rest.pcrSelection(&sel)
		if got, want := a.rest.digest(), tpmcrypto.Sum(TPM_ALG_SHA256, make([]byte, 64)); !bytes.Equal(got, want) {
			t.Errorf("digest of PCR %x, want %x", got, want)
		}
	}
	check(quote(hash, u16(uint16(TPM_ALG_HASH_MLDSA))), hash, TPM_ST_ATTEST_QUOTE)
	a = check(certify(pure, 0), pure, TPM_ST_ATTEST_NV_DIGEST)
	a.rest.name()
	if got, want := a.rest.digest(), tpmcrypto.Sum(TPM_ALG_SHA256, bytes.Repeat([]byte{5}, 1024)); !bytes.Equal(got, want) {
		t.Errorf("digest of the index %x, want %x", got, want)
	}
	ecc := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	x.unchanged(func() {
		x.want(quote(TPM_RH_NULL, u16(uint16(TPM_ALG_MLDSA))), TPM_RC_SCHEME.Param(2)) // no key either
		x.want(quote(pure, u16(uint16(TPM_ALG_HASH_MLDSA))), TPM_RC_SCHEME.Param(2))
		x.want(quote(hash, u16(uint16(TPM_ALG_MLDSA))), TPM_RC_SCHEME.Param(2))
		x.want(quote(hash, schemeBytes(scheme(TPM_ALG_ECDSA, TPM_ALG_SHA384))), TPM_RC_SCHEME.Param(2))
		x.want(quote(ecc, u16(uint16(TPM_ALG_MLDSA))), TPM_RC_SCHEME.Param(2))
		x.want(certify(pure, 1024), TPM_RC_SIZE.Param(3)) // with 3309 octets of signature
		x.want(certify(hash, 1024), TPM_RC_SIZE.Param(3))
	})
}
