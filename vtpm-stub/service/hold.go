package service

import (
	"bytes"
	"errors"

	"xenvtpm/drivers/tpmwire"
	"xenvtpm/vtpm-stub/state"
	"xenvtpm/vtpm-stub/tpm2"
)

// Keeper makes states durable; *state.Store is one.
type Keeper interface {
	Save(blob []byte) error
	Settle() error
}

// A hold is what there is between a change that a command has made and the
// moment at which it is durable, when the manager or the disk is away meanwhile.
// The TPM has made the change and cannot take it back without losing what is
// volatile; so it goes forward: nothing is answered and nothing else is executed
// until the change is durable. If the vTPM ends before that, the change is what
// the manager's record says, done or not done, and nobody has seen it.
type hold struct {
	keeper Keeper // nil: the TPM is being brought up, and nothing is held
	on     bool
	blob   []byte                 // the newest state, if the keeper has not begun with it
	owed   func() (Engine, error) // a power cycle that the manager was needed for
	kept   *kept
}

// kept is the answer to the command that made the change.
type kept struct {
	from     string
	id       uint64 // of the attachment
	cmd, rsp []byte
	at       int64 // ms, when the change became durable; 0: it is not
}

// keepFor is how long an answer is kept for a client that was told to try again,
// in ms.
const keepFor = 5 * 60 * 1000

// persist is the engine's Persist. An error is final for the engine.
func (s *Service) persist(blob []byte) error {
	h := &s.hold
	if h.on { // what waits behind the unsettled save
		h.wait(blob)
		return nil
	}
	err := h.keeper.Save(blob)
	if err == nil || s.opening || !s.transient(err) {
		s.why = err
		return err
	}
	h.on = true
	if !errors.Is(err, state.ErrUncertain) {
		h.wait(blob)
	}
	s.logf("service: WAITING, a change of the TPM's state is not durable yet: %v", err)
	return nil
}

func (h *hold) wait(blob []byte) {
	clear(h.blob)
	h.blob = bytes.Clone(blob)
}

// Held reports whether a change waits to become durable, or a power cycle for the
// manager. No command may be executed until Settle has succeeded.
func (s *Service) Held() bool { return s.hold.on }

// Settle makes durable what is held. After an error that is not transient the
// TPM is in failure mode, and Why says so; after one that is, it may be called
// again.
func (s *Service) Settle() error {
	h := &s.hold
	if !h.on {
		return nil
	}
	err := h.keeper.Settle()
	if err == nil && h.owed != nil {
		err = s.cycleOwed()
	}
	if err == nil && h.blob != nil {
		err = h.keeper.Save(h.blob)
		if err == nil || errors.Is(err, state.ErrUncertain) {
			clear(h.blob)
			h.blob = nil
		}
	}
	switch {
	case err == nil:
		h.on = false
		if h.kept != nil {
			h.kept.at = s.milliseconds()
		}
		s.logf("service: the change is durable, serving again")
	case !s.transient(err):
		s.lose(err)
	}
	return err
}

// owe keeps a power cycle for later that needs a manager who is away. Until it is
// done, nothing is executed: what the TPM has now is neither the old PCRs nor the
// new ones.
func (s *Service) owe(cycle func() (Engine, error), why error) {
	s.hold.on, s.hold.owed = true, cycle
	s.logf("service: WAITING, a power cycle cannot be done yet: %v", why)
}

func (s *Service) cycleOwed() error {
	e, err := s.hold.owed()
	if err == nil {
		s.engine, s.hold.owed = e, nil
	}
	return err
}

// withhold keeps the answer to a command whose change is not durable yet.
func (s *Service) withhold(r *Request, rsp []byte) {
	s.hold.kept = &kept{from: r.From, id: r.Attachment.ID, cmd: bytes.Clone(r.Command), rsp: bytes.Clone(rsp)}
}

// Kept hands over the answer that Handle withheld, once the change is durable.
// nil: there is none, and the command has not been executed.
func (s *Service) Kept() []byte {
	k := s.hold.kept
	if k == nil || s.hold.on {
		return nil
	}
	s.hold.kept = nil
	return k.rsp
}

// repeated answers a client that was told to try again and does, with the same
// octets: its command is done. Anything else from it says that it does not.
func (s *Service) repeated(r *Request) []byte {
	k := s.hold.kept
	if k == nil || k.from != r.From || k.id != r.Attachment.ID {
		return nil
	}
	s.hold.kept = nil
	if !bytes.Equal(k.cmd, r.Command) || s.milliseconds()-k.at > keepFor {
		return nil
	}
	return k.rsp
}

func (s *Service) milliseconds() int64 {
	if s.clock == nil {
		return 0
	}
	return s.clock()
}

// Busy is the answer to a command that cannot be executed now but later:
// TPM_RC_RETRY, which Linux's driver and the TSS try again by themselves, or
// TPM_RETRY.
func Busy(cmd []byte) []byte {
	h, err := tpmwire.ParsePacket(cmd)
	if err != nil {
		return tpmwire.ErrorResponse(h.Tag, tpmwire.FaultSize)
	}
	switch h.Tag.RequestFamily() {
	case tpmwire.Family20:
		return error20(tpm2.TPM_RC_RETRY)
	case tpmwire.Family12:
		return respond12(nil, tpmwire.Result12Retry)
	}
	return tpmwire.ErrorResponse(h.Tag, tpmwire.FaultTag)
}

// lose ends the use of the engine. What it held has not been answered.
func (s *Service) lose(err error) {
	s.engine, s.why = nil, err
	clear(s.hold.blob)
	s.hold = hold{}
}

// Why says why there is no TPM; nil when there is one. The caller logs it.
func (s *Service) Why() error {
	if s.engine != nil {
		return nil
	}
	return s.why
}

func (s *Service) transient(err error) bool { return s.passing != nil && s.passing(err) }
