package tpm2

// selectRSAScheme is TPM20-P3 table 43. ok is false for TPM_RC_SCHEME. The null scheme
// is raw RSA.
func selectRSAScheme(own, in *TPMT_SCHEME) (s TPMT_SCHEME, ok bool) {
	if own.Scheme == TPM_ALG_NULL {
		return *in, true
	}
	if in.Scheme == TPM_ALG_NULL {
		return *own, schemeClass(own.Scheme) == schemeRSAEnc
	}
	return *in, *in == *own
}

// rsaLabel checks a label: when there is one it ends with a zero octet.
func rsaLabel(label []byte) bool { return len(label) == 0 || label[len(label)-1] == 0 }

// unrestrictedDecrypt checks that the key of handle 1 is of a type and free to decrypt
// whatever it is given: TPM_RC_KEY, TPM_RC_ATTRIBUTES.
func unrestrictedDecrypt(o *object, typ AlgID) RC {
	if o.seq != nil || o.pub.Type != typ {
		return TPM_RC_KEY.Handle(1)
	}
	if o.pub.Attributes.has(objRestricted) || !o.pub.Attributes.has(objDecrypt) {
		return TPM_RC_ATTRIBUTES.Handle(1)
	}
	return TPM_RC_SUCCESS
}
