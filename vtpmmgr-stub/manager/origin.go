package manager

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// A root key that opens is not yet this manager's: whoever may use the hardware
// TPM while another system runs can seal one of his own under the same policy, and
// write a store around it. So the root has to prove that it was sealed in the
// present platform state, or in one that its authority has signed. The authority
// is named by the disk, which proves nothing about it: a state that only it vouches
// for is taken only if the command line names the same authority.

// Refusals of a root key that opens.
var (
	ErrUnproven    = errors.New("nothing proves that this manager has made the root key: the store is of an older version, or forged")
	ErrForeignRoot = errors.New("the root key was sealed by another system than an approved one: the store is FORGED")
	ErrUnpinned    = errors.New("the root key was sealed in another platform state than the present one, and only the authority that the disk names vouches for it")
	ErrNarrow      = errors.New("the root key was sealed over other PCRs than pcrs= asks for")
	ErrAuthority   = errors.New("the root belongs to another authority than the one that authority= names")
)

// rootInfo is what the hardware TPM notes about the making of a manager's root.
func rootInfo(id proto.UUID) []byte { return append([]byte("xenvtpm root 1\x00"), id[:]...) }

// rootPolicy is a policy for the root, with a proof of its making.
func (m *Manager) rootPolicy(id proto.UUID, auth *hwtpm.Authority) hwtpm.Policy {
	return hwtpm.Policy{PCRs: m.c.PCRs, Authority: auth, Info: rootInfo(id)}
}

// authorityHash32 names an authority, as authority= does.
func authorityHash32(public []byte) [32]byte { return sha256.Sum256(public) }

// checkRoot decides on the root of manager id, which has opened. unproven says
// that the operator takes it on trust; it is to be sealed anew.
func (m *Manager) checkRoot(id proto.UUID, b *hwtpm.Binding) (unproven bool, err error) {
	pinned, err := m.checkAuthority(b)
	if err != nil {
		return false, err
	}
	adopt := m.c.Adopt == id && id != proto.UUID{}
	o, err := m.c.HW.Origin(b, rootInfo(id))
	switch {
	case errors.Is(err, hwtpm.ErrNoProof) && adopt, err == nil && o.Present && !covers(o.PCRs, m.c.PCRs) && adopt:
		return true, nil
	case errors.Is(err, hwtpm.ErrNoProof):
		return false, fmt.Errorf("%w; if its disk and this machine have never been in other hands, start once with adopt=%v", ErrUnproven, id)
	case err != nil:
		return false, err
	case o.Present && covers(o.PCRs, m.c.PCRs), o.Approved && pinned:
		return false, nil
	case o.Approved:
		return false, fmt.Errorf("%w; if authority=%x is yours (vtpmctl authority tells), put that on the manager's command line", ErrUnpinned, authorityHash32(b.Auth.Public))
	case o.Present:
		return false, fmt.Errorf("%w (PCRs %s, pcrs= says %s); go back to those, or start once with adopt=%v", ErrNarrow, pcrNames(o.PCRs), pcrNames(m.c.PCRs), id)
	}
	return false, ErrForeignRoot
}

// checkAuthority holds the authority against the one that the command line names.
func (m *Manager) checkAuthority(b *hwtpm.Binding) (pinned bool, err error) {
	switch {
	case b.Auth == nil && m.c.Authority != [32]byte{}:
		m.logf("WARNING: authority= names an authority, but this store is not provisioned: it opens in the state of its making")
		return false, nil
	case b.Auth == nil:
		return false, nil
	case m.c.Authority == [32]byte{}:
		m.logf("WARNING: nothing but the disk says whose the root is: put authority=%x on the command line, if that is yours", authorityHash32(b.Auth.Public))
		return false, nil
	}
	return true, m.isAuthority(b.Auth.Public)
}

// isAuthority is nil if the command line names that authority, or none.
func (m *Manager) isAuthority(public []byte) error {
	if h := authorityHash32(public); m.c.Authority != [32]byte{} && !bytes.Equal(h[:], m.c.Authority[:]) {
		return fmt.Errorf("%w: it is %x", ErrAuthority, h)
	}
	return nil
}

// covers reports whether a selection has all PCRs of another.
func covers(s, of proto.PCRSelection) bool { return s.Alg == of.Alg && of.Mask&^s.Mask == 0 }

// adopt seals a root anew that was taken on trust, so that the next start has its
// proof.
func (m *Manager) adopt() error {
	k, b, err := m.rootBinding()
	if err != nil {
		return err
	}
	if !m.unproven && !m.lacksProof(b) {
		if m.c.Adopt == proto.UUID(m.store.ID()) {
			m.logf("WARNING: adopt= is not needed any more; take it away: while it stands, a forged store would be taken as well")
		}
		return nil
	}
	sealed, err := m.c.HW.Seal(m.secret.encode(), m.rootPolicy(m.store.ID(), b.Auth))
	if err != nil {
		return fmt.Errorf("sealing the adopted root anew: %w", err)
	}
	k.root = sealed.Append(nil)
	if err := m.store.SetKeyArea(k.encode()); err != nil {
		return err
	}
	const what = "adopt=: the store was taken WITHOUT A PROOF that this manager made it; it has one from now on"
	m.logf("WARNING: %s. Take adopt= off the command line", what)
	m.events.add(Event{Time: m.unixNow(), Kind: EventPolicy, Count: 1, UUID: m.store.ID(), Text: what})
	if err := m.commit(nil); err != nil {
		return err
	}
	m.unproven = false
	return nil
}

// lacksProof: a cut can leave a key area that has its proof beside the one in
// force, which has not. The root was opened by the newer one then.
func (m *Manager) lacksProof(inForce *hwtpm.Binding) bool {
	if bytes.Equal(m.store.KeyArea(), m.opened) {
		return false
	}
	unproven, err := m.checkRoot(m.store.ID(), inForce)
	return unproven || errors.Is(err, ErrUnproven) || errors.Is(err, ErrNarrow)
}
