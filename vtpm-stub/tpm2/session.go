package tpm2

// TPMA_SESSION bits (TPM20-P2 section 8.4).
const (
	sessContinue       = 1 << 0
	sessAuditExclusive = 1 << 1
	sessAuditReset     = 1 << 2
	sessDecrypt        = 1 << 5
	sessEncrypt        = 1 << 6
	sessAudit          = 1 << 7
	sessReserved       = 0x18
)

// sessionKind is TPM_SE (TPM20-P2 section 6.11).
type sessionKind uint8

const (
	TPM_SE_HMAC   sessionKind = 0x00
	TPM_SE_POLICY sessionKind = 0x01
	TPM_SE_TRIAL  sessionKind = 0x03
)

// digestBuf holds a digest or nonce without allocation.
type digestBuf struct {
	n int
	b [maxDigest]byte
}

func (d *digestBuf) bytes() []byte { return d.b[:d.n] }

// set copies v, which must have at most maxDigest octets.
func (d *digestBuf) set(v []byte) { d.n = copy(d.b[:], v) }

// session is a loaded session (TPM20-P1 section 19.6).
type session struct {
	handle      Handle
	kind        sessionKind
	hash        AlgID
	sym         TPMT_SYM_DEF
	nonceTPM    digestBuf
	nonceCaller digestBuf
	key         digestBuf // sessionKey, empty when neither salted nor bound

	// bind identifies the entity that the session is bound to: its Name and
	// authValue at the time (TPM20-P1 section 19.6.8). Empty when not bound.
	bound       bool
	bindName    []byte
	bindAuth    digestBuf
	daBound     bool // bound to a DA protected entity
	lockedBound bool // bound to lockoutAuth

	audit       bool // an audit session from its first use as one
	auditDigest digestBuf

	policy policyState
}

// hashBinding says what policyState.hash is to be compared with.
type hashBinding uint8

const (
	bindNone      hashBinding = iota
	bindCpHash                // cpHash of the command (PolicyCpHash, PolicySigned, ...)
	bindNameHash              // hash of the Names of the handles
	bindTemplate              // hash of inPublic of a create command
	bindParamHash             // hash of the parameters (PolicyParameters)
)

// policyState is the state of a policy session (TPM20-P1 section 19.7.4).
// Policy commands extend digest and set the rest; authorize checks it.
type policyState struct {
	digest digestBuf // policyDigest

	startTime uint64 // Time when the session started, ms
	epoch     uint32 // timeEpoch when the session started
	timeout   uint64 // Time when it expires, ms; 0 is never

	commandCode CC // 0: any
	binding     hashBinding
	hash        digestBuf

	pcrBound   bool // PolicyPCR ran
	pcrCounter uint32

	locality uint8 // TPMA_LOCALITY; 0: any

	authValue  bool // PolicyAuthValue: HMAC with authValue is needed
	password   bool // PolicyPassword: the password is needed
	ppRequired bool // PolicyPhysicalPresence

	checkWritten bool // PolicyNvWritten
	written      bool

	secureChannel bool // PolicyTransportSPDM, which no command here can satisfy

	dupSelected bool // PolicyDuplicationSelect: nameHash is of object and new parent
}

// trial reports whether the session only computes a policy.
func (s *session) trial() bool { return s.kind == TPM_SE_TRIAL }

// isPolicy reports whether the handle is a policy session's, trial included.
func (s *session) isPolicy() bool { return s.kind != TPM_SE_HMAC }

// unproven reports whether the session authorizes without a proof that the caller knows its key,
// though that was made of an authValue whose guesses have to be counted: with
// TPM2_PolicyPassword a password stands where the HMAC would (TPM20-P3 section 23.18). What such a
// session encrypts would let the authValue be searched for outside of the TPM, and what it
// decrypts would tell of each guess.
func (s *session) unproven() bool {
	return s.policy.password && (s.daBound || s.lockedBound)
}

// loadedSessions counts the sessions in memory, activeSessions all of them.
func (t *TPM) loadedSessions() (loaded, active int) {
	for i := range t.ram.sessions {
		sl := &t.ram.sessions[i]
		if sl.s != nil {
			loaded++
		}
		if sl.s != nil || sl.contextID != 0 {
			active++
		}
	}
	return loaded, active
}

// session returns the loaded session of the handle, nil if there is none.
func (t *TPM) session(h Handle) *session {
	i := h.index()
	if i >= maxActiveSessions {
		return nil
	}
	s := t.ram.sessions[i].s
	if s == nil || s.handle != h {
		return nil
	}
	return s
}

// newSession puts a session into a free slot. Errors: TPM_RC_SESSION_MEMORY,
// TPM_RC_SESSION_HANDLES.
func (t *TPM) newSession(s *session) RC {
	loaded, _ := t.loadedSessions()
	if loaded >= maxLoadedSessions {
		return TPM_RC_SESSION_MEMORY
	}
	for i := range t.ram.sessions {
		sl := &t.ram.sessions[i]
		if sl.s != nil || sl.contextID != 0 {
			continue
		}
		s.handle = HMAC_SESSION_FIRST + Handle(i)
		if s.isPolicy() {
			s.handle = POLICY_SESSION_FIRST + Handle(i)
		}
		*sl = sessionSlot{s: s, kind: s.handle.Type()}
		return TPM_RC_SUCCESS
	}
	return TPM_RC_SESSION_HANDLES
}

// flushSession forgets a session, loaded or saved. It reports whether there
// was one.
func (t *TPM) flushSession(h Handle) bool {
	i := h.index()
	if i >= maxActiveSessions {
		return false
	}
	sl := &t.ram.sessions[i]
	switch {
	case sl.s != nil && sl.s.handle == h:
		wipeSession(sl.s)
	case sl.s == nil && sl.contextID != 0 && sl.kind == h.Type():
	case sl.s == nil && sl.contextID != 0 && h.Type() == TPM_HT_HMAC_SESSION:
		// P3 28.4: a saved session may be flushed by its HMAC-range handle.
	default:
		return false
	}
	if t.ram.exclusive == h {
		t.ram.exclusive = 0
	}
	*sl = sessionSlot{}
	t.clearOrderly()
	return true
}

func wipeSession(s *session) {
	clear(s.key.b[:])
	clear(s.bindAuth.b[:])
}

// contextGapReached reports whether the context counter is so far ahead of the
// oldest saved session that no session may be started and only the oldest one
// loaded (TPM20-P1 section 30.5, TPM_RC_CONTEXT_GAP). The sessions in memory can
// still be saved within contextGapMax.
func (t *TPM) contextGapReached() bool {
	oldest := t.sr.contextCounter
	for i := range t.ram.sessions {
		if id := t.ram.sessions[i].contextID; id != 0 && id < oldest {
			oldest = id
		}
	}
	return t.sr.contextCounter-oldest >= contextGapMax-maxLoadedSessions
}
