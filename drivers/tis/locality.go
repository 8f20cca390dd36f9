package tis

import (
	"fmt"
	"time"
)

// Localities, as TIS 1.3 section 11.2.11 and PTP 6.5.2.4 (TPM_ACCESS) have them:
// at most one is active, and only its commands are taken. One asks with
// requestUse and is served when the active one writes activeLocality. A higher
// one may also Seize the TPM from a lower one; a running command is aborted.
//
// After power-on nobody is active, but much firmware leaves locality 0 active
// when it hands over, and a domain that was destroyed leaves its own. Nobody
// will ever release these, so New does.

// quiet is how long a locality must have kept the TPM without using it to count
// as left behind.
const quiet = time.Second

// request makes our locality the active one. It waits for its turn and never
// takes the TPM from another: that one is alive and may be in the middle of a
// command.
func (d *Device) request() error {
	if err := d.ask(); err != nil {
		return err
	}
	d.poll(d.cfg.LocalityWait, true, d.active)
	return d.asked()
}

// takeOver is request at start. It does not wait for ever for a locality that
// was left active: after a second in which that locality neither runs a command
// nor changes, or after LocalityWait when its state cannot be told from a
// running command, the locality is given up in its name. That is for who owns
// its registers, which we do if we can reach them. If not, and ours is the
// higher number, we seize the TPM.
func (d *Device) takeOver() error {
	if err := d.ask(); err != nil {
		return err
	}
	left := d.leftBehind()
	if d.poll(d.cfg.LocalityWait, true, func() bool { return d.active() || left() }); d.active() {
		return d.asked()
	}
	if n, ok := d.holder(); ok {
		d.cfg.Logf("tis: locality %d was left active (TPM_STS %#08x); giving it up for locality %d", n, d.statusOf(n), d.cfg.Locality)
		d.regs.Write8(n*localitySize+regAccess, accessActive)
	}
	if !d.poll(d.cfg.Timeouts.A, false, d.active) {
		d.cfg.Logf("tis: another locality keeps the TPM; seizing it for locality %d", d.cfg.Locality)
		d.regs.Write8(d.base+regAccess, accessSeize)
		d.poll(d.cfg.Timeouts.A, false, d.active)
	}
	return d.asked()
}

// ask requests use of the TPM, unless it is ours already.
func (d *Device) ask() error {
	valid := d.poll(d.cfg.Timeouts.A, false, func() bool { return d.access()&accessValid != 0 })
	a := d.access()
	switch {
	case a == floating8:
		return ErrNoTPM
	case !valid:
		return fmt.Errorf("%w: TPM_ACCESS %#02x is not valid", ErrTimeout, a)
	case a&accessActive == 0:
		d.regs.Write8(d.base+regAccess, accessRequestUse)
	}
	return nil
}

// asked is the outcome of ask; a request that was not met is withdrawn.
func (d *Device) asked() error {
	switch a := d.access(); {
	case a == floating8:
		return ErrNoTPM
	case a&accessActive != 0:
		return nil
	default:
		d.release()
		return fmt.Errorf("%w: TPM_ACCESS %#02x at locality %d", ErrLocalityBusy, a, d.cfg.Locality)
	}
}

// active reports whether our locality is the active one, or gone with the TPM.
func (d *Device) active() bool {
	const mask = accessValid | accessActive
	return d.access()&mask == mask
}

// release gives the locality up, or withdraws a request for it.
func (d *Device) release() { d.regs.Write8(d.base+regAccess, accessActive) }

// leftBehind makes a condition that holds when one locality has had the TPM for
// the time quiet and was in the same state all along, one in which the TPM waits
// for it. A TPM that is idle (none of the three bits) looks like one that
// executes a command.
func (d *Device) leftBehind() func() bool {
	const waits = stsCommandReady | stsDataAvail | stsExpect
	last, since := uint32(0), int64(0)
	return func() bool {
		n, ok := d.holder()
		if !ok {
			last = 0
			return false
		}
		sts := d.statusOf(n)
		if state := (sts&waits)<<8 | n; sts == floating32 || sts&waits == 0 {
			last = 0
		} else if state != last {
			last, since = state, d.cfg.Now()
		}
		return last != 0 && d.cfg.Now()-since >= int64(quiet)
	}
}

// holder is the other locality that is active, if we can see its registers.
func (d *Device) holder() (uint32, bool) {
	return d.neighbour(func(access uint8) bool { return access&accessActive != 0 })
}

// neighbour finds the first other locality whose TPM_ACCESS is there and pleases.
func (d *Device) neighbour(pleases func(access uint8) bool) (uint32, bool) {
	for n := uint32(0); n <= maxLocality; n++ {
		if n == uint32(d.cfg.Locality) {
			continue
		}
		if a := d.regs.Read8(n*localitySize + regAccess); a != floating8 && a&accessValid != 0 && pleases(a) {
			return n, true
		}
	}
	return 0, false
}

func (d *Device) statusOf(n uint32) uint32 { return d.regs.Read32(n*localitySize + regSts) }
