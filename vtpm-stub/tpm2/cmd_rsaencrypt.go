package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// cmdRSAEncrypt is TPM2_RSA_Encrypt (TPM20-P3 section 14.2). Attributes of the key do
// not matter: whoever has the public key can do the same.
//
//	TPM_RC_KEY     H1  not an RSA key
//	TPM_RC_SCHEME  P2  the scheme is not the key's, or the key has a signing scheme
//	TPM_RC_VALUE   P1  the message is too long for the padding, or not below the modulus
//	TPM_RC_VALUE   P3  the label does not end with a zero octet
func cmdRSAEncrypt(t *TPM, c *call) RC {
	message := c.in.param().b2(maxRSABytes)
	in := c.in.param().rsaDecrypt()
	label := c.in.param().data()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	k, rc := o.rsaPublic()
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
	out, err := encryptRSA(k, &s, label, message)
	if err != nil {
		return TPM_RC_VALUE.Param(1)
	}
	c.out.b2(out)
	return TPM_RC_SUCCESS
}

func encryptRSA(k *tpmcrypto.RSAPublicKey, s *TPMT_SCHEME, label, message []byte) ([]byte, error) {
	switch s.Scheme {
	case TPM_ALG_OAEP:
		return k.EncryptOAEP(s.Hash, label, message)
	case TPM_ALG_RSAES:
		return k.EncryptPKCS1(message)
	}
	return k.RawEncrypt(message)
}
