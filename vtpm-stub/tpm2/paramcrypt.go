package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// decryptParam decrypts the first parameter in place (TPM20-P1 clause 21).
func (t *TPM) decryptParam() RC {
	c := &t.call
	if c.decrypt < 0 {
		return TPM_RC_SUCCESS
	}
	a := &c.sessions[c.decrypt]
	r := reader{b: c.params}
	data := r.b2(0xFFFF)
	if r.rc != TPM_RC_SUCCESS {
		return r.rc.Param(1)
	}
	t.cryptParam(a, data, a.nonce, a.s.nonceTPM.bytes(), false)
	return TPM_RC_SUCCESS
}

// encryptParam encrypts the first response parameter in place. Nonces have
// been rolled.
func (t *TPM) encryptParam() {
	c := &t.call
	if c.encrypt < 0 {
		return
	}
	a := &c.sessions[c.encrypt]
	r := reader{b: c.out.b[c.rspStart:]}
	t.cryptParam(a, r.b2(0xFFFF), a.s.nonceTPM.bytes(), a.nonce, true)
}

// cryptParam applies the session's cipher under sessionValue and the nonces.
func (t *TPM) cryptParam(a *authSession, data, newer, older []byte, encrypt bool) {
	if len(data) == 0 {
		return
	}
	var buf [2 * maxDigest]byte
	n := copy(buf[:], a.s.key.bytes())
	n += copy(buf[n:], a.value.bytes()) // empty unless the session authorizes
	value := buf[:n]
	defer clear(buf[:])
	sym := &a.s.sym
	if sym.Algorithm == TPM_ALG_XOR {
		tpmcrypto.XORObfuscate(a.s.hash, data, value, newer, older)
		return
	}
	keyBytes := int(sym.KeyBits) / 8
	k := t.hash.KDFa(a.s.hash, nil, value, "CFB", newer, older, int(sym.KeyBits)+8*sym.Algorithm.SymBlockSize())
	defer clear(k)
	block, err := tpmcrypto.NewBlock(sym.Algorithm, k[:keyBytes])
	if err == nil && encrypt {
		err = tpmcrypto.Encrypt(block, TPM_ALG_CFB, k[keyBytes:], data)
	} else if err == nil {
		err = tpmcrypto.Decrypt(block, TPM_ALG_CFB, k[keyBytes:], data)
	}
	if err != nil {
		panic("internal error: tpm2: session cipher: " + err.Error())
	}
}
