package manager

import (
	"errors"
	"fmt"
	"time"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/store"
)

// start finds out what the disk and the hardware TPM hold, and opens or makes
// the store:
//
//	disk \ anchor   none               making, same   making, other  active, same   active, other
//	blank           make               make           make           ErrBlanked     (same as other)
//	birth mark      make               make           ErrOther...    ErrBlanked     ErrOther...
//	store           open               open, finish   ErrOther...    open           ErrOther...
//	anything else   the store's error, always
//
// "Other" cannot be told on a blank disk. An anchor in state making guards
// nothing: its store was never finished.
func (m *Manager) start() error {
	switch {
	case m.c.HWErr != nil:
		return m.c.HWErr
	case m.c.DiskErr != nil:
		return m.c.DiskErr
	case m.c.HW == nil || m.c.Disk == nil:
		return errors.New("internal error: no hardware TPM or no disk configured")
	}
	probed, perr := store.Probe(m.c.Disk)
	if perr != nil && !errors.Is(perr, store.ErrBlank) {
		return perr
	}
	if err := m.seed(); err != nil {
		return err
	}
	anchor, err := m.c.HW.Anchor()
	if err != nil {
		return err
	}
	if anchor.Manager == [16]byte{} { // its index was defined, but not yet written
		anchor.State = hwtpm.AnchorNone
	}
	if m.c.RollbackOff {
		m.logf("WARNING: rollback=off: an old copy of the manager's disk will not be noticed")
	}
	if perr != nil || probed.Birth {
		return m.make(probed, anchor)
	}
	if anchor.State != hwtpm.AnchorNone && anchor.Manager != probed.ID {
		return fmt.Errorf("%w: disk of manager %v, hardware TPM of manager %v", ErrOtherManager, proto.UUID(probed.ID), proto.UUID(anchor.Manager))
	}
	return m.openStore(probed, anchor)
}

// make makes a new store on a disk that is blank, or was marked for one before.
func (m *Manager) make(p *store.Probed, anchor hwtpm.Anchor) error {
	forget := anchor.State == hwtpm.AnchorActive && anchor.Manager == m.c.Forget && m.c.Forget != proto.UUID{}
	switch {
	case forget:
		m.logf("forget=%v: the hardware TPM's memory of that store is given up", m.c.Forget)
	case anchor.State == hwtpm.AnchorActive:
		return fmt.Errorf("%w%v", ErrBlanked, proto.UUID(anchor.Manager))
	case p.Birth && anchor.State == hwtpm.AnchorMaking && anchor.Manager != p.ID:
		return fmt.Errorf("%w: unfinished disk of manager %v, hardware TPM of manager %v", ErrOtherManager, proto.UUID(p.ID), proto.UUID(anchor.Manager))
	}
	id, err := newUUID(m.c.Rand)
	if err != nil {
		return err
	}
	if p.Birth {
		id = p.ID
	}
	m.logf("making a new store, manager %v", id)
	if err := m.format(p, id); err != nil {
		return fmt.Errorf("making a new store: %w", err)
	}
	m.logf("store is ready; it opens on this machine in its present state only (PCRs %s), as no approval key is provisioned", pcrNames(m.c.PCRs))
	return m.serve()
}

// format is ordered so that a power cut anywhere leaves something that start
// takes up again: the anchor says "making" before anything else exists and
// "active" after all of it does.
func (m *Manager) format(p *store.Probed, id proto.UUID) error {
	hw := m.c.HW
	if err := hw.SetAnchor(hwtpm.Anchor{State: hwtpm.AnchorMaking, Manager: id}); err != nil {
		return err
	}
	if err := store.Begin(m.c.Disk, p, id); err != nil {
		return err
	}
	var err error
	if m.secret, err = newRoot(m.c.Rand, id); err != nil {
		return err
	}
	binding, err := hw.Seal(m.secret.encode(), m.rootPolicy(id, nil))
	if err != nil {
		return err
	}
	if m.nv, err = hw.MakeCounter(m.secret.counter[:]); err != nil {
		return err
	}
	key := keyFile{root: binding.Append(nil)}
	if m.store, err = store.Format(m.c.Disk, id, key.encode(), m.nv, m.storeConfig()); err != nil {
		return err
	}
	return hw.SetAnchor(hwtpm.Anchor{State: hwtpm.AnchorActive, Manager: id})
}

func (m *Manager) storeConfig() store.Config {
	return store.Config{Key: m.secret.key[:], Rand: m.c.Rand, Logf: m.logf}
}

// openStore unseals the root key, opens the store, and checks that it is the
// newest there ever was.
func (m *Manager) openStore(p *store.Probed, anchor hwtpm.Anchor) error {
	if err := m.unsealRoot(p); err != nil {
		return err
	}
	if err := m.openUnsealed(p, anchor); err != nil {
		return err
	}
	return m.adopt()
}

// openUnsealed is openStore with the root secret at hand.
func (m *Manager) openUnsealed(p *store.Probed, anchor hwtpm.Anchor) error {
	if m.secret.manager != p.ID {
		return fmt.Errorf("%w: sealed for manager %v", ErrOtherManager, m.secret.manager)
	}
	var err error
	if m.store, err = store.Open(m.c.Disk, p, m.storeConfig()); err != nil {
		return err
	}
	if m.nv, err = m.c.HW.OpenCounter(m.secret.counter[:]); err != nil {
		if !m.c.RollbackOff || !errors.Is(err, hwtpm.ErrCounterMissing) && !errors.Is(err, hwtpm.ErrCounterReplaced) {
			return err
		}
		m.logf("WARNING: rollback=off: %v; making a new one", err)
		if m.nv, err = m.c.HW.MakeCounter(m.secret.counter[:]); err != nil {
			return err
		}
	}
	if err := m.checkCounter(); err != nil {
		return err
	}
	for _, what := range p.Notes {
		m.logf("disk damage, made good from the other copy: %s", what)
	}
	for _, what := range m.store.Damaged() {
		m.logf("disk damage, made good from the other copy: %s", what)
	}
	if err := m.store.Repair(); err != nil {
		return err
	}
	if err := m.catchUp(); err != nil {
		return err
	}
	if anchor.State != hwtpm.AnchorActive {
		m.logf("hardware TPM did not remember this store as finished; it does now")
		if err := m.c.HW.SetAnchor(hwtpm.Anchor{State: hwtpm.AnchorActive, Manager: p.ID}); err != nil {
			return err
		}
	}
	return m.serve()
}

func (m *Manager) unsealRoot(p *store.Probed) error {
	var firstErr error
	for _, area := range p.Areas {
		err := m.unsealArea(p.ID, area.Payload)
		if err == nil {
			return nil
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	return fmt.Errorf("opening the root key: %w", firstErr)
}

// unsealArea opens the root key and insists on knowing where it was made.
func (m *Manager) unsealArea(id proto.UUID, payload []byte) error {
	k, err := parseKeyFile(payload)
	if err != nil {
		return err
	}
	b, err := hwtpm.ParseBinding(k.root)
	if err != nil {
		return err
	}
	secret, err := m.c.HW.Unseal(b)
	if err != nil {
		return err
	}
	defer clear(secret)
	if m.unproven, err = m.checkRoot(id, b); err != nil {
		return err
	}
	m.opened = payload
	m.secret, err = parseRoot(secret)
	return err
}

// checkCounter accepts the disk's counter if it is the hardware's, or the one
// that follows: the last commit was written, and the increment is still owed.
func (m *Manager) checkCounter() error {
	disk := m.store.Counter()
	m.owed, m.unsure = false, false
	switch {
	case disk == m.nv:
		return nil
	case disk == m.nv+1 && !m.c.RollbackOff:
		m.owed = true
		return nil
	case m.c.RollbackOff:
		m.logf("WARNING: rollback=off: disk has counter %d, hardware %d: this may be an OLD disk, and is accepted", disk, m.nv)
		return nil
	case disk < m.nv:
		return fmt.Errorf("%w (disk %d, hardware %d)", ErrRollback, disk, m.nv)
	default:
		return fmt.Errorf("%w (disk %d, hardware %d)", ErrCounterBehind, disk, m.nv)
	}
}

// catchUp makes the increment that a commit before this start still owes. What
// was read of the disk is durable by now, which Repair has seen to: a counter
// that moves before its superblock is flushed would outlive it.
func (m *Manager) catchUp() error {
	if !m.owed {
		return nil
	}
	m.logf("the last commit was cut off before the hardware counter moved; moving it")
	return m.settleOwed()
}

// serve reads what the manager keeps in memory and makes one commit. The commit
// matters: a cut between flush and increment can leave two disks with the same
// counter, one that start accepted and one that a thief kept; after one more
// increment only the first can be the newest.
func (m *Manager) serve() error {
	if m.store.ReadOnly() {
		return store.ErrReadOnly
	}
	if err := m.loadGroups(); err != nil {
		return err
	}
	if err := m.events.load(m.store); err != nil {
		m.logf("event log: %v", err)
	}
	m.events.add(Event{Time: m.unixNow(), Kind: EventStarted, Count: 1, UUID: m.store.ID(), Text: "manager started"})
	if err := m.commit(nil); err != nil {
		return err
	}
	free, total := m.store.Space()
	took := ""
	if !m.began.IsZero() {
		took = fmt.Sprintf(", opened in %v", m.c.Now().Sub(m.began).Round(100*time.Microsecond))
	}
	m.logf("store open: manager %v, %d entries, commit %d, %d of %d sectors free%s", proto.UUID(m.store.ID()), m.store.Count(), m.store.Generation(), free, total, took)
	return nil
}

// pcrNames lists PCRs with ranges, as pcrs= takes them.
func pcrNames(s proto.PCRSelection) string {
	out := ""
	for i := 0; i < 24; i++ {
		if s.Mask>>i&1 == 0 {
			continue
		}
		j := i
		for j < 23 && s.Mask>>(j+1)&1 == 1 {
			j++
		}
		if out != "" {
			out += ","
		}
		if out += fmt.Sprint(i); j > i {
			out += fmt.Sprintf("-%d", j)
		}
		i = j
	}
	return out
}
