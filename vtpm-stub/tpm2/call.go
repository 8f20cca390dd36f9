package tpm2

// entity is a handle of a command and what it refers to: at most one of the
// pointers is set.
type entity struct {
	h    Handle
	obj  *object
	nv   *nvIndex
	sess *session
}

// authSession is one session of the authorization area.
type authSession struct {
	h     Handle // session handle or TPM_RS_PW
	s     *session
	attrs uint8
	nonce []byte // nonceCaller
	auth  []byte // HMAC or password
	// entity is the index of the handle that this session authorizes, or -1.
	entity int
	// value is the authValue of that entity as it was when the command was
	// authorized; the response HMAC uses the same (TPM20-P3 section 5.9).
	value digestBuf
	// withValue says that value is part of the HMAC key.
	withValue bool
	noHMAC    bool // key and HMAC are empty, in the response too
}

// call is one command in execution: what a handler works on.
//
// Parameters are read from in; each begins with in.param(), so that errors
// carry the number of the parameter. After the last one the handler returns
// in.end() if that is not success, then checks, then changes state, and last
// writes the response parameters to out. A handler that fails must not have
// changed anything.
type call struct {
	def      *command
	locality uint8
	h        [maxHandlesInCmd]entity
	in       reader
	out      writer

	params   []byte // the parameter area, decrypted
	nh       int
	sessions [maxSessionsInCmd]authSession
	ns       int
	tagged   bool // TPM_ST_SESSIONS

	decrypt, encrypt, audit int // index of the session, or -1

	cpHashes [maxSessionsInCmd + 1]cachedHash
	rspH     Handle
	// notAudited exempts this command from command audit (TPM20-P3 section 21.2).
	notAudited bool
	rspStart   int // offset of the response parameters
}

type cachedHash struct {
	alg AlgID
	digestBuf
}

// setHandle sets the handle of the response.
func (c *call) setHandle(h Handle) { c.rspH = h }

// object returns the object of handle i (from 0).
func (c *call) object(i int) *object { return c.h[i].obj }

// nv returns the NV Index of handle i (from 0).
func (c *call) nv(i int) *nvIndex { return c.h[i].nv }

// session returns the session of handle i (from 0).
func (c *call) session(i int) *session { return c.h[i].sess }

// handle returns handle i (from 0).
func (c *call) handle(i int) Handle { return c.h[i].h }

// policySession returns the policy session that authorizes handle i, or nil.
func (c *call) policySession(i int) *session {
	for j := range c.sessions[:c.ns] {
		a := &c.sessions[j]
		if a.entity == i && a.s != nil && a.s.isPolicy() {
			return a.s
		}
	}
	return nil
}

// reset prepares for the next command.
func (c *call) reset() {
	for i := range c.sessions[:c.ns] {
		a := &c.sessions[i]
		clear(a.value.b[:a.value.n])
		a.value.n = 0
	}
	c.def, c.params = nil, nil
	c.h = [maxHandlesInCmd]entity{}
	c.nh, c.ns = 0, 0
	c.tagged = false
	c.decrypt, c.encrypt, c.audit = -1, -1, -1
	for i := range c.cpHashes {
		c.cpHashes[i].n = 0
	}
	c.rspH = 0
	c.notAudited = false
}

// entityName returns the Name of the entity behind handle i.
func (t *TPM) entityName(e *entity) []byte {
	switch {
	case e.obj != nil:
		return e.obj.name
	case e.nv != nil:
		return t.nvName(e.nv)
	}
	return nil // the handle itself, which writeName adds
}

// cpHash returns the hash of code, Names and parameters (TPM20-P1 section
// 16.7), computed once per algorithm.
func (t *TPM) cpHash(alg AlgID) []byte {
	c := &t.call
	for i := range c.cpHashes {
		h := &c.cpHashes[i]
		if h.n != 0 && h.alg == alg {
			return h.bytes()
		}
		if h.n == 0 {
			h.alg = alg
			h.n = len(t.sumCommand(alg, h.b[:0], true, true))
			return h.bytes()
		}
	}
	panic("internal error: tpm2: no slot for cpHash")
}

// nameHash returns the hash of the Names of the handles.
func (t *TPM) nameHash(alg AlgID) []byte { return t.sumCommand(alg, nil, false, false) }

// paramHash returns the hash of code and parameters (TPM2_PolicyParameters).
func (t *TPM) paramHash(alg AlgID) []byte {
	c := &t.call
	cc := handleName(Handle(c.def.cc))
	return t.hash.Sum(alg, nil, cc, c.params)
}

func (t *TPM) sumCommand(alg AlgID, dst []byte, code, params bool) []byte {
	c := &t.call
	var list [1 + maxHandlesInCmd + 1][]byte
	parts := list[:0]
	if code {
		parts = append(parts, handleName(Handle(c.def.cc)))
	}
	for i := range c.h[:c.nh] {
		if n := t.entityName(&c.h[i]); n != nil || c.h[i].obj != nil {
			parts = append(parts, n)
		} else {
			parts = append(parts, handleName(c.h[i].h))
		}
	}
	if params {
		parts = append(parts, c.params)
	}
	return t.hash.Sum(alg, dst, parts...)
}
