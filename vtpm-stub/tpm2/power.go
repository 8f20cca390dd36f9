package tpm2

import (
	"io"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// Defaults of a new TPM for dictionary attack protection.
const (
	defaultMaxTries        = 3
	defaultRecoveryTime    = 1000 // seconds
	defaultLockoutRecovery = 1000 // seconds
)

// manufacture makes the permanent state of a new TPM.
func (t *TPM) manufacture() error {
	for _, h := range []*hierarchy{&t.owner, &t.endorsement, &t.platform} {
		for _, b := range [][]byte{h.seed[:], h.proof[:]} {
			// Seeds come from the entropy source itself, not the generator.
			if _, err := io.ReadFull(t.cfg.Entropy, b); err != nil {
				return err
			}
		}
		h.policy.alg = TPM_ALG_NULL
	}
	p := &t.perm
	p.lockoutPolicy.alg = TPM_ALG_NULL
	p.pcrPolicy.alg = TPM_ALG_NULL
	p.maxTries = defaultMaxTries
	p.recoveryTime = defaultRecoveryTime
	p.lockoutRecovery = defaultLockoutRecovery
	p.clockSafe = true
	p.orderly = orderlyClear
	p.auditAlg = TPM_ALG_SHA256
	p.auditCmds.put(TPM_CC_SetCommandCodeAuditStatus, true)
	banks := t.cfg.PCRBanks
	if banks == nil {
		banks = defaultBanks
	}
	for _, a := range banks {
		if i := bankIndex(a); i >= 0 && t.profile.hash(a) {
			p.pcrAlloc[i] = 1<<numPCR - 1
		}
	}
	p.pcrAllocNext = p.pcrAlloc
	t.newNullHierarchy()
	return nil
}

// newNullHierarchy gives the null hierarchy a new seed and proof.
func (t *TPM) newNullHierarchy() {
	t.random(t.null.seed[:])
	t.random(t.null.proof[:])
	t.null.policy.alg = TPM_ALG_NULL
}

// PowerOn is _TPM_Init: everything volatile is lost, and the TPM waits for
// TPM2_Startup. It leaves failure mode, unless the permanent state could not
// be saved.
func (t *TPM) PowerOn() {
	for i, o := range t.ram.objects {
		if o != nil {
			wipeObject(o)
			t.ram.objects[i] = nil
		}
	}
	t.powerOffACT()
	saved := t.ram.sessions // saved contexts are kept by Shutdown(STATE)
	t.ram = ram{timeAt: t.cfg.Clock()}
	for i := range saved {
		if saved[i].s != nil {
			wipeSession(saved[i].s)
		} else if t.perm.orderly == orderlyState {
			t.ram.sessions[i] = saved[i]
		}
	}
	t.ram.clockOffset = t.perm.clock
	t.perm.pcrAlloc = t.perm.pcrAllocNext // P3 22.5: from the next _TPM_Init on
	if !t.broken {
		t.failure = 0
	}
}

// Established returns the "TPM established" bit: a D-RTM or H-CRTM event was
// seen since it was last cleared.
func (t *TPM) Established() bool { return t.estab }

// ResetEstablished clears the bit. Only localities 3 and 4 may.
func (t *TPM) ResetEstablished(locality uint8) RC {
	if locality != 3 && locality != 4 {
		return TPM_RC_LOCALITY
	}
	t.estab = false
	return TPM_RC_SUCCESS
}

// SetPhysicalPresence says whether physical presence is asserted.
func (t *TPM) SetPhysicalPresence(on bool) { t.phys = on }

// Started reports whether TPM2_Startup was done since power on.
func (t *TPM) Started() bool { return t.ram.started }

// ReadPCR returns PCR n of a bank, for the TPM 1.2 answers of a vTPM. It
// returns nil when the bank has no such PCR or the TPM does not serve. The
// slice must not be changed and is valid until the next call.
func (t *TPM) ReadPCR(bank AlgID, n int) []byte {
	b := bankIndex(bank)
	if b < 0 || !t.ram.started || t.failure != 0 {
		return nil
	}
	return t.pcrValue(b, n)
}

// ExtendPCRs extends PCR n of all banks with a SHA-1 digest, zero-padded to the
// bank's size, as TPM 1.2 software expects and as Linux did for 2.0 chips. The
// locality rules of TPM2_PCR_Extend hold. Errors: an RC.
func (t *TPM) ExtendPCRs(locality uint8, n int, digest []byte) error {
	switch {
	case t.failure != 0:
		return TPM_RC_FAILURE
	case !t.ram.started:
		return TPM_RC_INITIALIZE
	case n < 0 || n >= numPCR || len(digest) > maxDigest:
		return TPM_RC_VALUE
	case locality > 4 || t.pcrAttrs(n).extendLoc&(1<<locality) == 0:
		return TPM_RC_LOCALITY
	}
	var padded [maxDigest]byte
	copy(padded[:], digest)
	for b := range hashAlgs {
		t.pcrExtend(b, n, padded[:hashAlgs[b].DigestSize()])
	}
	return t.flush()
}

// Random fills p, for the TPM 1.2 answers of a vTPM. Errors: an RC.
func (t *TPM) Random(p []byte) error {
	if t.failure != 0 {
		return TPM_RC_FAILURE
	}
	t.random(p)
	return nil
}

// flush saves permanent state after a change that no command made.
func (t *TPM) flush() error {
	if !t.dirty || t.failure != 0 {
		return nil
	}
	if err := t.save(); err != nil {
		t.broken = true
		return t.fail(TPM_RC_FAILURE, "permanent state could not be saved: "+err.Error())
	}
	return nil
}

// Hashing reports whether a HashStart has had no HashEnd.
func (t *TPM) Hashing() bool { return t.ram.hashing }

// HashStart is _TPM_Hash_Start at locality 4 (TPM20-P1 section 34.3): before
// Startup it begins the H-CRTM measurement, after it a D-RTM event, which
// resets the dynamic PCR.
func (t *TPM) HashStart() {
	if t.failure != 0 {
		return
	}
	t.estab = true
	t.ram.hashing = true
	for i, a := range hashAlgs {
		if t.perm.pcrAlloc[i] != 0 {
			t.ram.hashEvent[i], _ = tpmcrypto.NewHashSequence(a) // a is a hash
		}
	}
	if t.ram.started {
		for n := range numPCR {
			if t.pcrAttrs(n).drtm {
				t.pcrResetTo(n, 0)
			}
		}
	}
}

// HashData is _TPM_Hash_Data.
func (t *TPM) HashData(data []byte) {
	for _, s := range t.ram.hashEvent {
		if s != nil {
			_, _ = s.Write(data) // never fails
		}
	}
}

// dropHashEvent forgets an event sequence that Startup interrupts: it has no effect
// (TPM20-P3 section 22.11, note 2).
func (t *TPM) dropHashEvent() {
	t.ram.hashEvent = [numHashes]*tpmcrypto.Sequence{}
	t.ram.hashing = false
}

// HashEnd is _TPM_Hash_End (TPM20-P3 section 22.11): the measurement goes into PCR 0 before
// Startup, else into PCR 17, which counts once and as a restart.
func (t *TPM) HashEnd() {
	if !t.ram.hashing {
		return
	}
	for i, s := range t.ram.hashEvent {
		if s == nil {
			continue
		}
		digest := s.Sum(nil)
		if t.ram.started {
			if v := t.pcrValue(i, 17); v != nil {
				t.hash.Extend(hashAlgs[i], v, digest)
			}
			continue
		}
		// PCR 0 itself is set by Startup: a Resume keeps the saved value.
		v := t.ram.hcrtm[i][:len(digest)]
		v[len(v)-1] = 4
		t.hash.Extend(hashAlgs[i], v, digest)
	}
	t.dropHashEvent()
	if t.ram.started {
		t.pcrChanged(17)
		t.sr.restartCount++
	} else {
		t.ram.hcrtmDone = true
	}
}
