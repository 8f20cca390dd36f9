package tpm2

import (
	"bytes"
	"testing"
)

// save is TPM2_ContextSave.
func (x *testTPM) saveContext(h Handle) TPMS_CONTEXT {
	x.t.Helper()
	r := x.ok(x.cmd(TPM_CC_ContextSave, handles(h))).reader()
	c := r.context()
	if rc := r.end(); rc != TPM_RC_SUCCESS {
		x.t.Fatal("malformed response:", rc)
	}
	c.Blob = bytes.Clone(c.Blob)
	return c
}

func (x *testTPM) loadContext(c TPMS_CONTEXT) response {
	return x.cmd(TPM_CC_ContextLoad, marshal(4096, func(w *writer) { w.context(&c) }))
}

// TestContextObject saves and loads objects of each kind; the loaded one works.
func TestContextObject(t *testing.T) {
	x := newTestTPM(t)
	for name, c := range map[string]struct {
		h     Handle
		tpl   TPMT_PUBLIC
		saved Handle
	}{
		"owner":       {TPM_RH_OWNER, eccTemplate(attrsStorage), savedObject},
		"endorsement": {TPM_RH_ENDORSEMENT, rsaTemplate(attrsStorage), savedObject},
		"null":        {TPM_RH_NULL, symTemplate(attrsStorage), savedObject},
		"stClear":     {TPM_RH_PLATFORM, eccTemplate(attrsStorage | objStClear), savedStClear},
	} {
		h := x.createPrimaryKey(c.h, "", c.tpl).handle
		k := x.create(h, "", nil, eccTemplate(attrsSign))
		o := x.transient(h)
		s := x.saveContext(h)
		if s.Saved != c.saved || s.Hierarchy != c.h {
			t.Errorf("%s: context of 0x%x in 0x%x", name, s.Saved, s.Hierarchy)
		}
		if bytes.Contains(s.Blob, o.sens.Seed) || bytes.Contains(s.Blob, o.sens.Sensitive) {
			t.Errorf("%s: context in the clear", name)
		}
		s2 := x.saveContext(h)
		if s2.Sequence <= s.Sequence || bytes.Equal(s.Blob[66:98], s2.Blob[66:98]) {
			t.Errorf("%s: two contexts are encrypted alike", name)
		}
		n := x.ok(x.loadContext(s)).handle // a second copy
		if n == h {
			t.Fatalf("%s: handle 0x%x twice", name, n)
		}
		p := x.transient(n)
		if !bytes.Equal(p.name, o.name) || !bytes.Equal(p.qname, o.qname) || p.hierarchy != o.hierarchy || p.primary != o.primary || p.stClear != o.stClear {
			t.Errorf("%s: %+v", name, p)
		}
		x.drop(h)
		x.drop(x.load(n, k))
		x.drop(n, x.ok(x.loadContext(s2)).handle)
	}
}

// TestContextSequence: a sequence goes on from where it was saved.
func TestContextSequence(t *testing.T) {
	x := newTestTPM(t)
	h := x.ok(x.cmd(TPM_CC_HashSequenceStart, b2([]byte("seq")), u16(uint16(TPM_ALG_NULL)))).handle
	x.ok(x.cmdS(TPM_CC_SequenceUpdate, handles(h), pw("seq"), b2([]byte("one "))))
	c := x.saveContext(h)
	if c.Saved != savedSequence || c.Hierarchy != TPM_RH_NULL {
		t.Errorf("context of 0x%x in 0x%x", c.Saved, c.Hierarchy)
	}
	x.ok(x.cmdS(TPM_CC_SequenceUpdate, handles(h), pw("seq"), b2([]byte("lost"))))
	n := x.ok(x.loadContext(c)).handle
	r := x.ok(x.cmdS(TPM_CC_EventSequenceComplete, join(handles(TPM_RH_NULL, n)), pw("", "seq"), b2([]byte("two")))).reader()
	var l TPML_DIGEST_VALUES
	r.digestValues(&l)
	if l.Count == 0 || r.end() != TPM_RC_SUCCESS {
		t.Fatal("no digests")
	}
	for _, d := range l.Digests[:l.Count] {
		if !bytes.Equal(d.Digest, x.hash.Sum(d.Hash, nil, []byte("one two"))) {
			t.Errorf("digest of algorithm 0x%x", uint16(d.Hash))
		}
	}
}

// TestContextSize: the largest objects have room in a context and in responses
// of 4088 octets.
func TestContextSize(t *testing.T) {
	x := newTestTPM(t)
	o := &object{hierarchy: TPM_RH_NULL, private: true, pub: rsaTemplate(attrsStorage),
		name: make([]byte, 66), qname: make([]byte, 66)}
	o.pub.KeyBits, o.pub.NameAlg, o.pub.AuthPolicy, o.pub.Unique = 4096, TPM_ALG_SHA512, make([]byte, 64), make([]byte, 512)
	o.sens = TPMT_SENSITIVE{Type: TPM_ALG_RSA, Auth: make([]byte, 64), Seed: make([]byte, 64), Sensitive: make([]byte, 256)}
	if rc := x.addObject(o); rc != TPM_RC_SUCCESS {
		t.Fatal(rc)
	}
	x.ok(x.loadContext(x.saveContext(o.handle)))
	all := func(c *Config) { c.PCRBanks = hashAlgs[:] }
	y := newTestTPM(t, all)
	h := y.ok(y.cmd(TPM_CC_HashSequenceStart, b2(make([]byte, 64)), u16(uint16(TPM_ALG_NULL)))).handle
	y.ok(y.cmdS(TPM_CC_SequenceUpdate, handles(h), pw(string(make([]byte, 64))), b2(make([]byte, 1000))))
	r := y.ok(y.cmd(TPM_CC_ContextSave, handles(h)))
	if len(r.raw) > 4088 {
		t.Errorf("response of %d octets", len(r.raw))
	}
	c := r.reader().context()
	y.ok(y.loadContext(c))
}

// TestContextTampered changes every octet of an object's and a session's
// context: none loads.
func TestContextTampered(t *testing.T) {
	x := newTestTPM(t)
	h := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	x.saveContext(h) // so that a smaller sequence number exists
	s := x.startSession(TPM_SE_POLICY, u16(uint16(TPM_ALG_NULL)))
	for name, c := range map[string]TPMS_CONTEXT{"object": x.saveContext(h), "session": x.saveContext(s)} {
		raw := marshal(4096, func(w *writer) { w.context(&c) })
		x.unchanged(func() {
			for i := range raw {
				bad := bytes.Clone(raw)
				bad[i] ^= 1
				r := x.cmd(TPM_CC_ContextLoad, bad)
				ok := r.rc == TPM_RC_INTEGRITY.Param(1)
				switch {
				case i < 8: // sequence: too large, too small, or not that of the HMAC
					ok = ok || r.rc == TPM_RC_VALUE.Param(1)
				case i < 16: // savedHandle, hierarchy: most are none
					ok = ok || r.rc == TPM_RC_VALUE.Param(1)
				case i < 18: // size of the blob
					ok = r.rc == TPM_RC_SIZE.Param(1) || r.rc == TPM_RC_INSUFFICIENT.Param(1) || r.rc == TPM_RC_SIZE
				}
				if !ok {
					t.Errorf("%s: octet %d: %v", name, i, r.rc)
				}
			}
			for n := range c.Blob {
				short := c
				short.Blob = c.Blob[:n]
				if r := x.loadContext(short); r.rc != TPM_RC_INTEGRITY.Param(1) {
					t.Errorf("%s: cut to %d octets: %v", name, n, r.rc)
				}
			}
		})
		x.ok(x.loadContext(c))
	}
}

// TestContextLife is what ends the life of a saved object: TPM Reset, Restart for
// stClear, a disabled hierarchy, a new seed.
func TestContextLife(t *testing.T) {
	shutdown := func(x *testTPM) { x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE))) }
	resume := func(su uint16) func(*testTPM) {
		return func(x *testTPM) { shutdown(x); x.reboot(); x.start(su) }
	}
	reset := func(x *testTPM) { x.reboot(); x.start(TPM_SU_CLEAR) }
	clear := func(x *testTPM) { x.ok(x.cmdS(TPM_CC_Clear, handles(TPM_RH_PLATFORM), pw(""))) }
	disable := func(x *testTPM) {
		x.ok(x.cmdS(TPM_CC_HierarchyControl, handles(TPM_RH_OWNER), pw(""), u32(uint32(TPM_RH_OWNER)), []byte{0}))
	}
	ok, gone := RC(TPM_RC_SUCCESS), TPM_RC_INTEGRITY.Param(1)
	never := TPM_RC_VALUE.Param(1) // after a reset the counter starts over
	for _, tt := range []struct {
		name                           string
		f                              func(*testTPM)
		owner, endorsement, null, stCl RC
	}{
		{"nothing", func(*testTPM) {}, ok, ok, ok, ok},
		{"resume", resume(TPM_SU_STATE), ok, ok, ok, ok},
		{"restart", resume(TPM_SU_CLEAR), ok, ok, ok, gone},
		{"reset", reset, never, never, never, never},
		{"clear", clear, gone, gone, ok, gone},
		{"disabled", disable, TPM_RC_HIERARCHY.Param(1), ok, ok, TPM_RC_HIERARCHY.Param(1)},
	} {
		x := newTestTPM(t)
		save := func(h Handle, a TPMA_OBJECT) TPMS_CONTEXT {
			k := x.createPrimaryKey(h, "", eccTemplate(attrsSign|a)).handle
			defer x.drop(k)
			return x.saveContext(k)
		}
		cs := []TPMS_CONTEXT{save(TPM_RH_OWNER, 0), save(TPM_RH_ENDORSEMENT, 0), save(TPM_RH_NULL, 0), save(TPM_RH_OWNER, objStClear)}
		tt.f(x)
		for i, want := range []RC{tt.owner, tt.endorsement, tt.null, tt.stCl} {
			if r := x.loadContext(cs[i]); r.rc != want {
				t.Errorf("%s: context %d: %v, want %v", tt.name, i, r.rc, want)
			}
		}
		if tt.name != "reset" {
			continue
		}
		for range 5 { // the numbers exist again, the contexts do not
			save(TPM_RH_OWNER, 0)
		}
		for i := range cs {
			if r := x.loadContext(cs[i]); r.rc != gone {
				t.Errorf("after reset: context %d: %v", i, r.rc)
			}
		}
	}
}

// TestContextSession: a session is loaded or saved, loads once, and keeps its
// policy.
func TestContextSession(t *testing.T) {
	x := newTestTPM(t)
	s := x.startSession(TPM_SE_POLICY, u16(uint16(TPM_ALG_NULL)))
	x.ok(x.cmd(TPM_CC_PolicyCommandCode, handles(s), u32(uint32(TPM_CC_Duplicate))))
	digest := x.policyDigest(s)
	c := x.saveContext(s)
	if c.Saved != s || c.Hierarchy != TPM_RH_NULL {
		t.Errorf("context of 0x%x in 0x%x", c.Saved, c.Hierarchy)
	}
	x.unchanged(func() {
		x.want(x.cmd(TPM_CC_PolicyGetDigest, handles(s)), TPM_RC_REFERENCE_H0)
		x.want(x.cmd(TPM_CC_ContextSave, handles(s)), TPM_RC_REFERENCE_H0)
	})
	if h := x.ok(x.loadContext(c)).handle; h != s {
		t.Errorf("handle 0x%x, was 0x%x", h, s)
	}
	if !bytes.Equal(x.policyDigest(s), digest) {
		t.Error("another policyDigest")
	}
	x.unchanged(func() { x.want(x.loadContext(c), TPM_RC_HANDLE.Param(1)) }) // replay while loaded
	d := x.saveContext(s)
	x.unchanged(func() { x.want(x.loadContext(c), TPM_RC_HANDLE.Param(1)) }) // replay of an older one
	x.drop(s)                                                                // saved sessions can be flushed
	x.unchanged(func() { x.want(x.loadContext(d), TPM_RC_HANDLE.Param(1)) })
	if n := x.startSession(TPM_SE_HMAC, u16(uint16(TPM_ALG_NULL))); n.index() != s.index() {
		t.Fatalf("slot %d is not used again", s.index())
	}
	x.unchanged(func() { x.want(x.loadContext(d), TPM_RC_HANDLE.Param(1)) })

	e := x.saveContext(x.lastSession())
	x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE)))
	x.reboot()
	x.start(TPM_SU_CLEAR) // restart: saved sessions live on
	x.ok(x.loadContext(e))
	e = x.saveContext(e.Saved)
	x.reboot()
	x.start(TPM_SU_CLEAR)
	x.unchanged(func() { x.want(x.loadContext(e), TPM_RC_VALUE.Param(1)) })
}

// TestContextSessionMemory: more sessions than slots, kept by saving them.
func TestContextSessionMemory(t *testing.T) {
	x := newTestTPM(t)
	var cs []TPMS_CONTEXT
	for range maxActiveSessions - maxLoadedSessions {
		cs = append(cs, x.saveContext(x.startSession(TPM_SE_HMAC, u16(uint16(TPM_ALG_NULL)))))
	}
	for range maxLoadedSessions {
		x.startSession(TPM_SE_HMAC, u16(uint16(TPM_ALG_NULL)))
	}
	x.unchanged(func() { x.want(x.loadContext(cs[0]), TPM_RC_SESSION_MEMORY) })
	x.saveContext(HMAC_SESSION_FIRST + maxActiveSessions - 1)
	x.ok(x.loadContext(cs[0]))
}

// TestContextGap: when the counter runs away from the oldest saved session, only
// that one can be loaded, and then all goes on.
func TestContextGap(t *testing.T) {
	x := newTestTPM(t)
	sym := u16(uint16(TPM_ALG_NULL))
	oldest := x.saveContext(x.startSession(TPM_SE_HMAC, sym))
	second := x.saveContext(x.startSession(TPM_SE_HMAC, sym))
	work, late := x.startSession(TPM_SE_HMAC, sym), x.startSession(TPM_SE_HMAC, sym)
	var last TPMS_CONTEXT
	n := 0
	for !x.contextGapReached() {
		last = x.saveContext(work)
		if x.contextGapReached() {
			break
		}
		x.ok(x.loadContext(last))
		if n++; n > contextGapMax {
			t.Fatal("no end")
		}
		if n == 20 {
			x.sr.contextCounter = oldest.Sequence + contextGapMax - 40 // not all 65000
		}
	}
	x.saveContext(late) // what is loaded can still be saved
	start := startParams(16, nil, TPM_SE_HMAC, sym, TPM_ALG_SHA256)
	x.unchanged(func() {
		x.want(x.cmd(TPM_CC_StartAuthSession, handles(TPM_RH_NULL, TPM_RH_NULL), start), TPM_RC_CONTEXT_GAP)
		x.want(x.loadContext(last), TPM_RC_CONTEXT_GAP)
		x.want(x.loadContext(second), TPM_RC_CONTEXT_GAP)
	})
	x.ok(x.loadContext(oldest))
	x.unchanged(func() { x.want(x.loadContext(last), TPM_RC_CONTEXT_GAP) }) // second is as old
	oldest = x.saveContext(oldest.Saved)
	x.ok(x.loadContext(second))
	x.ok(x.loadContext(last))
	x.ok(x.loadContext(oldest))
	if x.sr.contextCounter-1 > 1+contextGapMax {
		t.Errorf("counter is %d", x.sr.contextCounter)
	}
	x.ok(x.cmd(TPM_CC_StartAuthSession, handles(TPM_RH_NULL, TPM_RH_NULL), start))
}

func TestContextErrors(t *testing.T) {
	x := newTestTPM(t)
	k := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	c := x.saveContext(k)
	with := func(f func(c *TPMS_CONTEXT)) TPMS_CONTEXT { n := c; f(&n); return n }
	for _, tt := range []struct {
		name string
		c    TPMS_CONTEXT
		rc   RC
	}{
		{"sequence in the future", with(func(c *TPMS_CONTEXT) { c.Sequence++ }), TPM_RC_VALUE.Param(1)},
		{"handle", with(func(c *TPMS_CONTEXT) { c.Saved = 0x80000003 }), TPM_RC_VALUE.Param(1)},
		{"persistent handle", with(func(c *TPMS_CONTEXT) { c.Saved = 0x81000000 }), TPM_RC_VALUE.Param(1)},
		{"session out of range", with(func(c *TPMS_CONTEXT) { c.Saved = HMAC_SESSION_FIRST + maxActiveSessions }), TPM_RC_VALUE.Param(1)},
		{"hierarchy", with(func(c *TPMS_CONTEXT) { c.Hierarchy = TPM_RH_LOCKOUT }), TPM_RC_VALUE.Param(1)},
		{"other hierarchy", with(func(c *TPMS_CONTEXT) { c.Hierarchy = TPM_RH_NULL }), TPM_RC_INTEGRITY.Param(1)},
		{"other handle", with(func(c *TPMS_CONTEXT) { c.Saved = savedStClear }), TPM_RC_INTEGRITY.Param(1)},
		{"too large", with(func(c *TPMS_CONTEXT) { c.Blob = make([]byte, maxContextSize+1) }), TPM_RC_SIZE.Param(1)},
	} {
		x.unchanged(func() {
			if r := x.loadContext(tt.c); r.rc != tt.rc {
				t.Errorf("%s: %v, want %v", tt.name, r.rc, tt.rc)
			}
		})
	}
	x.want(x.cmdS(TPM_CC_ContextSave, handles(k), pw("")), TPM_RC_AUTH_CONTEXT)
	x.want(x.cmd(TPM_CC_ContextSave, handles(0x81000000)), TPM_RC_VALUE.Handle(1))
	for x.freeObjectSlot() {
		x.ok(x.loadContext(c))
	}
	x.unchanged(func() { x.want(x.loadContext(c), TPM_RC_OBJECT_MEMORY) })
}

// TestContextForged: who can make an HMAC and not decrypt is an attacker; the
// TPM stops (TPM20-P1 section 30.3).
func TestContextForged(t *testing.T) {
	x := newTestTPM(t)
	x.keepFail = true
	k := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	c := x.saveContext(k)
	head := 2 + ticketHash.DigestSize()
	c.Blob[head] ^= 1 // of the sequence number
	copy(c.Blob[2:], x.contextHMAC(&c, c.Blob[head:]))
	x.want(x.loadContext(c), TPM_RC_FAILURE)
	if !x.Failed() {
		t.Error("no failure mode")
	}
}

// TestContextSaveNullifiesShutdown: after Shutdown(STATE) a counter must not go
// back, or two contexts would have the same keystream.
func TestContextSaveNullifiesShutdown(t *testing.T) {
	x := newTestTPM(t)
	k := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsSign)).handle
	x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE)))
	x.saveContext(k)
	x.reboot()
	if rc := x.start(TPM_SU_STATE); rc != TPM_RC_VALUE.Param(1) {
		t.Errorf("Startup(STATE): %v", rc)
	}
}
