package tpmcrypto

import "errors"

// Alg is a TPM_ALG_ID (ALG table 3).
type Alg uint16

const (
	AlgError     Alg = 0x0000
	AlgRSA       Alg = 0x0001
	AlgSHA1      Alg = 0x0004
	AlgHMAC      Alg = 0x0005
	AlgTDES      Alg = 0x0003
	AlgAES       Alg = 0x0006
	AlgMGF1      Alg = 0x0007
	AlgKeyedHash Alg = 0x0008
	AlgXOR       Alg = 0x000A
	AlgSHA256    Alg = 0x000B
	AlgSHA384    Alg = 0x000C
	AlgSHA512    Alg = 0x000D
	AlgNull      Alg = 0x0010
	AlgRSASSA    Alg = 0x0014
	AlgRSAES     Alg = 0x0015
	AlgRSAPSS    Alg = 0x0016
	AlgOAEP      Alg = 0x0017
	AlgECDSA     Alg = 0x0018
	AlgECDH      Alg = 0x0019
	AlgECDAA     Alg = 0x001A
	AlgSM2       Alg = 0x001B
	AlgECSchnorr Alg = 0x001C
	AlgECMQV     Alg = 0x001D
	AlgKDF1_56A  Alg = 0x0020
	AlgKDF2      Alg = 0x0021
	AlgKDF1_108  Alg = 0x0022
	AlgECC       Alg = 0x0023
	AlgSymCipher Alg = 0x0025
	AlgCamellia  Alg = 0x0026
	AlgSHA3_256  Alg = 0x0027
	AlgSHA3_384  Alg = 0x0028
	AlgSHA3_512  Alg = 0x0029
	// AlgSHAKE256_512 is the first 64 octets of SHAKE256. It names the hash of a
	// running ML-DSA message and is no hash algorithm of a TPM object.
	AlgSHAKE256_512 Alg = 0x002E
	AlgCMAC         Alg = 0x003F
	AlgCTR          Alg = 0x0040
	AlgOFB          Alg = 0x0041
	AlgCBC          Alg = 0x0042
	AlgCFB          Alg = 0x0043
	AlgECB          Alg = 0x0044
	AlgMLKEM        Alg = 0x00A0
	AlgMLDSA        Alg = 0x00A1
	AlgHashMLDSA    Alg = 0x00A2
)

// One error per failure class; a caller maps them to response codes.
var (
	ErrHash      = errors.New("tpmcrypto: hash algorithm not supported")
	ErrKeySize   = errors.New("tpmcrypto: key size not supported")
	ErrMode      = errors.New("tpmcrypto: cipher or mode not supported")
	ErrSize      = errors.New("tpmcrypto: wrong length")
	ErrIV        = errors.New("tpmcrypto: wrong IV length")
	ErrCurve     = errors.New("tpmcrypto: curve not supported")
	ErrPoint     = errors.New("tpmcrypto: point is not on the curve")
	ErrInfinity  = errors.New("tpmcrypto: result is the point at infinity")
	ErrKey       = errors.New("tpmcrypto: key is not valid")
	ErrExponent  = errors.New("tpmcrypto: public exponent not supported")
	ErrValue     = errors.New("tpmcrypto: value out of range")
	ErrScheme    = errors.New("tpmcrypto: scheme not supported")
	ErrDecrypt   = errors.New("tpmcrypto: decryption failed")
	ErrSignature = errors.New("tpmcrypto: signature is not valid")
	ErrCanceled  = errors.New("tpmcrypto: cancelled")
	ErrExhausted = errors.New("tpmcrypto: source of bytes is exhausted")
)
