package tpm2

import (
	"errors"
	"fmt"
	"io"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// Config is what a TPM needs of its surroundings.
type Config struct {
	// Clock returns monotonic milliseconds. Its zero is of no importance.
	Clock func() int64
	// Entropy gives unpredictable octets. An error puts the TPM in failure mode.
	Entropy io.Reader
	// Persist makes the permanent state durable; it must not keep the slice. It
	// is called before the answer to a command that changed permanent state. On
	// error the TPM goes into failure mode. nil: nothing is kept.
	Persist func(blob []byte) error
	// Cancelled reports whether the current command should be given up.
	// nil: never.
	Cancelled func() bool
	// Logf gets one line for each event that an operator should know of.
	// nil: silent. It never gets secrets.
	Logf func(format string, args ...any)
	// MaxCommand limits commands and responses; 0 means 4096. Xen's transport
	// takes 4088.
	MaxCommand int
	// Profile is what a new TPM offers; nil means DefaultProfile. A TPM that is restored
	// keeps its own.
	Profile *Profile
	// RSA1024 enables RSA keys of 1024 bits whatever the profile says.
	RSA1024 bool
	// PCRBanks are the banks of a new TPM; nil means SHA-1, SHA-256, SHA-384
	// and SHA-512, as far as the profile has them.
	PCRBanks []AlgID
}

// TPM is one TPM 2.0. It is not safe for concurrent use.
type TPM struct {
	cfg      Config
	profile  *Profile               // chosen when the TPM was made
	offer    *Profile               // what is offered: profile and Config.RSA1024
	commands [commandSlots]*command // those of offer

	owner, endorsement, platform, null hierarchy

	perm permanent
	sr   stateReset
	sc   stateClear
	ram  ram

	dirty    bool // permanent state differs from what Persist last got
	failure  RC   // not 0: failure mode, for this reason
	broken   bool // Persist failed: failure mode survives _TPM_Init
	hash     tpmcrypto.Hasher
	drbg     *tpmcrypto.DRBG
	pool     [2048]byte // random octets not yet handed out: pool[poolLeft:]
	poolLeft int
	refills  int
	phys     bool // physical presence is asserted
	estab    bool // TPM established bit

	call    call
	cmdBuf  [maxCommandSize]byte
	scratch [maxResponseSize]byte
	hmacs   hmacBufs
	saveBuf []byte
}

// Errors of New and Restore.
var (
	ErrConfig    = errors.New("tpm2: Config.Clock and Config.Entropy are needed")
	ErrState     = errors.New("tpm2: saved state is damaged")
	ErrNewState  = errors.New("tpm2: saved state is of a newer version than this program")
	ErrWrongKind = errors.New("tpm2: saved state is of another kind")
	// ErrStale is an ErrState: volatile state of a TPM that went on, or was started anew, since. It is
	// of no use to anybody, and may be deleted.
	ErrStale = fmt.Errorf("%w: volatile state is of another run of the TPM", ErrState)
)

// New manufactures a TPM: new seeds, empty NV, default PCR banks. Its state is
// given to Config.Persist before New returns. The TPM is powered on and waits
// for TPM2_Startup.
func New(cfg Config) (*TPM, error) {
	t, err := newTPM(cfg)
	if err != nil {
		return nil, err
	}
	t.profile = cfg.Profile
	if t.profile == nil {
		t.profile = DefaultProfile()
	}
	t.applyProfile()
	if err := t.manufacture(); err != nil {
		return nil, err
	}
	if err := t.save(); err != nil {
		return nil, fmt.Errorf("tpm2: saving the new TPM: %w", err)
	}
	t.PowerOn()
	return t, nil
}

// Restore makes a TPM from the permanent state that Config.Persist last got. It
// is powered on and waits for TPM2_Startup. Errors: ErrState, ErrNewState,
// ErrWrongKind.
func Restore(cfg Config, blob []byte) (*TPM, error) {
	t, err := newTPM(cfg)
	if err != nil {
		return nil, err
	}
	if err := t.decodePermanent(blob); err != nil {
		return nil, err
	}
	t.applyProfile()
	t.PowerOn()
	return t, nil
}

func newTPM(cfg Config) (*TPM, error) {
	if cfg.Clock == nil || cfg.Entropy == nil {
		return nil, ErrConfig
	}
	if cfg.MaxCommand <= 0 || cfg.MaxCommand > maxCommandSize {
		cfg.MaxCommand = maxCommandSize
	}
	t := &TPM{cfg: cfg}
	t.noPolicies()
	if err := t.seedRandom(); err != nil {
		return nil, err
	}
	return t, nil
}

// applyProfile makes the TPM offer what its profile says.
func (t *TPM) applyProfile() {
	t.offer = t.profile
	if t.cfg.RSA1024 {
		t.offer = t.profile.withRSA1024()
	}
	t.commands = indexCommands(t.offer)
}

// Profile returns what the TPM offers.
func (t *TPM) Profile() *Profile { return t.offer }

func (t *TPM) logf(format string, args ...any) {
	if t.cfg.Logf != nil {
		t.cfg.Logf(format, args...)
	}
}

// cancelled reports whether a long command should end with TPM_RC_CANCELED.
func (t *TPM) cancelled() bool { return t.cfg.Cancelled != nil && t.cfg.Cancelled() }

// touch says that permanent state was changed: the command is answered only
// after Config.Persist took the new state.
func (t *TPM) touch() { t.dirty = true }

// clearOrderly nullifies an earlier Shutdown. Whatever changes state that
// Shutdown saves calls it (TPM20-P3 section 9.4.1).
func (t *TPM) clearOrderly() {
	if t.perm.orderly != orderlyNone && t.ram.started {
		t.perm.orderly = orderlyNone
		t.touch()
	}
}

// fail enters failure mode (TPM20-P1 section 12.5).
func (t *TPM) fail(rc RC, why string) RC {
	if t.failure == 0 {
		t.failure = rc
		t.ram.testResult = rc
		t.logf("tpm2: failure mode: %s", why)
	}
	return TPM_RC_FAILURE
}

// Failed reports whether the TPM is in failure mode.
func (t *TPM) Failed() bool { return t.failure != 0 }

// hier returns the hierarchy of TPM_RH_OWNER, _ENDORSEMENT, _PLATFORM or _NULL.
func (t *TPM) hier(h Handle) *hierarchy {
	switch h {
	case TPM_RH_OWNER:
		return &t.owner
	case TPM_RH_ENDORSEMENT:
		return &t.endorsement
	case TPM_RH_PLATFORM:
		return &t.platform
	case TPM_RH_NULL:
		return &t.null
	}
	panic("internal error: tpm2: not a hierarchy")
}

// hierarchyEnabled reports whether objects of the hierarchy may be used.
func (t *TPM) hierarchyEnabled(h Handle) bool {
	return h == TPM_RH_NULL || t.hier(h).enabled
}
