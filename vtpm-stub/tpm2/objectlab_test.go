package tpm2

// Attributes of keys that may leave their parent.
const (
	attrsDup        = objSensitiveDataOrigin | objUserWithAuth | objNoDA
	attrsDupStorage = attrsDup | objRestricted | objDecrypt
	attrsSealed     = objFixedTPM | objFixedParent | objUserWithAuth | objNoDA
)

// child is what TPM2_Create returned.
type child struct {
	private []byte
	pub     TPMT_PUBLIC

	data, hash []byte
	ticket     TPMT_TK
}

// load2 are the parameters of TPM2_Load.
func load2(private []byte, pub *TPMT_PUBLIC) []byte {
	return join(b2(private), marshal(maxPublic, func(w *writer) { w.public2B(pub) }))
}

// create makes a child of a parent with an empty authValue.
func (x *testTPM) create(parent Handle, auth string, data []byte, pub TPMT_PUBLIC) child {
	x.t.Helper()
	in := x.ok(x.cmdS(TPM_CC_Create, handles(parent), pw(""), createParams(auth, data, pub))).reader()
	c := child{private: in.b2(maxPrivate), pub: in.public2B(publicPlain)}
	c.data, c.hash, c.ticket = in.b2(2048), in.digest(), in.ticket(TPM_ST_CREATION)
	if rc := in.end(); rc != TPM_RC_SUCCESS {
		x.t.Fatal("malformed response:", rc)
	}
	return c
}

// load loads a child of a parent with an empty authValue.
func (x *testTPM) load(parent Handle, c child) Handle {
	x.t.Helper()
	return x.ok(x.cmdS(TPM_CC_Load, handles(parent), pw(""), load2(c.private, &c.pub))).handle
}

func (x *testTPM) drop(hs ...Handle) {
	x.t.Helper()
	for _, h := range hs {
		x.ok(x.cmd(TPM_CC_FlushContext, handles(h)))
	}
}

// external are the parameters of TPM2_LoadExternal; sens may be nil.
func external(sens *TPMT_SENSITIVE, pub *TPMT_PUBLIC, h Handle) []byte {
	area := b2(nil)
	if sens != nil {
		area = marshal(maxPrivate, func(w *writer) { w.sensitive2B(sens) })
	}
	return join(area, marshal(maxPublic, func(w *writer) { w.public2B(pub) }), u32(uint32(h)))
}

// loadPublic loads the public area of an object alone.
func (x *testTPM) loadPublic(pub TPMT_PUBLIC, h Handle) Handle {
	x.t.Helper()
	return x.ok(x.cmd(TPM_CC_LoadExternal, external(nil, &pub, h))).handle
}

// sealed is a template for data with an optional policy.
func sealedTemplate(policy []byte) TPMT_PUBLIC {
	p := keyedHashTemplate(attrsSealed)
	p.AuthPolicy = policy
	return p
}

// dupPolicy is the policyDigest of PolicyCommandCode(TPM_CC_Duplicate) alone.
func dupPolicy(x *testTPM) []byte {
	return x.hash.Sum(TPM_ALG_SHA256, nil, make([]byte, 32), u32(uint32(TPM_CC_PolicyCommandCode)), u32(uint32(TPM_CC_Duplicate)))
}

// dupSession starts a policy session that allows duplication.
func (x *testTPM) dupSession() Handle {
	x.t.Helper()
	s := x.startSession(TPM_SE_POLICY, u16(uint16(TPM_ALG_NULL)))
	x.ok(x.cmd(TPM_CC_PolicyCommandCode, handles(s), u32(uint32(TPM_CC_Duplicate))))
	return s
}

// policyArea is an authorization area of one policy session without an HMAC.
func policyArea(s Handle) []byte {
	return join(u32(9), u32(uint32(s)), u16(0), []byte{sessContinue}, u16(0))
}

// storageParent makes an ECC storage key with an empty authValue.
func (x *testTPM) storageParent() Handle {
	x.t.Helper()
	return x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage)).handle
}
