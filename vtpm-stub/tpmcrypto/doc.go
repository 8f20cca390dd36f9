// Package tpmcrypto holds the primitives a TPM 2.0 is built from, and nothing
// of the TPM itself: hashes and MACs by algorithm identifier, the key
// derivation functions, block cipher modes with TPM chaining, RSA and ECC keys
// made from a given source of bytes, signature schemes, secret sharing, and
// known-answer tests for all of them.
//
// Specifications, by the short names used in comments:
//
//	P1      TPM 2.0 Library, Part 1: Architecture, revision 1.59
//	P3      TPM 2.0 Library, Part 3: Commands, revision 1.59
//	ALG     TCG Algorithm Registry
//	90A     NIST SP 800-90A rev. 1, 10.1.2 (HMAC_DRBG)
//	108     NIST SP 800-108
//	56A     NIST SP 800-56A
//	186-5   NIST FIPS 186-5
//	203     NIST FIPS 203 (ML-KEM)
//	204     NIST FIPS 204 (ML-DSA)
//	8017    IETF RFC 8017 (PKCS #1)
//	RCB     Renes, Costello, Batina: Complete addition formulas (2016)
//
// Standard crypto packages do the work wherever they have the function. What
// they lack is here: modes with an IV output, KDFa and KDFe, arithmetic modulo
// a curve's order, RSA without padding, RSA keys from one prime, and the curves
// SM2-P256 and BN-P256. Secret-dependent arithmetic that is ours runs on the
// constant-time Modulus type. RSA key generation uses math/big and is not
// constant time, as its running time depends on discarded candidates.
//
// ML-KEM is the standard library's crypto/mlkem. ML-DSA keys and signatures are
// made by filippo.io/mldsa, which is the standard library's crypto/mldsa of
// Go 1.27; it does not verify a signature over a given mu, so that verification,
// which has no secrets, is here.
//
// Work that two processors share goes, on Linux, to threads that are kept off the
// caller's processor; that is all that this package asks of an operating system.
//
// Missing on purpose: SM3, SM4, TDES (not in std or withdrawn), BN-P638.
//
// Every input may come from a guest. No input makes a function panic unless
// its comment says that the case is a bug of the caller. Errors are fixed
// strings without data.
package tpmcrypto
