package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

const (
	seedSize  = 64 // primary seeds
	proofSize = 64 // hierarchy proofs
)

// policy is an authorization policy with its hash; alg is TPM_ALG_NULL and
// digest empty when there is none.
type policyAuth struct {
	alg    AlgID
	digest []byte
}

// hierarchy is one of owner (storage), endorsement, platform and null. What of
// it is kept for how long differs; see permanent and stateClear.
type hierarchy struct {
	enabled bool // not used for null
	seed    [seedSize]byte
	proof   [proofSize]byte
	auth    []byte
	policy  policyAuth

	mac *tpmcrypto.MACKey // of the proof, see proofMAC
}

// proofMAC returns the key that authenticates tickets and contexts of the hierarchy.
func (h *hierarchy) proofMAC() *tpmcrypto.MACKey {
	if h.mac == nil || !h.mac.Is(h.proof[:]) {
		h.mac = tpmcrypto.NewMACKey(ticketHash, h.proof[:])
	}
	return h.mac
}

// orderly tells how the last Shutdown went (TPM20-P3 section 9.4).
type orderly uint8

const (
	orderlyNone  orderly = iota // no Shutdown since the last Startup, or nullified
	orderlyClear                // Shutdown(CLEAR)
	orderlyState                // Shutdown(STATE)
)

// permanent is what survives everything: the part of the state that is given
// to Config.Persist. Handlers change it through the methods of TPM that call
// touch, or call touch themselves after the change.
type permanent struct {
	// Owner, endorsement and platform seeds and proofs; owner and endorsement
	// auth and policy live in TPM.owner and TPM.endorsement.
	lockoutAuth   []byte
	lockoutPolicy policyAuth
	disableClear  bool

	// Dictionary attack parameters (TPM20-P1 section 19.8).
	failedTries     uint32
	maxTries        uint32
	recoveryTime    uint32 // seconds
	lockoutRecovery uint32 // seconds
	lockoutAuthBad  bool   // lockoutAuth failed; not usable until recovery

	resetCount      uint32
	totalResetCount uint64 // never cleared; keeps resetCount's history for contexts
	timeEpoch       uint32 // changes when Time restarts; in tickets
	clock           uint64 // Clock at the last NV update, ms
	clockSafe       bool

	orderly         orderly
	startupLocality uint8 // of the Startup before Shutdown(STATE): 0 or 3, 4 for H-CRTM

	pcrAlloc     [numHashes]uint32 // bit per PCR of each bank, in use
	pcrAllocNext [numHashes]uint32 // from the next _TPM_Init on
	pcrPolicy    policyAuth        // of the policy group of PCR

	algorithmSet uint32
	ppCommands   ccSet // need physical presence
	auditAlg     AlgID
	auditCmds    ccSet
	auditCounter uint64

	maxCounter uint64 // highest value any NV counter ever had
	nv         []*nvIndex
	objects    []*object // persistent objects, sorted by handle
}

// stateReset is lost at TPM Reset, kept over Restart and Resume
// (Shutdown(STATE)).
type stateReset struct {
	clearCount     uint32
	restartCount   uint32
	pcrCounter     uint32 // pcrUpdateCounter
	contextCounter uint64 // ID of the next saved session
	objectCounter  uint64 // sequence of the next saved object
	auditDigest    []byte // command audit
	commitCounter  uint64
	commitNonce    [32]byte
	commitArray    [16]byte // bit per outstanding Commit
}

// stateClear is lost at TPM Reset and Restart, kept over Resume.
type stateClear struct {
	phEnableNV bool
	readOnly   bool // TPM2_ReadOnlyControl
	pcr        [numHashes][numPCR][maxDigest]byte
	pcrAuth    []byte // auth value of the auth group of PCR
	act        [numACT]act
}

// sessionSlot tracks one of the active sessions by the low byte of its handle.
type sessionSlot struct {
	s         *session // loaded
	contextID uint64   // saved, when not 0
	kind      uint8    // TPM_HT_HMAC_SESSION or TPM_HT_POLICY_SESSION
}

// ram is what only power keeps.
type ram struct {
	started      bool // Startup was done
	orderlyStart bool // and followed a Shutdown

	timeBase    uint64 // Time at timeAt, ms
	timeAt      int64  // Config.Clock when timeBase was taken
	rate        int32  // of Time, above 1, in 2^-16
	clockOffset uint64 // Clock - Time

	objects  [maxObjects]*object
	sessions [maxActiveSessions]sessionSlot
	// exclusive is the handle of the current exclusive audit session, 0 if none.
	exclusive Handle

	failedTriesAt uint64 // Time when failedTries was last changed, ms
	lockoutAt     uint64 // Time when lockoutAuth failed, ms

	allocated bool // TPM2_PCR_Allocate ran: no Shutdown(STATE) until _TPM_Init
	hashing   bool // inside _TPM_Hash_Start .. _TPM_Hash_End
	hashEvent [numHashes]*tpmcrypto.Sequence
	hcrtmDone bool                       // there was an H-CRTM measurement before Startup
	hcrtm     [numHashes][maxDigest]byte // the PCR 0 it made

	tested     bool    // all algorithms were tested
	testedAlgs []AlgID // these were
	testResult RC      // of the last test that failed
}

// ccSet is a set of command codes, one bit for each code from 0x11F.
type ccSet [8]uint32

const ccFirst = CC(0x11F)

func (s *ccSet) has(cc CC) bool {
	i := uint32(cc - ccFirst)
	return i < 256 && s[i/32]&(1<<(i%32)) != 0
}

func (s *ccSet) put(cc CC, on bool) {
	i := uint32(cc - ccFirst)
	switch {
	case i >= 256:
	case on:
		s[i/32] |= 1 << (i % 32)
	default:
		s[i/32] &^= 1 << (i % 32)
	}
}
