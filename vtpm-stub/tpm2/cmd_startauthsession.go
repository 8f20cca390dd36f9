package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// minNonce is the least size of nonceCaller.
const minNonce = 16

// cmdStartAuthSession is TPM2_StartAuthSession (TPM20-P3 section 11.1).
//
//	TPM_RC_ATTRIBUTES   H1  tpmKey is not a decryption key
//	TPM_RC_CONTEXT_GAP      the oldest saved session must be loaded first
//	TPM_RC_HANDLE  H1 or H2 the sensitive part is not loaded
//	TPM_RC_HANDLE       H2  bind is a PIN index: its authValue as a key would be
//	                        guessed without being counted (TPM20-P1 section 37.2.8.3)
//	TPM_RC_HASH         P5  authHash is not implemented
//	TPM_RC_KEY          H1  tpmKey is not asymmetric
//	TPM_RC_MODE         P4  the mode of a block cipher is not CFB
//	TPM_RC_SESSION_HANDLES, TPM_RC_SESSION_MEMORY  no free slot
//	TPM_RC_SIZE         P1  nonceCaller is shorter than 16 octets or longer than
//	                        the digest of authHash
//	TPM_RC_SYMMETRIC    P4  unknown cipher
//	TPM_RC_VALUE        H1  tpmKey has another scheme than OAEP
//	TPM_RC_VALUE        P2  encryptedSalt cannot be decrypted, or is there
//	                        without tpmKey
//	TPM_RC_VALUE        P3  sessionType is unknown
func cmdStartAuthSession(t *TPM, c *call) RC {
	nonce := c.in.param().digest()
	salt := c.in.param().b2(maxEncryptedSecret)
	kind := sessionKind(c.in.param().u8())
	if c.in.rc == TPM_RC_SUCCESS && kind != TPM_SE_HMAC && kind != TPM_SE_POLICY && kind != TPM_SE_TRIAL {
		c.in.fail(TPM_RC_VALUE)
	}
	sym := c.in.param().symDef(true)
	hash := c.in.param().hash(false)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if sym.KeyBits != 0 && sym.Mode != TPM_ALG_CFB {
		return TPM_RC_MODE.Param(4)
	}
	if len(nonce) < minNonce || len(nonce) > hash.DigestSize() {
		return TPM_RC_SIZE.Param(1)
	}
	secret, rc := t.sessionSalt(c.object(0), salt)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	bind := &c.h[1]
	if bind.obj != nil && !bind.obj.private && bind.obj.seq == nil || isPIN(bind) {
		return TPM_RC_HANDLE.Handle(2)
	}
	if t.contextGapReached() {
		return TPM_RC_CONTEXT_GAP
	}
	s := &session{kind: kind, hash: hash, sym: sym}
	s.nonceCaller.set(nonce)
	s.nonceTPM.n = len(nonce)
	t.random(s.nonceTPM.bytes())
	t.setSessionKey(s, bind, c.object(0) != nil, secret)
	if s.isPolicy() {
		s.policy.digest.n = hash.DigestSize()
		s.policy.startTime, s.policy.epoch = t.msTime(), t.perm.timeEpoch
	}
	if rc := t.newSession(s); rc != TPM_RC_SUCCESS {
		return rc
	}
	c.setHandle(s.handle)
	c.out.b2(s.nonceTPM.bytes())
	return TPM_RC_SUCCESS
}

// maxEncryptedSecret is the size of a TPMU_ENCRYPTED_SECRET.
const maxEncryptedSecret = maxMLKEMCiphertext

// sessionSalt decrypts the salt for tpmKey, which is nil for TPM_RH_NULL.
func (t *TPM) sessionSalt(key *object, encrypted []byte) ([]byte, RC) {
	if key == nil {
		if len(encrypted) != 0 {
			return nil, TPM_RC_VALUE.Param(2)
		}
		return nil, TPM_RC_SUCCESS
	}
	switch {
	case !key.pub.asymmetric():
		return nil, TPM_RC_KEY.Handle(1)
	case !key.private:
		return nil, TPM_RC_HANDLE.Handle(1)
	case !key.pub.Attributes.has(objDecrypt):
		return nil, TPM_RC_ATTRIBUTES.Handle(1)
	case key.pub.Type == TPM_ALG_RSA && key.pub.Scheme.Scheme != TPM_ALG_NULL && key.pub.Scheme.Scheme != TPM_ALG_OAEP:
		return nil, TPM_RC_VALUE.Handle(1)
	}
	s, rc := t.recoverSecret(key, tpmcrypto.LabelSecret, encrypted)
	return s, rc.Param(2)
}

// setSessionKey derives sessionKey from the authValue of bind and the salt
// (TPM20-P1 section 19.6.8) and, for an HMAC session, binds it.
func (t *TPM) setSessionKey(s *session, bind *entity, salted bool, salt []byte) {
	bound := bind.h != TPM_RH_NULL
	if !bound && !salted {
		return
	}
	var key [2 * maxDigest]byte // no salt is longer than a digest
	n := 0
	if bound {
		auth := t.authValue(bind)
		n = copy(key[:], auth)
		if s.kind == TPM_SE_HMAC {
			s.bound = true
			s.bindName = append([]byte(nil), t.bindName(bind)...)
			s.bindAuth.set(auth)
		}
		s.daBound = daProtected(bind)
		s.lockedBound = bind.h == TPM_RH_LOCKOUT
	}
	n += copy(key[n:], salt)
	k := t.hash.KDFa(s.hash, s.key.b[:0], key[:n], "ATH", s.nonceTPM.bytes(), s.nonceCaller.bytes(), s.hash.DigestSize()*8)
	s.key.n = len(k)
	clear(key[:])
	clear(salt)
}
