package tis

import (
	"errors"
	"fmt"
	"time"

	"xenvtpm/drivers/tpmwire"
)

// Errors. Those of one Send leave the device usable, except ErrNoTPM.
var (
	ErrNoTPM        = errors.New("tis: no TPM at the register window (it reads as ones or zeros); is iomem= set?")
	ErrCRB          = errors.New("tis: the TPM is set to the CRB interface, which this driver does not speak")
	ErrNoLocality   = errors.New("tis: the TPM is there, but not at this locality (iomem= leaves its page out, or the chipset keeps it to itself)")
	ErrLocalityBusy = errors.New("tis: another locality keeps the TPM; who else drives it?")
	ErrSeized       = errors.New("tis: another locality took the TPM during a command")
	ErrTimeout      = errors.New("tis: the TPM did not get ready in time")
	ErrCancelled    = errors.New("tis: command cancelled")
	ErrResponse     = errors.New("tis: malformed response")
	ErrCommand      = errors.New("tis: malformed command")
)

// Timeouts are the interface's time limits (TIS 11.2.4, PTP 6.5.1.4).
type Timeouts struct {
	A time.Duration // locality, tpmRegValidSts
	B time.Duration // commandReady, abort
	C time.Duration // stsValid, Expect, dataAvail within a transfer
	D time.Duration // burstCount
}

// defaultTimeouts are the larger of TIS's and PTP's, and 4 s for B as older
// TPM 2.0 chips need.
var defaultTimeouts = Timeouts{750 * time.Millisecond, 4 * time.Second, 750 * time.Millisecond, 750 * time.Millisecond}

// Config is what New needs.
type Config struct {
	Locality uint8                // 0 to 4; the one that every command uses
	Now      func() int64         // monotonic nanoseconds
	Sleep    func(time.Duration)  // waits about that long
	Idle     func()               // called between polls of a running command; may be nil
	Logf     func(string, ...any) // may be nil

	Timeouts     Timeouts      // zero fields: defaults
	LocalityWait time.Duration // how long another locality may keep the TPM; default 10 s
	MaxDuration  time.Duration // upper bound for every command; default: by command, at most 300 s
}

// Device is a TPM behind a FIFO interface. One goroutine uses it at a time;
// Cancel may be called from Idle.
type Device struct {
	regs   Regs
	cfg    Config
	base   uint32 // of our locality
	didVid uint32
	family tpmwire.Family
	cancel bool
}

// New looks for a TPM and checks that it has a FIFO interface. It sends no
// command: whoever comes before us may have started the TPM already. It takes
// the TPM over from a locality that was left active (see takeOver).
func New(regs Regs, cfg Config) (*Device, error) {
	if cfg.Locality > maxLocality || cfg.Now == nil || cfg.Sleep == nil {
		return nil, fmt.Errorf("tis: bad Config: locality %d, Now and Sleep set: %t", cfg.Locality, cfg.Now != nil && cfg.Sleep != nil)
	}
	fill := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	fill(&cfg.Timeouts.A, defaultTimeouts.A)
	fill(&cfg.Timeouts.B, defaultTimeouts.B)
	fill(&cfg.Timeouts.C, defaultTimeouts.C)
	fill(&cfg.Timeouts.D, defaultTimeouts.D)
	fill(&cfg.LocalityWait, 10*time.Second)
	if cfg.Logf == nil {
		cfg.Logf = func(string, ...any) {}
	}
	d := &Device{regs: regs, cfg: cfg, base: uint32(cfg.Locality) * localitySize}
	return d, d.probe()
}

// probe checks that something answers and which family it is.
func (d *Device) probe() error {
	d.didVid = d.regs.Read32(d.base + regDidVid)
	if d.didVid == floating32 || d.didVid == 0 || d.access() == floating8 {
		err := ErrNoTPM
		if _, ok := d.neighbour(func(uint8) bool { return true }); ok {
			err = ErrNoLocality
		}
		return fmt.Errorf("%w: DID_VID %#08x, locality %d", err, d.didVid, d.cfg.Locality)
	}
	// TIS 1.3 TPMs have no such register or say 0xF, older ones read as ones.
	if d.regs.Read32(d.base+regIntfID)&intfTypeMask == intfCRB {
		return ErrCRB
	}
	if err := d.takeOver(); err != nil {
		return err
	}
	sts := d.status()
	d.release()
	if sts == floating32 {
		return d.lost()
	}
	d.family = tpmwire.Family12
	if sts>>stsFamilyShift&3 == stsFamily20 {
		d.family = tpmwire.Family20
	}
	d.cfg.Logf("tis: TPM %#04x:%#04x, locality %d, status %#08x", d.didVid&0xFFFF, d.didVid>>16, d.cfg.Locality, sts)
	return nil
}

// ID is the TPM's TPM_DID_VID: vendor in the low half, device in the high.
func (d *Device) ID() uint32 { return d.didVid }

// Family is what the interface claims to speak. TPM 2.0 chips with an old
// interface claim TPM 1.2, so a command must tell.
func (d *Device) Family() tpmwire.Family { return d.family }

// Cancel ends the running command early. It is meant to be called from Idle;
// without a running command it does nothing.
func (d *Device) Cancel() { d.cancel = true }

// Close gives the locality up.
func (d *Device) Close() error {
	d.release()
	return nil
}

func (d *Device) access() uint8  { return d.regs.Read8(d.base + regAccess) }
func (d *Device) status() uint32 { return d.regs.Read32(d.base + regSts) }

// setStatus writes one of the low command bits; 8-bit writes leave the others
// alone.
func (d *Device) setStatus(v uint8) { d.regs.Write8(d.base+regSts, v) }

// poll waits until cond holds or d has passed, and reports whether it held. The
// condition is looked at once more after the time is up, because the domain may
// not have run in between.
func (d *Device) poll(limit time.Duration, idle bool, cond func() bool) bool {
	const first, last = 50 * time.Microsecond, 2 * time.Millisecond
	deadline := d.cfg.Now() + int64(limit)
	for nap := time.Duration(first); !cond(); nap = min(2*nap, last) {
		if d.cfg.Now() >= deadline {
			return cond()
		}
		if idle && d.cfg.Idle != nil {
			d.cfg.Idle()
		}
		d.cfg.Sleep(nap)
	}
	return true
}

// lost says why TPM_STS reads as ones.
func (d *Device) lost() error {
	if d.access() == floating8 {
		return ErrNoTPM
	}
	return ErrSeized
}
