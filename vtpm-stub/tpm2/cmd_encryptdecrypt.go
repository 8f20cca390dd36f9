package tpm2

import (
	"bytes"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// cmdEncryptDecrypt is TPM2_EncryptDecrypt (TPM20-P3 section 15.2).
//
//	TPM_RC_ATTRIBUTES  H1   the key is restricted, or not for this direction
//	TPM_RC_KEY         H1   the key is not a SYMCIPHER
//	TPM_RC_MODE        P2   mode is not the key's, neither names one, or it is no cipher mode
//	TPM_RC_SIZE        P3   ivIn is not one block (for ECB: nor empty)
//	TPM_RC_SIZE        P4   inData is not whole blocks (CBC, ECB), or over 1024 octets
//	TPM_RC_VALUE       P1   decrypt is neither YES nor NO
func cmdEncryptDecrypt(_ *TPM, c *call) RC {
	decrypt := c.in.param().yesNo()
	mode := c.in.param().symMode(true)
	iv := c.in.param().b2(maxSymBlock)
	data := c.in.param().maxBuffer()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	return symmetric(c, decrypt, mode, iv, data, 2)
}

// symmetric does the work of both commands; p is the number of the mode
// parameter. In TPM2_EncryptDecrypt the data follow the IV, in the other they are
// the first parameter.
func symmetric(c *call, decrypt bool, mode AlgID, iv, data []byte, p int) RC {
	o := c.object(0)
	need := objSign // SET means encrypt for a symmetric cipher
	if decrypt {
		need = objDecrypt
	}
	switch {
	case o.seq != nil || o.pub.Type != TPM_ALG_SYMCIPHER:
		return TPM_RC_KEY.Handle(1)
	case o.pub.Attributes.has(objRestricted) || !o.pub.Attributes.has(need):
		return TPM_RC_ATTRIBUTES.Handle(1)
	}
	if own := o.pub.Sym.Mode; own != TPM_ALG_NULL {
		if mode != TPM_ALG_NULL && mode != own {
			return TPM_RC_MODE.Param(p)
		}
		mode = own
	}
	if mode == TPM_ALG_NULL || mode == TPM_ALG_CMAC {
		return TPM_RC_MODE.Param(p)
	}
	dataParam := p + 2
	if p == 3 {
		dataParam = 1
	}
	block, err := tpmcrypto.NewBlock(o.pub.Sym.Algorithm, o.sens.Sensitive)
	if err != nil {
		return TPM_RC_KEY.Handle(1)
	}
	if len(iv) != block.BlockSize() && (mode != TPM_ALG_ECB || len(iv) != 0) {
		return TPM_RC_SIZE.Param(p + 1)
	}
	if mode == TPM_ALG_ECB {
		iv = nil // tpm2-tools always sends one
	}
	crypt := tpmcrypto.Encrypt
	if decrypt {
		crypt = tpmcrypto.Decrypt
	}
	out, ivOut := bytes.Clone(data), bytes.Clone(iv)
	if err := crypt(block, mode, ivOut, out); err != nil {
		return TPM_RC_SIZE.Param(dataParam)
	}
	c.out.b2(out)
	c.out.b2(ivOut)
	return TPM_RC_SUCCESS
}
