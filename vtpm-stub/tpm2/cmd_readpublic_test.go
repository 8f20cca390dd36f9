package tpm2

import (
	"bytes"
	"testing"
)

func TestReadPublic(t *testing.T) {
	x := newTestTPM(t)
	c := parseCreated(t, x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", eccTemplate(attrsStorage)))
	r := x.ok(x.cmd(TPM_CC_ReadPublic, handles(c.handle))).reader()
	pub, name, qname := r.public2B(publicPlain), r.name(), r.name()
	if r.end() != TPM_RC_SUCCESS || !bytes.Equal(name, c.name) || !bytes.Equal(pub.X, c.pub.X) {
		t.Error("public area or Name")
	}
	want := join(u16(uint16(TPM_ALG_SHA256)), x.hash.Sum(TPM_ALG_SHA256, nil, handleName(TPM_RH_ENDORSEMENT), name))
	if !bytes.Equal(qname, want) {
		t.Errorf("Qualified Name %x, want %x", qname, want)
	}
	// A persistent object is read while its hierarchies are enabled.
	x.addPersistent(x.transient(c.handle), 0x81010001)
	x.ok(x.cmd(TPM_CC_ReadPublic, handles(0x81010001)))
	for _, h := range []*hierarchy{&x.owner, &x.endorsement} {
		h.enabled = false
		x.want(x.cmd(TPM_CC_ReadPublic, handles(0x81010001)), TPM_RC_HANDLE.Handle(1))
		h.enabled = true
	}
	x.addObject(&object{hierarchy: TPM_RH_NULL, seq: &sequence{kind: seqHash}})
	x.want(x.cmd(TPM_CC_ReadPublic, handles(TRANSIENT_FIRST+1)), TPM_RC_SEQUENCE)
	x.want(x.cmd(TPM_CC_ReadPublic, handles(c.handle), []byte{0}), TPM_RC_SIZE)
}
