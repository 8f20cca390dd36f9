package tpm2

// cmdImport is TPM2_Import (TPM20-P3 section 13.3): makes a duplicate an object
// of a new parent, to be loaded with TPM2_Load.
//
//	TPM_RC_ATTRIBUTES     P2  fixedTPM or fixedParent; attributes contradict each
//	                          other or the parent
//	TPM_RC_ATTRIBUTES P1, P4  encryptedDuplication without inner or outer wrapper
//	TPM_RC_BINDING            the areas do not belong together
//	TPM_RC_ECC_POINT      P2  the public point is not on the curve
//	TPM_RC_INTEGRITY      P3  duplicate was changed, or the keys are not its
//	TPM_RC_KDF            P2  an ECC key with a KDF
//	TPM_RC_KEY        H1, P2  the parent's key is not valid; unique is not of
//	                          the key's size, or no modulus
//	TPM_RC_KEY_SIZE       P3  the size of the key is not that of the public area
//	TPM_RC_RANGE          P2  RSA exponent
//	TPM_RC_SCHEME         P2  scheme does not fit the attributes
//	TPM_RC_SIZE           P1  encryptionKey does not have the cipher's size, or is
//	                          there without a cipher
//	TPM_RC_SIZE       P2, P3  a field of the wrong size
//	TPM_RC_SYMMETRIC      P2  symmetric does not fit the attributes
//	TPM_RC_TYPE           H1  the parent is not a storage key, or not asymmetric
//	                          and inSymSeed is there
//	TPM_RC_TYPE           P3  the sensitive area is of another type
//	TPM_RC_VALUE          P4  inSymSeed is not one for the parent
func cmdImport(t *TPM, c *call) RC {
	key := c.in.param().data()
	pub := c.in.param().public2B(publicPlain)
	blob := c.in.param().b2(maxPrivate)
	secret := c.in.param().b2(maxEncryptedSecret)
	sym := c.in.param().symDefObject(true)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	parent, rc := c.storageParent(0)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	if rc := checkImport(&pub, parent, key, secret, &sym); rc != TPM_RC_SUCCESS {
		return rc
	}
	name := t.computeName(&pub)
	if len(secret) != 0 {
		if blob, rc = t.outerUnwrap(parent, name, blob, secret, 3, 4); rc != TPM_RC_SUCCESS {
			return rc
		}
	}
	if len(key) != 0 {
		if blob, rc = t.innerUnwrap(pub.NameAlg, name, &sym, key, blob); rc != TPM_RC_SUCCESS {
			return rc.Param(3)
		}
	}
	sens, rc := readSensitive(blob)
	if rc != TPM_RC_SUCCESS {
		return rc.Param(3)
	}
	o, rc := t.bindObject(&pub, &sens, 2, 3)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	o.name = name
	c.out.b2(t.wrapPrivate(parent, o))
	wipeObject(o)
	return TPM_RC_SUCCESS
}

// checkImport checks what can be known before anything is decrypted.
func checkImport(pub *TPMT_PUBLIC, parent *object, key, secret []byte, sym *TPMT_SYM_DEF) RC {
	a := pub.Attributes
	switch {
	case len(key) != int(sym.KeyBits)/8:
		return TPM_RC_SIZE.Param(1)
	case a&(objFixedTPM|objFixedParent) != 0:
		return TPM_RC_ATTRIBUTES.Param(2)
	case a.has(objEncryptedDuplication) && len(secret) == 0:
		return TPM_RC_ATTRIBUTES.Param(4)
	case a.has(objEncryptedDuplication) && len(key) == 0:
		return TPM_RC_ATTRIBUTES.Param(1)
	}
	if rc := checkPublic(pub, parent, false); rc != TPM_RC_SUCCESS {
		return rc.Param(2)
	}
	return TPM_RC_SUCCESS
}
