package tpm2

import "sort"

// maxCapData is MAX_CAP_DATA: what a list in TPMS_CAPABILITY_DATA may take.
const maxCapData = maxCapBuffer - 8

// cmdGetCapability is TPM2_GetCapability (TPM20-P3 section 30.2). In failure
// mode it reports properties only.
//
//	TPM_RC_HANDLE  P2  TPM_CAP_HANDLES: property has an unknown handle type
//	TPM_RC_VALUE   P1  capability is unknown
//	TPM_RC_VALUE   P2  TPM_CAP_PCRS: property is not 0; TPM_CAP_ACT or
//	                   TPM_CAP_AUTH_POLICIES: property is not a handle of that kind
func cmdGetCapability(t *TPM, c *call) RC {
	capability := c.in.param().u32()
	property := c.in.param().u32()
	count := c.in.param().u32()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	more := len(c.out.b)
	c.out.u8(0)
	c.out.u32(capability)
	moreData, rc := t.capability(&c.out, capability, property, count)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	if moreData {
		c.out.b[more] = 1
	}
	return TPM_RC_SUCCESS
}

// capability appends the list of a capability; also for TPM2_PolicyCapability.
// more says that there are entries after the last one.
func (t *TPM) capability(w *writer, capability, property, count uint32) (more bool, rc RC) {
	if t.failure != 0 && capability != TPM_CAP_TPM_PROPERTIES {
		return false, TPM_RC_FAILURE
	}
	switch capability {
	case TPM_CAP_ALGS:
		return listing(w, t.offer.algorithms(), 6, property, count, func(a algEntry) uint32 { return uint32(a.alg) },
			func(a algEntry) { w.alg(a.alg); w.u32(a.attrs) }), 0
	case TPM_CAP_HANDLES:
		handles, ok := t.handlesOf(property)
		if !ok {
			return false, TPM_RC_HANDLE.Param(2)
		}
		// The type only selects the list: saved sessions are listed with
		// handles of the HMAC range, loaded ones with their own.
		return listing(w, handles, 4, Handle(property).index(), count, Handle.index, w.handle), 0
	case TPM_CAP_COMMANDS:
		return listing(w, t.commandList(), 4, property&0x2000FFFF, count,
			func(d *command) uint32 { return uint32(d.cc) }, func(d *command) { w.u32(d.attributes()) }), 0
	case TPM_CAP_PP_COMMANDS:
		return t.listCC(w, &t.perm.ppCommands, property, count), 0
	case TPM_CAP_AUDIT_COMMANDS:
		return t.listCC(w, &t.perm.auditCmds, property, count), 0
	case TPM_CAP_PCRS:
		if property != 0 {
			return false, TPM_RC_VALUE.Param(2)
		}
		l := t.pcrBanks()
		w.pcrSelection(&l)
		return false, 0
	case TPM_CAP_TPM_PROPERTIES:
		return listing(w, propertyGroup(t.properties(), property), 8, property, count, func(p ptEntry) uint32 { return p.property },
			func(p ptEntry) { w.u32(p.property); w.u32(p.value) }), 0
	case TPM_CAP_PCR_PROPERTIES:
		return listing(w, t.pcrProperties(), 8, property, count, func(p pcrProperty) uint32 { return p.property },
			func(p pcrProperty) { w.u32(p.property); w.u8(pcrSelectBytes); w.raw(p.bits[:]) }), 0
	case TPM_CAP_ECC_CURVES:
		return listing(w, t.offer.eccCurves(), 2, property, count, func(c ECCCurve) uint32 { return uint32(c) },
			func(c ECCCurve) { w.u16(uint16(c)) }), 0
	case TPM_CAP_AUTH_POLICIES:
		return t.capPolicies(w, property, count)
	case TPM_CAP_ACT:
		return t.capACT(w, property, count)
	}
	return false, TPM_RC_VALUE.Param(1)
}

// listing appends the count and those entries of a sorted list whose key is at
// least from, as many as asked for and as fit.
func listing[T any](w *writer, all []T, size int, from, count uint32, key func(T) uint32, put func(T)) bool {
	i := sort.Search(len(all), func(i int) bool { return key(all[i]) >= from })
	all = all[i:]
	n := min(len(all), maxCapData/size)
	if uint32(n) > count {
		n = int(count)
	}
	w.u32(uint32(n))
	for _, e := range all[:n] {
		put(e)
	}
	return n < len(all)
}

// propertyGroup returns what of the properties is in the group of 256 that property belongs to:
// an answer has no others, and there is no more after the last of the group (TPM20-P3 section 30.2).
func propertyGroup(all []ptEntry, property uint32) []ptEntry {
	after := func(bound uint32) int {
		return sort.Search(len(all), func(i int) bool { return all[i].property>>8 >= bound })
	}
	return all[after(property>>8):after(property>>8+1)]
}

func handleKey(h Handle) uint32 { return uint32(h) }

// commandList returns the offered commands by code.
func (t *TPM) commandList() (list []*command) {
	for _, d := range t.commands {
		if d != nil {
			list = append(list, d)
		}
	}
	return list
}

func (t *TPM) listCC(w *writer, set *ccSet, property, count uint32) bool {
	var list []CC
	for _, d := range t.commandList() {
		if set.has(d.cc) {
			list = append(list, d.cc)
		}
	}
	return listing(w, list, 4, property, count, func(c CC) uint32 { return uint32(c) }, func(c CC) { w.u32(uint32(c)) })
}

// handlesOf lists the handles of the type of property.
func (t *TPM) handlesOf(property uint32) (list []Handle, ok bool) {
	switch Handle(property).Type() {
	case TPM_HT_PCR:
		for n := range Handle(numPCR) {
			list = append(list, PCR_FIRST+n)
		}
	case TPM_HT_NV_INDEX:
		for _, ix := range t.perm.nv {
			list = append(list, ix.pub.Index)
		}
	case TPM_HT_HMAC_SESSION: // loaded sessions
		list = t.sessionHandles(true)
	case TPM_HT_POLICY_SESSION: // saved sessions
		list = t.sessionHandles(false)
	case TPM_HT_PERMANENT:
		list = []Handle{TPM_RH_OWNER, TPM_RH_NULL, TPM_RS_PW, TPM_RH_LOCKOUT, TPM_RH_ENDORSEMENT,
			TPM_RH_PLATFORM, TPM_RH_PLATFORM_NV}
		if t.command(TPM_CC_ACT_SetTimeout) != nil {
			for n := range Handle(numACT) {
				list = append(list, TPM_RH_ACT_0+n)
			}
		}
	case TPM_HT_TRANSIENT:
		for _, o := range t.ram.objects {
			if o != nil {
				list = append(list, o.handle)
			}
		}
	case TPM_HT_PERSISTENT:
		for _, o := range t.perm.objects {
			list = append(list, o.handle)
		}
	default:
		return nil, false
	}
	return list, true
}

// sessionHandles lists loaded sessions of any kind, or saved ones, by index.
func (t *TPM) sessionHandles(loaded bool) (list []Handle) {
	for i := range t.ram.sessions {
		sl := &t.ram.sessions[i]
		switch {
		case loaded && sl.s != nil:
			list = append(list, sl.s.handle)
		case !loaded && sl.s == nil && sl.contextID != 0:
			list = append(list, HMAC_SESSION_FIRST+Handle(i))
		}
	}
	return list
}

// capPolicies lists the policies of permanent handles.
func (t *TPM) capPolicies(w *writer, property, count uint32) (bool, RC) {
	if Handle(property).Type() != TPM_HT_PERMANENT {
		return false, TPM_RC_VALUE.Param(2)
	}
	var list []entity
	for _, h := range []Handle{TPM_RH_OWNER, TPM_RH_LOCKOUT, TPM_RH_ENDORSEMENT, TPM_RH_PLATFORM} {
		list = append(list, entity{h: h})
	}
	if t.command(TPM_CC_ACT_SetTimeout) != nil {
		for n := range Handle(numACT) {
			list = append(list, entity{h: TPM_RH_ACT_0 + n})
		}
	}
	more := listing(w, list, 4+2+maxDigest, property, count, func(e entity) uint32 { return uint32(e.h) }, func(e entity) {
		p := t.authPolicy(&e)
		w.handle(e.h)
		w.alg(p.alg)
		w.raw(p.digest)
	})
	return more, TPM_RC_SUCCESS
}

// capACT lists the Authenticated Countdown Timers.
func (t *TPM) capACT(w *writer, property, count uint32) (bool, RC) {
	if h := Handle(property); h < TPM_RH_ACT_0 || h > TPM_RH_ACT_F {
		return false, TPM_RC_VALUE.Param(2)
	}
	var list []Handle
	if t.command(TPM_CC_ACT_SetTimeout) != nil {
		for n := range Handle(numACT) {
			list = append(list, TPM_RH_ACT_0+n)
		}
	}
	more := listing(w, list, 12, property, count, handleKey, func(h Handle) {
		a := &t.sc.act[h-TPM_RH_ACT_0]
		w.handle(h)
		w.u32(t.actRemaining(a))
		attrs := uint32(0)
		if a.signaled {
			attrs |= 1
		}
		if a.preserve {
			attrs |= 2
		}
		w.u32(attrs)
	})
	return more, TPM_RC_SUCCESS
}
