package tpmcrypto

import (
	"bytes"
	"encoding/hex"
	"errors"
	"sync/atomic"
)

// SelfTestError names the algorithm whose known answer did not come out. The
// TPM then enters failure mode.
type SelfTestError struct{ Alg Alg }

func (e *SelfTestError) Error() string { return "tpmcrypto: self test failed" }

// SelfTests lists the algorithms that SelfTest can test.
func SelfTests() []Alg {
	return append(Hashes(), AlgHMAC, AlgKDF1_108, AlgKDF1_56A, AlgMGF1, AlgAES, AlgTDES, AlgCFB,
		AlgCTR, AlgOFB, AlgCBC, AlgECB, AlgCMAC, AlgXOR, AlgCamellia, AlgRSA, AlgRSASSA, AlgRSAPSS,
		AlgRSAES, AlgOAEP, AlgECC, AlgECDSA, AlgECDH, AlgECSchnorr, AlgECDAA, AlgECMQV, AlgSM2,
		AlgMLKEM, AlgMLDSA, AlgHashMLDSA)
}

// SelfTest runs the known-answer test of one algorithm. It returns nil when
// the algorithm has no test.
func SelfTest(a Alg) error {
	f, ok := selfTests[a]
	if !ok && a.IsHash() {
		f, ok = func() error { return testHash(a) }, true
	}
	if ok && f() != nil {
		return &SelfTestError{a}
	}
	return nil
}

// StartTests lists the algorithms that protect a TPM's own state and make its
// random numbers: those that must be known to work before it starts. The
// others are tested by TPM2_SelfTest; all of them would take half a minute on
// an emulated processor.
func StartTests() []Alg {
	return append(Hashes(), AlgHMAC, AlgKDF1_108, AlgAES, AlgCFB, AlgCTR)
}

// SelfTestAll runs the known-answer tests of algorithms, about 5 ms for all of them on
// one processor; each processor takes tests in turn, from the end of the list, where the
// long ones are. The error is that of the first algorithm in the list that failed.
func SelfTestAll(algs []Alg) error {
	errs := make([]error, len(algs))
	var left atomic.Int32
	left.Store(int32(len(algs)))
	parallel(func(int) {
		for i := left.Add(-1); i >= 0; i = left.Add(-1) {
			errs[i] = SelfTest(algs[i])
		}
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

var errAnswer = errors.New("tpmcrypto: wrong answer")

// selfTests maps to tests that need no state. RSA and ECC tests are pairwise:
// their primitives have published vectors in the unit tests.
var selfTests = map[Alg]func() error{
	AlgHMAC: func() error {
		return answer(HMAC(AlgSHA256, []byte("Jefe"), []byte("what do ya want for nothing?")),
			"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
	},
	AlgKDF1_108: func() error {
		return answer(KDFa(AlgSHA256, fill(0xaa, 32), "STORAGE", fill(0xbb, 32), []byte{0xcc}, 640)[:32],
			"99c69d3b45cea6bfe57b1e8b90a443426fd6c3ee0f613fcc4e28e194a225e000")
	},
	AlgKDF1_56A: func() error {
		z := append(make([]byte, 28), 0x49, 0x96, 0x02, 0xd2)
		return answer(KDFe(AlgSHA256, z, "DUPLICATE", fill(0xaa, 32), fill(0xbb, 32), 384)[:32],
			"df8a027aba2f45587beaad214d8dc6301ff76d8c4a4df1a619979076a7cace57")
	},
	AlgMGF1: func() error {
		out := make([]byte, 50)
		MGF1(AlgSHA1, out, []byte("bar"))
		return answer(out, "bc0c655e016bc2931d85a2e675181adcef7f581f76df2739da74faac41627be2f7f415c89e983fd0ce80ced9878641cb4876")
	},
	AlgXOR: func() error {
		data := fill(0, 32)
		XORObfuscate(AlgSHA256, data, []byte("key"), []byte("u"), []byte("v"))
		if bytes.Equal(data, fill(0, 32)) {
			return errAnswer
		}
		XORObfuscate(AlgSHA256, data, []byte("key"), []byte("u"), []byte("v"))
		return answer(data, hex.EncodeToString(fill(0, 32)))
	},
	// SP 800-38A F, AES-128, first block of each mode.
	AlgAES:  func() error { return testMode(AlgECB, "3ad77bb40d7a3660a89ecaf32466ef97") },
	AlgECB:  func() error { return testMode(AlgECB, "3ad77bb40d7a3660a89ecaf32466ef97") },
	AlgCBC:  func() error { return testMode(AlgCBC, "7649abac8119b246cee98e9b12e9197d") },
	AlgCFB:  func() error { return testMode(AlgCFB, "3b3fd92eb72dad20333449f8e83cfb4a") },
	AlgOFB:  func() error { return testMode(AlgOFB, "3b3fd92eb72dad20333449f8e83cfb4a") },
	AlgCTR:  func() error { return testMode(AlgCTR, "874d6191b620e3261bef6864990db6ce") },
	AlgTDES: testTDES,
	// RFC 3713, appendix A, 128-bit key.
	AlgCamellia: func() error {
		b, err := NewBlock(AlgCamellia, mustDecode("0123456789abcdeffedcba9876543210"))
		if err != nil {
			return err
		}
		data := mustDecode("0123456789abcdeffedcba9876543210")
		if err := Encrypt(b, AlgECB, nil, data); err != nil {
			return err
		}
		return answer(data, "67673138549669730857065648eabe43")
	},
	AlgCMAC: func() error {
		b, err := NewBlock(AlgAES, mustDecode("2b7e151628aed2a6abf7158809cf4f3c"))
		if err != nil {
			return err
		}
		c, err := NewCMAC(b)
		if err != nil {
			return err
		}
		c.Write(mustDecode("6bc1bee22e409f96e93d7e117393172a"))
		return answer(c.Sum(nil), "070a16b46b4d4144f79bdd9dd04a287c")
	},
	AlgRSA:       testRSARaw,
	AlgRSASSA:    testRSASSA,
	AlgRSAPSS:    testRSAPSS,
	AlgRSAES:     func() error { return testRSAEncrypt(false) },
	AlgOAEP:      func() error { return testRSAEncrypt(true) },
	AlgECC:       testECC,
	AlgECDSA:     testECDSA,
	AlgECDH:      testECDH,
	AlgECSchnorr: testSchnorr,
	AlgECDAA:     testECDAA,
	AlgECMQV:     testMQV,
	AlgSM2:       testSM2,
	AlgMLKEM:     testMLKEM,
	AlgMLDSA:     testMLDSA,
	AlgHashMLDSA: testHashMLDSA,
}

func answer(got []byte, want string) error {
	if !bytes.Equal(got, mustDecode(want)) {
		return errAnswer
	}
	return nil
}

func fill(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

// mustDecode reads one of the constants of this package.
func mustDecode(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic("tpmcrypto: internal error: self test constant")
	}
	return b
}

// testHash checks "abc" (FIPS 180-4 and 202 examples).
func testHash(a Alg) error {
	want := map[Alg]string{
		AlgSHA1:     "a9993e364706816aba3e25717850c26c9cd0d89d",
		AlgSHA256:   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		AlgSHA384:   "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
		AlgSHA512:   "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
		AlgSHA3_256: "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
		AlgSHA3_384: "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1edf228376d25",
		AlgSHA3_512: "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
	}[a]
	return answer(Sum(a, []byte("abc")), want)
}

func testMode(mode Alg, want string) error {
	b, err := NewBlock(AlgAES, mustDecode("2b7e151628aed2a6abf7158809cf4f3c"))
	if err != nil {
		return err
	}
	ivs := map[Alg]string{AlgECB: "", AlgCTR: "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"}
	iv, ok := ivs[mode]
	if !ok {
		iv = "000102030405060708090a0b0c0d0e0f"
	}
	data := mustDecode("6bc1bee22e409f96e93d7e117393172a")
	plain := bytes.Clone(data)
	if err := Encrypt(b, mode, mustDecode(iv), data); err != nil {
		return err
	}
	if err := answer(data, want); err != nil {
		return err
	}
	if err := Decrypt(b, mode, mustDecode(iv), data); err != nil {
		return err
	}
	if !bytes.Equal(data, plain) {
		return errAnswer
	}
	return nil
}

// testTDES is SP 800-67, appendix B.1.
func testTDES() error {
	b, err := NewBlock(AlgTDES, mustDecode("0123456789abcdef23456789abcdef01456789abcdef0123"))
	if err != nil {
		return err
	}
	data := mustDecode("5468652071756663" + "6b2062726f776e20" + "666f78206a756d70")
	if err := Encrypt(b, AlgECB, nil, data); err != nil {
		return err
	}
	return answer(data, "a826fd8ce53b855f"+"cce21c8112256fe6"+"68d5c05dd9b6b900")
}
