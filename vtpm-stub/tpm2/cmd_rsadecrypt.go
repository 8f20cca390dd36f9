package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdRSADecrypt is TPM2_RSA_Decrypt (TPM20-P3 section 14.3).
//
//	TPM_RC_ATTRIBUTES  H1  the key is restricted, or not a decryption key
//	TPM_RC_KEY         H1  not an RSA key
//	TPM_RC_SCHEME      P2  the scheme is not the key's, or the key has a signing scheme
//	TPM_RC_SIZE        P1  cipherText has not the size of the modulus
//	TPM_RC_VALUE       P1  cipherText is not below the modulus, or the padding is wrong
//	TPM_RC_VALUE       P3  the label does not end with a zero octet
func cmdRSADecrypt(t *TPM, c *call) RC {
	cipherText := c.in.param().b2(maxRSABytes)
	in := c.in.param().rsaDecrypt()
	label := c.in.param().data()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	if rc := unrestrictedDecrypt(o, TPM_ALG_RSA); rc != TPM_RC_SUCCESS {
		return rc
	}
	k, rc := o.rsaKey()
	if rc != TPM_RC_SUCCESS {
		return TPM_RC_KEY.Handle(1)
	}
	if !rsaLabel(label) {
		return TPM_RC_VALUE.Param(3)
	}
	s, ok := selectRSAScheme(&o.pub.Scheme, &in)
	if !ok {
		return TPM_RC_SCHEME.Param(2)
	}
	if len(cipherText) != k.Public().Size() {
		return TPM_RC_SIZE.Param(1)
	}
	out, err := decryptRSA(k, &s, label, cipherText)
	if err != nil {
		return TPM_RC_VALUE.Param(1)
	}
	c.out.b2(out)
	return TPM_RC_SUCCESS
}

func decryptRSA(k *tpmcrypto.RSAPrivateKey, s *TPMT_SCHEME, label, cipherText []byte) ([]byte, error) {
	switch s.Scheme {
	case TPM_ALG_OAEP:
		return k.DecryptOAEP(s.Hash, label, cipherText)
	case TPM_ALG_RSAES:
		return k.DecryptPKCS1(cipherText)
	}
	return k.RawDecrypt(cipherText)
}
