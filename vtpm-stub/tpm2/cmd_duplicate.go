package tpm2

import (
	"crypto/cipher"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// cmdDuplicate is TPM2_Duplicate (TPM20-P3 section 13.1).
//
//	TPM_RC_ATTRIBUTES  H1  fixedParent of the object is SET
//	TPM_RC_HIERARCHY   H2  encryptedDuplication, and no new parent
//	TPM_RC_KEY         H2  the new parent's public key is not valid
//	TPM_RC_SIZE        P1  encryptionKeyIn does not have the cipher's size, or is
//	                       there without a cipher
//	TPM_RC_SYMMETRIC   P2  encryptedDuplication, and no inner wrapper
//	TPM_RC_TYPE        H1  the object has no Name
//	TPM_RC_TYPE        H2  the new parent is not an asymmetric storage key
func cmdDuplicate(t *TPM, c *call) RC {
	key := c.in.param().data()
	sym := c.in.param().symDefObject(true)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	o := c.object(0)
	parent, rc := checkDuplicate(c, o, key, &sym)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	area := sensitiveArea(o)
	defer clear(area)
	var keyOut, secret []byte
	blob := area
	if sym.Algorithm != TPM_ALG_NULL {
		if len(key) == 0 {
			keyOut = make([]byte, sym.KeyBits/8)
			t.random(keyOut)
			key = keyOut
		}
		blob = t.innerWrap(o, &sym, key, area)
	}
	if parent != nil {
		if blob, secret, rc = t.outerWrap(parent, o.name, blob); rc != TPM_RC_SUCCESS {
			return rc.Handle(2)
		}
	}
	c.out.b2(keyOut)
	c.out.b2(blob)
	c.out.b2(secret)
	return TPM_RC_SUCCESS
}

// checkDuplicate returns the new parent, nil for none.
func checkDuplicate(c *call, o *object, key []byte, sym *TPMT_SYM_DEF) (*object, RC) {
	switch {
	case o.pub.Attributes.has(objFixedParent):
		return nil, TPM_RC_ATTRIBUTES.Handle(1)
	case o.pub.NameAlg == TPM_ALG_NULL:
		return nil, TPM_RC_TYPE.Handle(1)
	}
	parent, rc := c.newParent(1)
	if rc != TPM_RC_SUCCESS {
		return nil, rc
	}
	if o.pub.Attributes.has(objEncryptedDuplication) {
		switch {
		case sym.Algorithm == TPM_ALG_NULL:
			return nil, TPM_RC_SYMMETRIC.Param(2)
		case parent == nil:
			return nil, TPM_RC_HIERARCHY.Handle(2)
		}
	}
	if len(key) != 0 && len(key) != int(sym.KeyBits)/8 {
		return nil, TPM_RC_SIZE.Param(1)
	}
	return parent, TPM_RC_SUCCESS
}

// innerCipher returns the cipher of an inner wrapper; sizes were checked.
func innerCipher(sym *TPMT_SYM_DEF, key []byte) cipher.Block {
	b, err := tpmcrypto.NewBlock(sym.Algorithm, key)
	if err != nil {
		panic("internal error: tpm2: inner wrapper: " + err.Error())
	}
	return b
}
