package tpmcrypto

import "bytes"

// The RSA test key is key 10 of RSA Laboratories' PKCS #1 v2.1 vectors.
const (
	katModulus = "ae45ed5601cec6b8cc05f803935c674ddbe0d75c4c09fd7951fc6b0caec313a8df39970c518bffba5ed68f3f0d7f22a4029d413f1ae07e4ebe9e4177ce23e7f5404b569e4ee1bdcf3c1fb03ef113802d4f855eb9b5134b5a7c8085adcae6fa2fa1417ec3763be171b0c62b760ede23c12ad92b980884c641f5a8fac26bdad4a03381a22fe1b754885094c82506d4019a535a286afeb271bb9ba592de18dcf600c2aeeae56e02f7cf79fc14cf3bdc7cd84febbbf950ca90304b2219a7aa063aefa2c3c1980e560cd64afe779585b6107657b957857efde6010988ab7de417fc88d8f384c4e6e72c3f943e0c31c0c4a5cc36f879d8a3ac9d7d59860eaada6b83bb"
	katPrime   = "ecf5aecd1e5515fffacbd75a2816c6ebf49018cdfb4638e185d66a7396b6f8090f8018c7fd95cc34b857dc17f0cc6516bb1346ab4d582cadad7b4103352387b70338d084047c9d9539b6496204b3dd6ea442499207bec01f964287ff6336c3984658336846f56e46861881c10233d2176bf15a5e96ddc780bc868aa77d3ce769"
)

func katRSA() (*RSAPrivateKey, error) {
	return NewRSAPrivateKey(mustDecode(katModulus), 0, mustDecode(katPrime))
}

func testRSARaw() error {
	k, err := katRSA()
	if err != nil {
		return err
	}
	m := fill(0x3c, k.Public().Size())
	c, err := k.Public().RawEncrypt(m)
	if err != nil || bytes.Equal(c, m) {
		return errAnswer
	}
	back, err := k.RawDecrypt(c)
	if err != nil || !bytes.Equal(back, m) {
		return errAnswer
	}
	return nil
}

func testRSASign(pss bool) error {
	k, err := katRSA()
	if err != nil {
		return err
	}
	digest := Sum(AlgSHA256, []byte("abc"))
	sign, verify := k.SignPKCS1, k.Public().VerifyPKCS1
	if pss {
		sign, verify = k.SignPSS, k.Public().VerifyPSS
	}
	sig, err := sign(AlgSHA256, digest)
	if err != nil {
		return err
	}
	if err := verify(AlgSHA256, digest, sig); err != nil {
		return err
	}
	digest[0] ^= 1
	if verify(AlgSHA256, digest, sig) == nil {
		return errAnswer
	}
	return nil
}

func testRSAEncrypt(oaep bool) error {
	k, err := katRSA()
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

// katECC returns the key of RFC 6979 A.2.5.
func katECC() (*ECCPrivateKey, error) {
	return NewECCPrivateKey(CurveP256, mustDecode("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"))
}

// testECC checks [d]G on P-256 (RFC 6979 A.2.5) and the group law on all
// curves: [n-1]G + G is infinity.
func testECC() error {
	k, err := katECC()
	if err != nil {
		return err
	}
	if err := answer(k.pub.q.X, "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"); err != nil {
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

// testMQV lets two parties agree.
func testMQV() error {
	src := PrimaryDRBG(nil, nil, "self test")
	var k [4]*ECCPrivateKey // static A, ephemeral A, static B, ephemeral B
	for i := range k {
		var err error
		if k[i], err = GenerateECC(CurveP256, src); err != nil {
			return err
		}
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

func testSM2() error {
	k, err := GenerateECC(CurveSM2, PrimaryDRBG(nil, nil, "self test"))
	if err != nil {
		return err
	}
	digest := Sum(AlgSHA256, []byte("sample"))
	sig, err := k.SignSM2(PrimaryDRBG(nil, nil, "self test 2"), digest)
	if err != nil || k.Public().VerifySM2(digest, sig) != nil {
		return errAnswer
	}
	digest[0] ^= 1
	if k.Public().VerifySM2(digest, sig) == nil {
		return errAnswer
	}
	return nil
}
