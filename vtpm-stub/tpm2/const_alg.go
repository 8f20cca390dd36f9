package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// AlgID is TPM_ALG_ID (TPM20-P2 section 6.3): it names an algorithm, a mode or a
// scheme on the wire.
type AlgID = tpmcrypto.Alg

// ECCCurve is TPM_ECC_CURVE (TPM20-P2 section 6.4).
type ECCCurve = tpmcrypto.Curve

// TPM_ALG_ID values.
const (
	TPM_ALG_RSA            AlgID = 0x0001 // the RSA algorithm
	TPM_ALG_TDES           AlgID = 0x0003 // block cipher with various key sizes (Triple Data Encryption Algorithm, commonly called
	TPM_ALG_SHA1           AlgID = 0x0004 // redefinition for documentation consistency
	TPM_ALG_HMAC           AlgID = 0x0005 // Hash Message Authentication Code (HMAC) algorithm
	TPM_ALG_AES            AlgID = 0x0006 // the AES algorithm with various key sizes
	TPM_ALG_MGF1           AlgID = 0x0007 // hash-based mask-generation function
	TPM_ALG_KEYEDHASH      AlgID = 0x0008 // an object type that may use XOR for encryption or an HMAC for signing and may also refer
	TPM_ALG_XOR            AlgID = 0x000A // the XOR encryption algorithm
	TPM_ALG_SHA256         AlgID = 0x000B // the SHA 256 algorithm
	TPM_ALG_SHA384         AlgID = 0x000C // the SHA 384 algorithm
	TPM_ALG_SHA512         AlgID = 0x000D // the SHA 512 algorithm
	TPM_ALG_NULL           AlgID = 0x0010 // Null algorithm
	TPM_ALG_SM3_256        AlgID = 0x0012 // SM3 hash algorithm
	TPM_ALG_SM4            AlgID = 0x0013 // SM4 symmetric block cipher
	TPM_ALG_RSASSA         AlgID = 0x0014 // a signature algorithm defined in section 8.2 (RSASSA-PKCS1-v1_5)
	TPM_ALG_RSAES          AlgID = 0x0015 // a padding algorithm defined in section 7.2 (RSAES-PKCS1-v1_5)
	TPM_ALG_RSAPSS         AlgID = 0x0016 // a signature algorithm defined in section 8.1 (RSASSA-PSS)
	TPM_ALG_OAEP           AlgID = 0x0017 // a padding algorithm defined in section 7.1 (RSAES_OAEP)
	TPM_ALG_ECDSA          AlgID = 0x0018 // signature algorithm using elliptic curve cryptography (ECC)
	TPM_ALG_ECDH           AlgID = 0x0019 // secret sharing using ECC
	TPM_ALG_ECDAA          AlgID = 0x001A // elliptic-curve based, anonymous signing scheme
	TPM_ALG_SM2            AlgID = 0x001B // SM2: depending on context, either an elliptic-curve based, signature algorithm, an
	TPM_ALG_ECSCHNORR      AlgID = 0x001C // elliptic-curve based Schnorr signature
	TPM_ALG_ECMQV          AlgID = 0x001D // two-phase elliptic-curve key exchange  C(2, 2, ECC MQV) section 6.1.1.4
	TPM_ALG_HKDF           AlgID = 0x001F
	TPM_ALG_KDF1_SP800_56A AlgID = 0x0020 // concatenation key derivation function (approved alternative 1) section 5.8.1
	TPM_ALG_KDF2           AlgID = 0x0021 // key derivation function KDF2 section 13.2
	TPM_ALG_KDF1_SP800_108 AlgID = 0x0022 // a key derivation method
	TPM_ALG_ECC            AlgID = 0x0023 // prime field ECC
	TPM_ALG_SYMCIPHER      AlgID = 0x0025 // the object type for a symmetric block cipher
	TPM_ALG_CAMELLIA       AlgID = 0x0026 // Camellia is symmetric block cipher
	TPM_ALG_SHA3_256       AlgID = 0x0027 // Hash algorithm producing a 256-bit digest
	TPM_ALG_SHA3_384       AlgID = 0x0028 // Hash algorithm producing a 384-bit digest
	TPM_ALG_SHA3_512       AlgID = 0x0029 // Hash algorithm producing a 512-bit digest
	TPM_ALG_SHAKE256_512   AlgID = 0x002E // SHAKE256 with an output of 512 bits; only in tickets here
	TPM_ALG_CMAC           AlgID = 0x003F
	TPM_ALG_CTR            AlgID = 0x0040 // Counter mode: if implemented, all symmetric block ciphers (S type) implemented shall be
	TPM_ALG_OFB            AlgID = 0x0041 // Output Feedback mode: if implemented, all symmetric block ciphers (S type) implemented
	TPM_ALG_CBC            AlgID = 0x0042 // Cipher Block Chaining mode: if implemented, all symmetric block ciphers (S type)
	TPM_ALG_CFB            AlgID = 0x0043 // Cipher Feedback mode: if implemented, all symmetric block ciphers (S type) implemented
	TPM_ALG_ECB            AlgID = 0x0044 // Electronic Codebook mode: if implemented, all symmetric block ciphers (S type)
	TPM_ALG_EDDSA          AlgID = 0x0060
	TPM_ALG_HASH_EDDSA     AlgID = 0x0061
	TPM_ALG_MLKEM          AlgID = 0x00A0 // ML-KEM
	TPM_ALG_MLDSA          AlgID = 0x00A1 // ML-DSA
	TPM_ALG_HASH_MLDSA     AlgID = 0x00A2 // HashML-DSA
)

// TPM_ECC_CURVE values.
const (
	TPM_ECC_NONE        ECCCurve = 0x0000
	TPM_ECC_NIST_P192   ECCCurve = 0x0001
	TPM_ECC_NIST_P224   ECCCurve = 0x0002
	TPM_ECC_NIST_P256   ECCCurve = 0x0003
	TPM_ECC_NIST_P384   ECCCurve = 0x0004
	TPM_ECC_NIST_P521   ECCCurve = 0x0005
	TPM_ECC_BN_P256     ECCCurve = 0x0010 // curve to support ECDAA
	TPM_ECC_BN_P638     ECCCurve = 0x0011 // curve to support ECDAA
	TPM_ECC_SM2_P256    ECCCurve = 0x0020
	TPM_ECC_BP_P256_R1  ECCCurve = 0x0030
	TPM_ECC_BP_P384_R1  ECCCurve = 0x0031
	TPM_ECC_BP_P512_R1  ECCCurve = 0x0032
	TPM_ECC_CURVE_25519 ECCCurve = 0x0040
	TPM_ECC_CURVE_448   ECCCurve = 0x0041
)
