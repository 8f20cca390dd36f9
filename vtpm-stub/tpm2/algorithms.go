package tpm2

// What this engine implements: algorithms, curves and sizes of keys. A Profile says which of it
// a TPM offers.

// TPMA_ALGORITHM bits (TPM20-P2 section 8.2).
const (
	algAsymmetric = 1 << 0
	algSymmetric  = 1 << 1
	algHash       = 1 << 2
	algObject     = 1 << 3
	algSigning    = 1 << 8
	algEncrypting = 1 << 9
	algMethod     = 1 << 10
)

// algEntry is one implemented algorithm. verb is what profiles call it.
type algEntry struct {
	alg   AlgID
	attrs uint32
	verb  string
}

// algTable lists the implemented algorithms by identifier. Clients know them with the
// attributes that deployed TPMs report, which are not in every case the Type column of
// TPM20-P2 table 9: tpm2-tools makes no sealed object unless KEYEDHASH has all four.
// Version 185 has no such column; those of ML-KEM and ML-DSA follow what the others of
// their kind have.
var algTable = []algEntry{
	{TPM_ALG_RSA, algAsymmetric | algObject, "rsa"},
	{TPM_ALG_TDES, algSymmetric, "tdes"},
	{TPM_ALG_SHA1, algHash, "sha1"},
	{TPM_ALG_HMAC, algHash | algSigning, "hmac"},
	{TPM_ALG_AES, algSymmetric, "aes"},
	{TPM_ALG_MGF1, algHash | algMethod, "mgf1"},
	{TPM_ALG_KEYEDHASH, algHash | algObject | algSigning | algEncrypting, "keyedhash"},
	{TPM_ALG_XOR, algHash | algSymmetric, "xor"},
	{TPM_ALG_SHA256, algHash, "sha256"},
	{TPM_ALG_SHA384, algHash, "sha384"},
	{TPM_ALG_SHA512, algHash, "sha512"},
	{TPM_ALG_RSASSA, algAsymmetric | algSigning, "rsassa"},
	{TPM_ALG_RSAES, algAsymmetric | algEncrypting, "rsaes"},
	{TPM_ALG_RSAPSS, algAsymmetric | algSigning, "rsapss"},
	{TPM_ALG_OAEP, algAsymmetric | algEncrypting, "oaep"},
	{TPM_ALG_ECDSA, algAsymmetric | algSigning, "ecdsa"},
	{TPM_ALG_ECDH, algAsymmetric | algMethod, "ecdh"},
	{TPM_ALG_ECDAA, algAsymmetric | algSigning, "ecdaa"},
	{TPM_ALG_SM2, algAsymmetric | algSigning | algMethod, "sm2"},
	{TPM_ALG_ECSCHNORR, algAsymmetric | algSigning, "ecschnorr"},
	{TPM_ALG_ECMQV, algAsymmetric | algMethod, "ecmqv"},
	{TPM_ALG_HKDF, algHash | algMethod, "hkdf"},
	{TPM_ALG_KDF1_SP800_56A, algHash | algMethod, "kdf1-sp800-56a"},
	{TPM_ALG_KDF2, algHash | algMethod, "kdf2"},
	{TPM_ALG_KDF1_SP800_108, algHash | algMethod, "kdf1-sp800-108"},
	{TPM_ALG_ECC, algAsymmetric | algObject, "ecc"},
	{TPM_ALG_SYMCIPHER, algObject, "symcipher"},
	{TPM_ALG_CAMELLIA, algSymmetric, "camellia"},
	{TPM_ALG_SHA3_256, algHash, "sha3-256"},
	{TPM_ALG_SHA3_384, algHash, "sha3-384"},
	{TPM_ALG_SHA3_512, algHash, "sha3-512"},
	{TPM_ALG_CMAC, algSymmetric | algSigning, "cmac"},
	{TPM_ALG_CTR, algSymmetric | algEncrypting, "ctr"},
	{TPM_ALG_OFB, algSymmetric | algEncrypting, "ofb"},
	{TPM_ALG_CBC, algSymmetric | algEncrypting, "cbc"},
	{TPM_ALG_CFB, algSymmetric | algEncrypting, "cfb"},
	{TPM_ALG_ECB, algSymmetric | algEncrypting, "ecb"},
	{TPM_ALG_MLKEM, algAsymmetric | algObject, "mlkem"},
	{TPM_ALG_MLDSA, algAsymmetric | algObject | algSigning, "mldsa"},
	{TPM_ALG_HASH_MLDSA, algAsymmetric | algObject | algSigning, "hash-mldsa"},
}

// formerAttrs are the attributes that TPMs without a saved profile have always reported.
var formerAttrs = map[AlgID]uint32{
	TPM_ALG_KEYEDHASH: algHash | algObject,
	TPM_ALG_SM2:       algAsymmetric | algSigning | algEncrypting | algMethod,
	TPM_ALG_SYMCIPHER: algObject | algSymmetric,
}

// hashAlgs lists the hash algorithms in the order in which lists of banks are
// reported.
var hashAlgs = [numHashes]AlgID{
	TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384, TPM_ALG_SHA512,
	TPM_ALG_SHA3_256, TPM_ALG_SHA3_384, TPM_ALG_SHA3_512,
}

// defaultBanks are the PCR banks of a new TPM whose Config names none.
var defaultBanks = []AlgID{TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384, TPM_ALG_SHA512}

func hashImplemented(a AlgID) bool { return a.DigestSize() != 0 }

// curveEntry is one implemented curve. group is the verb for all of its family.
type curveEntry struct {
	curve ECCCurve
	bits  uint16
	verb  string
	group string
}

// curveTable lists the implemented ECC curves by identifier.
var curveTable = []curveEntry{
	{TPM_ECC_NIST_P192, 192, "ecc-nist-p192", "ecc-nist"},
	{TPM_ECC_NIST_P224, 224, "ecc-nist-p224", "ecc-nist"},
	{TPM_ECC_NIST_P256, 256, "ecc-nist-p256", "ecc-nist"},
	{TPM_ECC_NIST_P384, 384, "ecc-nist-p384", "ecc-nist"},
	{TPM_ECC_NIST_P521, 521, "ecc-nist-p521", "ecc-nist"},
	{TPM_ECC_BN_P256, 256, "ecc-bn-p256", "ecc-bn"},
	{TPM_ECC_BN_P638, 638, "ecc-bn-p638", "ecc-bn"},
	{TPM_ECC_SM2_P256, 256, "ecc-sm2-p256", ""},
}

// rsaSizes are the implemented sizes of RSA keys in bits.
var rsaSizes = []uint16{1024, 2048, 3072, 4096}

// symSizes are the sizes, in bits, that keys of block ciphers have.
func symSizes(a AlgID) (sizes []uint16) {
	for _, n := range []uint16{128, 192, 256} {
		if a.SymKeyBits(int(n)) {
			sizes = append(sizes, n)
		}
	}
	return sizes
}

// blockCiphers are the implemented block ciphers.
var blockCiphers = [...]AlgID{TPM_ALG_TDES, TPM_ALG_AES, TPM_ALG_CAMELLIA}
