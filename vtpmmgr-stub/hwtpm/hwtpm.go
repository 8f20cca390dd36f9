// Package hwtpm is what the manager asks of the platform's TPM: seal and unseal
// its root key, keep the rollback counter and the anchor, give random bytes and
// PCR values, quote and certify.
//
// TPM 2.0 goes through github.com/google/go-tpm/tpm2 over any transport with
// Send (the TIS driver on metal, a socket in tests). Specifications: TPM 2.0
// Library (TPM20-P1..P4), TCG EK Credential Profile, TCG PC Client PTP.
//
// The transport is not trusted: dom0 or a device on the bus may read and change
// everything that crosses it. Secrets cross it only inside salted sessions that
// encrypt parameters, and what comes back is believed only where the session's
// HMAC covers it. Nothing here uses dictionary-attack protected authorisations,
// so a TPM in lockout still serves.
//
// The TPM may be shared with dom0. Objects and sessions are loaded only while
// they are used, or for the next of several signatures (Rest), save one session for
// the counter; what somebody flushed meanwhile is made anew.
package hwtpm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// Errors, one for each situation that an operator handles differently.
var (
	ErrNoTPM           = errors.New("hardware TPM does not answer")
	ErrWrongFamily     = errors.New("hardware TPM is not of the expected family")
	ErrFailureMode     = errors.New("hardware TPM is in failure mode; power-cycle the machine, then have the TPM replaced if it persists")
	ErrMalformed       = errors.New("hardware TPM gave a malformed answer")
	ErrBusy            = errors.New("hardware TPM stays busy")
	ErrOwned           = errors.New("hardware TPM is owned by someone else: owner authorisation refused; set owner_auth=")
	ErrLockout         = errors.New("hardware TPM is in dictionary-attack lockout")
	ErrNoSpace         = errors.New("hardware TPM has no room for another NV index, object or session")
	ErrIndexInUse      = errors.New("NV index is used by something else; choose another with nvindex=")
	ErrPCRMismatch     = errors.New("platform state differs from the approved one")
	ErrCleared         = errors.New("hardware TPM was cleared since the store was made; its keys are gone, restore with the recovery key")
	ErrReplaced        = errors.New("this is another hardware TPM than the one that the store was sealed to; restore with the recovery key")
	ErrSealDamaged     = errors.New("sealed object does not load in the hardware TPM that made it: the key area was altered")
	ErrCounterMissing  = errors.New("rollback counter is missing in the hardware TPM")
	ErrCounterReplaced = errors.New("rollback counter in the hardware TPM is not the one that belongs to this store")
	ErrPrimary         = errors.New("srk_handle= names no storage key")
	ErrPolicy          = errors.New("policy is malformed or not signed by the group's authority")
	ErrPCRBank         = errors.New("hardware TPM has no such PCR bank")
)

// Config of a hardware TPM.
type Config struct {
	OwnerAuth []byte              // owner authorisation, nil = well-known (2.0: empty)
	Index     uint32              // first of two NV indices, 0 = DefaultIndex
	Primary   uint32              // persistent storage key to use, 0 = derive one
	Sleep     func(time.Duration) // between retries, nil = time.Sleep
	Logf      func(format string, args ...any)
}

// DefaultIndex is the anchor's NV index; the counter's is the next. Both lie in
// the range that the TCG registry leaves to owners.
const DefaultIndex = 0x01805856

// TPM is a TPM 2.0. Not safe for concurrent use.
type TPM struct {
	t    *retrier
	c    Config
	auth []byte // owner

	identity *Identity // nil: not yet derived

	counter counterState
	kept    kept
}

// Open makes the TPM ready: started, of the right family, and rid of what an
// earlier run of the manager left loaded. Errors: ErrNoTPM, ErrWrongFamily,
// ErrFailureMode, ErrBusy, ErrMalformed.
func Open(t transport.TPM, c Config) (tpm *TPM, err error) {
	defer guard(&err)
	if c.Index == 0 {
		c.Index = DefaultIndex
	}
	if c.Sleep == nil {
		c.Sleep = time.Sleep
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	tpm = &TPM{t: &retrier{t: t, sleep: c.Sleep}, c: c, auth: c.OwnerAuth}
	if err := tpm.start(); err != nil {
		return nil, err
	}
	if err := tpm.flushLeftovers(); err != nil {
		return nil, err
	}
	return tpm, nil
}

// start sends Startup. Firmware has normally done that; TPM_RC_INITIALIZE says
// so (TPM20-P3 9.3).
func (t *TPM) start() error {
	_, err := tpm2.Startup{StartupType: tpm2.TPMSUClear}.Execute(t.t)
	if err != nil && !errors.Is(err, tpm2.TPMRCInitialize) {
		if err := classify("startup", err); errors.Is(err, ErrNoTPM) || errors.Is(err, ErrWrongFamily) || errors.Is(err, ErrFailureMode) {
			return err
		}
		return classify("startup", err)
	}
	// A TPM in failure mode answers this, and nothing else but GetTestResult.
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapTPMProperties,
		Property: uint32(tpm2.TPMPTPermanent), PropertyCount: 2}.Execute(t.t)
	if err != nil {
		return classify("get capability", err)
	}
	props, err := rsp.CapabilityData.Data.TPMProperties()
	if err != nil {
		return fmt.Errorf("%w: capability: %v", ErrMalformed, err)
	}
	for _, p := range props.TPMProperty {
		if p.Property == tpm2.TPMPTPermanent {
			t.logPermanent(p.Value)
		}
	}
	if _, err := (tpm2.GetRandom{BytesRequested: 1}).Execute(t.t); err != nil {
		return classify("self test", err)
	}
	return nil
}

// TPMA_PERMANENT bits (TPM20-P2 8.6).
const (
	permOwnerAuthSet = 1 << 0
	permInLockout    = 1 << 9
)

// logPermanent says what an operator has to know of the TPM's settings.
func (t *TPM) logPermanent(v uint32) {
	if v&permInLockout != 0 {
		t.c.Logf("hardware TPM is in dictionary-attack lockout; the manager's own objects are not affected")
	}
	if v&permOwnerAuthSet == 0 {
		t.c.Logf("%s", emptyOwner)
	}
}

// emptyOwner is what an empty owner authorisation costs. The manager takes none of
// its own: lost with a disk it would lock everybody out of the TPM's owner
// hierarchy, and the way back, a clear, destroys the root key.
const emptyOwner = "WARNING: owner authorisation of the hardware TPM is empty: whoever can boot another system on this machine can delete the rollback counter and the anchor, so that this manager refuses its store until it is recovered; set one (tpm2_changeauth -c owner) and give it in owner_auth="

// flushLeftovers unloads transient objects and loaded sessions. dom0's kernel
// saves its own contexts between commands, so that what is loaded now is ours;
// what it has saved is not touched.
func (t *TPM) flushLeftovers() error {
	// TPM_HT_TRANSIENT, and TPM_HT_LOADED_SESSION, which lists HMAC sessions
	// (0x02...) and policy sessions (0x03...) alike (TPM20-P2 7.2).
	for _, first := range []uint32{0x80000000, 0x02000000} {
		rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 64}.Execute(t.t)
		if err != nil {
			return classify("list handles", err)
		}
		list, err := rsp.CapabilityData.Data.Handles()
		if err != nil {
			return fmt.Errorf("%w: handles: %v", ErrMalformed, err)
		}
		for _, h := range list.Handle {
			kind := uint32(h) >> 24
			if first == 0x80000000 && kind != 0x80 || first == 0x02000000 && kind != 0x02 && kind != 0x03 {
				continue
			}
			t.flush(h)
		}
	}
	return nil
}

// done ends an operation. A panic of the TPM library over a TPM's answer becomes
// an error: the bus is not trusted to carry well-formed answers. After an error
// nothing of the operation stays loaded; where it cannot be known what is,
// everything is unloaded.
func (t *TPM) done(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %v", ErrMalformed, r)
	}
	started := t.t.takeSessions()
	if *err == nil {
		return
	}
	if errors.Is(*err, ErrMalformed) || errors.Is(*err, ErrNoSpace) {
		t.counter.session, t.counter.close = nil, nil
		t.kept = kept{}
		if ferr := t.flushLeftovers(); ferr != nil {
			t.c.Logf("hardware TPM: cleaning up: %v", ferr)
		}
		return
	}
	for _, h := range started {
		if t.counter.session == nil || t.counter.session.Handle() != h {
			// Most have ended with their command; those that have not are why.
			_, _ = tpm2.FlushContext{FlushHandle: h}.Execute(t.t)
		}
	}
}

// Close unloads all that is loaded.
func (t *TPM) Close() error {
	t.Rest()
	t.dropCounterSession()
	return nil
}

// retrier repeats commands that the TPM asks to be sent again. Such a command
// was not executed (TPM20-P2 6.6.3), so that repeating the same bytes is right,
// sessions included.
type retrier struct {
	t       transport.TPM
	sleep   func(time.Duration)
	started []tpm2.TPMHandle // sessions since takeSessions
}

// ccStartAuthSession is TPM_CC_StartAuthSession.
const ccStartAuthSession = 0x00000176

// note remembers the sessions that are started: go-tpm loses track of one whose
// policy fails.
func (r *retrier) note(cmd, rsp []byte) {
	if len(cmd) >= 10 && binary.BigEndian.Uint32(cmd[6:]) == ccStartAuthSession && len(rsp) >= 14 &&
		binary.BigEndian.Uint32(rsp[6:]) == 0 && len(r.started) < 64 {
		r.started = append(r.started, tpm2.TPMHandle(binary.BigEndian.Uint32(rsp[10:])))
	}
}

func (r *retrier) takeSessions() []tpm2.TPMHandle {
	s := r.started
	r.started = nil
	return s
}

// Retries: 1 ms doubling up to 100 ms, about 20 s in all.
const maxRetries = 200

func (r *retrier) Send(cmd []byte) ([]byte, error) {
	delay := time.Millisecond
	for range maxRetries {
		rsp, err := r.t.Send(cmd)
		if err != nil {
			return nil, fmt.Errorf("%w: %v", ErrNoTPM, err)
		}
		if len(rsp) < 10 || uint64(binary.BigEndian.Uint32(rsp[2:])) != uint64(len(rsp)) {
			return nil, fmt.Errorf("%w: %d bytes", ErrMalformed, len(rsp))
		}
		if binary.BigEndian.Uint16(rsp) == 0x00C4 && binary.BigEndian.Uint32(rsp[6:]) != 0 {
			return nil, fmt.Errorf("%w: it answers as a TPM 1.2 does", ErrWrongFamily)
		}
		switch tpm2.TPMRC(binary.BigEndian.Uint32(rsp[6:])) {
		case tpm2.TPMRCRetry, tpm2.TPMRCYielded, tpm2.TPMRCTesting:
			r.sleep(delay)
			delay = min(delay*2, 100*time.Millisecond)
		default:
			r.note(cmd, rsp)
			return rsp, nil
		}
	}
	return nil, ErrBusy
}

// classify names the errors that mean the same whatever the command was.
func classify(what string, err error) error {
	for _, m := range []struct {
		rc   tpm2.TPMRC
		name error
	}{
		{tpm2.TPMRCFailure, ErrFailureMode},
		{tpm2.TPMRCLockout, ErrLockout},
		{tpm2.TPMRCNVSpace, ErrNoSpace},
		{tpm2.TPMRCObjectMemory, ErrNoSpace},
		{tpm2.TPMRCSessionMemory, ErrNoSpace},
		{tpm2.TPMRCSessionHandles, ErrNoSpace},
		{tpm2.TPMRCMemory, ErrNoSpace},
	} {
		if errors.Is(err, m.rc) {
			return fmt.Errorf("%s: %w: %v", what, m.name, err)
		}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// guard is done for functions without a TPM.
func guard(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %v", ErrMalformed, r)
	}
}
