package tpmcrypto

import (
	"bytes"
	"sync"
)

// The RSA test keys are keys 10 and 1 of RSA Laboratories' PKCS #1 v2.1 vectors. The
// small one serves the raw power and the schemes, as the signature covers 2048 bits. The
// signature is of the SHA-256 digest of "abc"; the power is (3c3c...3c)^65537 modulo the
// small modulus.
const (
	katModulus      = "ae45ed5601cec6b8cc05f803935c674ddbe0d75c4c09fd7951fc6b0caec313a8df39970c518bffba5ed68f3f0d7f22a4029d413f1ae07e4ebe9e4177ce23e7f5404b569e4ee1bdcf3c1fb03ef113802d4f855eb9b5134b5a7c8085adcae6fa2fa1417ec3763be171b0c62b760ede23c12ad92b980884c641f5a8fac26bdad4a03381a22fe1b754885094c82506d4019a535a286afeb271bb9ba592de18dcf600c2aeeae56e02f7cf79fc14cf3bdc7cd84febbbf950ca90304b2219a7aa063aefa2c3c1980e560cd64afe779585b6107657b957857efde6010988ab7de417fc88d8f384c4e6e72c3f943e0c31c0c4a5cc36f879d8a3ac9d7d59860eaada6b83bb"
	katPrime        = "ecf5aecd1e5515fffacbd75a2816c6ebf49018cdfb4638e185d66a7396b6f8090f8018c7fd95cc34b857dc17f0cc6516bb1346ab4d582cadad7b4103352387b70338d084047c9d9539b6496204b3dd6ea442499207bec01f964287ff6336c3984658336846f56e46861881c10233d2176bf15a5e96ddc780bc868aa77d3ce769"
	katSignature    = "17f5ee59178c7c2c75317e6a67c6a5f3317636370caa2cba4d12069d1c67651719698c011c6dd6f82bc3ea0b8b18dacf0b4341d7c93fa5a1e49fd98225e79e0d267d9fb4073ee771c656ac2e0acf30ca2eadd3194d8851ae479defec5579f192fad6feddb8390b061cf8a7696dc5a170dc52f7214d33de592ddf426b9868a57d0f64c7bdae77b8c3b8d1342707100701c90b9b85aeef93bed6f103ad02aeb583f19c073a6e2ad91b87bb4e67ddfc5fb991b35b4ddcae152c2ab50786a1b7d8ab1f223d40d4e50df028d82572a36692051a8d69cd24406257f36c7901dd4af769c0eb914e7e6e900ae443b89969a7490c927de68df81c9aa69681b5a347e3ebb0"
	katPower        = "494a7840a42e70fd367f24941ab6bc51772cb923ff07f22a6098c713c294dd662e3982b52e82f160c7d21f3722d056a9d26baaa417813893a031f7038f660c7247065e0f788933e4a27d08eb1443474325ada05cafb0a28896e126e249baebbc91f8964029fee0aac88b21221dfc7fb14c32690f8186fdab7ea05fabcac0f0fe"
	katSmallModulus = "a8b3b284af8eb50b387034a860f146c4919f318763cd6c5598c8ae4811a1e0abc4c7e0b082d693a5e7fced675cf4668512772c0cbc64a742c6c630f533c8cc72f62ae833c40bf25842e984bb78bdbf97c0107d55bdb662f5c4e0fab9845cb5148ef7392dd3aaff93ae1e6b667bb3d4247616d4f5ba10d4cfd226de88d39f16fb"
	katSmallPrime   = "d32737e7267ffe1341b2d5c0d150a81b586fb3132bed2f8d5262864a9cb9f30af38be448598d413a172efb802c21acf1c11c520c2f26a471dcad212eac7ca39d"
)

// The test keys are parsed once.
var (
	katRSA = sync.OnceValues(func() (*RSAPrivateKey, error) {
		return NewRSAPrivateKey(mustDecode(katModulus), 0, mustDecode(katPrime))
	})
	katSmallRSA = sync.OnceValues(func() (*RSAPrivateKey, error) {
		return NewRSAPrivateKey(mustDecode(katSmallModulus), 0, mustDecode(katSmallPrime))
	})
)

func testRSARaw() error {
	k, err := katSmallRSA()
	if err != nil {
		return err
	}
	m := fill(0x3c, k.Public().Size())
	c, err := k.Public().RawEncrypt(m)
	if err != nil || answer(c, katPower) != nil {
		return errAnswer
	}
	back, err := k.RawDecrypt(c)
	if err != nil || !bytes.Equal(back, m) {
		return errAnswer
	}
	return nil
}

// testRSASSA checks the one signature that there is.
func testRSASSA() error {
	k, err := katRSA()
	if err != nil {
		return err
	}
	digest := Sum(AlgSHA256, []byte("abc"))
	sig, err := k.SignPKCS1(AlgSHA256, digest)
	if err != nil || answer(sig, katSignature) != nil || k.Public().VerifyPKCS1(AlgSHA256, digest, sig) != nil {
		return errAnswer
	}
	digest[0] ^= 1
	if k.Public().VerifyPKCS1(AlgSHA256, digest, sig) == nil {
		return errAnswer
	}
	return nil
}

// testRSAPSS is pairwise, as signatures have a random salt.
func testRSAPSS() error {
	k, err := katSmallRSA()
	if err != nil {
		return err
	}
	digest := Sum(AlgSHA256, []byte("abc"))
	sig, err := k.SignPSS(AlgSHA256, digest)
	if err != nil || k.Public().VerifyPSS(AlgSHA256, digest, sig) != nil {
		return errAnswer
	}
	digest[0] ^= 1
	if k.Public().VerifyPSS(AlgSHA256, digest, sig) == nil {
		return errAnswer
	}
	return nil
}

func testRSAEncrypt(oaep bool) error {
	k, err := katSmallRSA()
	if err != nil {
		return err
	}
	msg, label := []byte("known answer"), []byte("SELFTEST\x00")
	var c, m []byte
	if oaep {
		if c, err = k.Public().EncryptOAEP(AlgSHA256, label, msg); err == nil {
			m, err = k.DecryptOAEP(AlgSHA256, label, c)
		}
	} else if c, err = k.Public().EncryptPKCS1(msg); err == nil {
		m, err = k.DecryptPKCS1(c)
	}
	if err != nil || !bytes.Equal(m, msg) {
		return errAnswer
	}
	return nil
}

// The ECC test keys are those of RFC 6979 A.2.5 and of GB/T 32918.5 A.2.
var (
	katECC = sync.OnceValues(func() (*ECCPrivateKey, error) {
		return NewECCPrivateKey(CurveP256, mustDecode("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"))
	})
	katSM2 = sync.OnceValues(func() (*ECCPrivateKey, error) {
		return NewECCPrivateKey(CurveSM2, mustDecode("3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8"))
	})
)

// testECC checks [d]G on P-256 (RFC 6979 A.2.5) and the group law on all
// curves: [n-1]G + G is infinity.
func testECC() error {
	q, err := GroupOf(CurveP256).BaseMul(mustDecode("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"))
	if err != nil {
		return err
	}
	if err := answer(q.X, "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"); err != nil {
		return err
	}
	for _, c := range Curves() {
		g := GroupOf(c)
		p, err := g.BaseMul(g.order.minus(1))
		if err != nil || p.IsInfinity() || !g.Add(p, g.Generator()).IsInfinity() {
			return errAnswer
		}
	}
	return nil
}

// testECDSA is RFC 6979 A.2.5, SHA-256, message "sample".
func testECDSA() error {
	k, err := katECC()
	if err != nil {
		return err
	}
	digest := Sum(AlgSHA256, []byte("sample"))
	sig := ECSignature{
		mustDecode("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"),
		mustDecode("f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"),
	}
	if err := k.Public().VerifyECDSA(digest, sig); err != nil {
		return err
	}
	own, err := k.SignECDSA(PrimaryDRBG(nil, nil, "self test"), digest)
	if err != nil || k.Public().VerifyECDSA(digest, own) != nil {
		return errAnswer
	}
	digest[0] ^= 1
	if k.Public().VerifyECDSA(digest, sig) == nil {
		return errAnswer
	}
	return nil
}

func testECDH() error {
	k, err := katECC()
	if err != nil {
		return err
	}
	seed, e, err := ShareECC(k.Public(), AlgSHA256, LabelSecret, PrimaryDRBG(nil, nil, "self test"))
	if err != nil {
		return err
	}
	got, err := RecoverECC(k, AlgSHA256, LabelSecret, e)
	if err != nil || !Equal(got, seed) {
		return errAnswer
	}
	return nil
}

func testSchnorr() error {
	k, err := katECC()
	if err != nil {
		return err
	}
	digest := Sum(AlgSHA256, []byte("sample"))
	sig, err := k.SignSchnorr(PrimaryDRBG(nil, nil, "self test"), AlgSHA256, digest)
	if err != nil || k.Public().VerifySchnorr(AlgSHA256, digest, sig) != nil {
		return errAnswer
	}
	digest[0] ^= 1
	if k.Public().VerifySchnorr(AlgSHA256, digest, sig) == nil {
		return errAnswer
	}
	return nil
}

// testECDAA checks s G = r G + T Q, T = H(k || P).
func testECDAA() error {
	k, err := katECC()
	if err != nil {
		return err
	}
	g, p := k.pub.g, Sum(AlgSHA256, []byte("sample"))
	r, err := g.CommitScalar(AlgSHA256, fill(7, 32), []byte("name"), 1)
	if err != nil {
		return err
	}
	sig, err := k.SignECDAA(PrimaryDRBG(nil, nil, "self test"), AlgSHA256, r, p)
	if err != nil {
		return err
	}
	t := g.order.Bytes(g.order.Reduce(Sum(AlgSHA256, sig.R, p)))
	if !g.baseMul(sig.S).Equal(g.Add(g.baseMul(r), g.mul(t, k.pub.q))) {
		return errAnswer
	}
	return nil
}

// katMQV makes the keys of two parties: static and ephemeral of A, then of B.
var katMQV = sync.OnceValues(func() (k [4]*ECCPrivateKey, err error) {
	src := PrimaryDRBG(nil, nil, "self test")
	for i := range k {
		if k[i], err = GenerateECC(CurveP256, src); err != nil {
			return k, err
		}
	}
	return k, nil
})

// testMQV lets two parties agree.
func testMQV() error {
	k, err := katMQV()
	if err != nil {
		return err
	}
	a, err := k[0].ZGenMQV(k[1].d, k[2].pub.q, k[3].pub.q)
	if err != nil {
		return err
	}
	b, err := k[2].ZGenMQV(k[3].d, k[0].pub.q, k[1].pub.q)
	if err != nil || a.IsInfinity() || !a.Equal(b) {
		return errAnswer
	}
	return nil
}

// testSM2 signs with a known number, which has one answer.
func testSM2() error {
	k, err := katSM2()
	if err != nil {
		return err
	}
	digest := Sum(AlgSHA256, []byte("sample"))
	sig, err := k.SignSM2(PrimaryDRBG(nil, nil, "self test"), digest)
	if err != nil {
		return err
	}
	if err := answer(append(sig.R, sig.S...), "b42c94d8adcae9fc2b14edbed5aae16024ca9cb846f291cf78793bb59f4348cb"+
		"256db0125917c5af398ebbf4765e6df2a33b3e19d266fc6eb274ae97ccc74cb7"); err != nil {
		return err
	}
	if err := k.Public().VerifySM2(digest, sig); err != nil {
		return err
	}
	digest[0] ^= 1
	if k.Public().VerifySM2(digest, sig) == nil {
		return errAnswer
	}
	return nil
}
