package tpm2

import (
	"bytes"
	"testing"
)

func TestEvictControl(t *testing.T) {
	x := newTestTPM(t)
	evict := func(auth, h, to Handle) response {
		return x.cmdS(TPM_CC_EvictControl, handles(auth, h), pw(""), u32(uint32(to)))
	}
	owner := x.storageParent()
	eh := x.createPrimaryKey(TPM_RH_ENDORSEMENT, "", eccTemplate(attrsStorage)).handle
	platform := x.createPrimaryKey(TPM_RH_PLATFORM, "", eccTemplate(attrsStorage)).handle
	name := bytes.Clone(x.transient(owner).name)
	x.ok(evict(TPM_RH_OWNER, owner, 0x81000000))
	x.ok(evict(TPM_RH_OWNER, eh, 0x817FFFFF))
	x.ok(evict(TPM_RH_PLATFORM, platform, 0x81800000))
	x.create(owner, "", nil, eccTemplate(attrsSign)) // both can be used
	c := x.create(0x81000000, "", nil, eccTemplate(attrsSign))
	x.reboot()
	x.start(TPM_SU_CLEAR)
	x.drop(x.load(0x81000000, c))
	if r := x.ok(x.cmd(TPM_CC_ReadPublic, handles(0x81000000))).reader(); func() bool { r.public2B(publicPlain); return !bytes.Equal(r.name(), name) }() {
		t.Error("another key after a restart")
	}

	owner = x.storageParent()
	null := x.createPrimaryKey(TPM_RH_NULL, "", eccTemplate(attrsStorage)).handle
	stClear := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage|objStClear)).handle
	platform = x.createPrimaryKey(TPM_RH_PLATFORM, "", eccTemplate(attrsStorage)).handle
	public := x.loadPublic(x.transient(owner).pub, TPM_RH_OWNER)
	seq := x.ok(x.cmd(TPM_CC_HashSequenceStart, b2(nil), u16(uint16(TPM_ALG_SHA256)))).handle
	for _, tt := range []struct {
		name        string
		auth, h, to Handle
		rc          RC
	}{
		{"null hierarchy", TPM_RH_OWNER, null, 0x81000001, TPM_RC_ATTRIBUTES.Handle(2)},
		{"public area", TPM_RH_OWNER, public, 0x81000001, TPM_RC_ATTRIBUTES.Handle(2)},
		{"stClear", TPM_RH_OWNER, stClear, 0x81000001, TPM_RC_ATTRIBUTES.Handle(2)},
		{"sequence", TPM_RH_OWNER, seq, 0x81000001, TPM_RC_ATTRIBUTES.Handle(2)},
		{"owner for the platform's", TPM_RH_OWNER, platform, 0x81000001, TPM_RC_HIERARCHY.Handle(2)},
		{"platform for the owner's", TPM_RH_PLATFORM, owner, 0x81800001, TPM_RC_HIERARCHY.Handle(2)},
		{"platform range by owner", TPM_RH_OWNER, owner, 0x81800001, TPM_RC_RANGE.Param(1)},
		{"owner range by platform", TPM_RH_PLATFORM, platform, 0x81000001, TPM_RC_RANGE.Param(1)},
		{"in use", TPM_RH_OWNER, owner, 0x81000000, TPM_RC_NV_DEFINED},
		{"transient handle", TPM_RH_OWNER, owner, 0x80000001, TPM_RC_VALUE.Param(1)},
		{"other persistent handle", TPM_RH_OWNER, 0x81000000, 0x81000001, TPM_RC_HANDLE.Handle(2)},
		{"platform's by owner", TPM_RH_OWNER, 0x81800000, 0x81800000, TPM_RC_RANGE.Handle(2)},
		{"not there", TPM_RH_OWNER, 0x81000005, 0x81000005, TPM_RC_HANDLE.Handle(2)},
		{"endorsement", TPM_RH_ENDORSEMENT, owner, 0x81000001, TPM_RC_VALUE.Handle(1)},
	} {
		x.unchanged(func() {
			if r := evict(tt.auth, tt.h, tt.to); r.rc != tt.rc {
				t.Errorf("%s: %v, want %v", tt.name, r.rc, tt.rc)
			}
		})
	}
	x.ok(evict(TPM_RH_PLATFORM, 0x81000000, 0x81000000)) // platform may evict all
	x.ok(evict(TPM_RH_OWNER, 0x817FFFFF, 0x817FFFFF))
	x.ok(evict(TPM_RH_PLATFORM, 0x81800000, 0x81800000))
	for i := range maxPersistentFormer {
		x.ok(evict(TPM_RH_OWNER, owner, 0x81000000+Handle(i)))
	}
	x.unchanged(func() { x.want(evict(TPM_RH_OWNER, owner, 0x81001000), TPM_RC_NV_SPACE) })
	x.reboot()
	x.start(TPM_SU_CLEAR)
	if len(x.perm.objects) != maxPersistentFormer {
		t.Errorf("%d objects are left", len(x.perm.objects))
	}
}
