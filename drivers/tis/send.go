package tis

import (
	"errors"
	"fmt"
	"time"

	"xenvtpm/drivers/tpmwire"
)

// maxRetries is how often a response is read again with responseRetry.
const maxRetries = 3

// maxResponse is the largest response in bytes; a larger size in its header is
// absurd.
const maxResponse = 4096

// Send sends one command and returns its response. It holds the locality only
// for this command. It fails with one of the package's errors; a TPM's own
// error codes are in the response.
func (d *Device) Send(cmd []byte) ([]byte, error) {
	h, err := tpmwire.ParsePacket(cmd)
	if err != nil || len(cmd) > maxResponse {
		return nil, fmt.Errorf("%w: %d bytes: %v", ErrCommand, len(cmd), err)
	}
	d.cancel = false
	if err := d.request(); err != nil {
		return nil, err
	}
	defer d.release()
	rsp, err := d.transact(h, cmd)
	if errors.Is(err, ErrSeized) || errors.Is(err, ErrNoTPM) {
		return nil, err // not ours to make ready
	}
	d.setStatus(stsCommandReady) // also aborts what has failed
	if err != nil {
		return nil, fmt.Errorf("command %#x: %w", h.Code, err)
	}
	return rsp, nil
}

func (d *Device) transact(h tpmwire.Header, cmd []byte) ([]byte, error) {
	if err := d.ready(); err != nil {
		return nil, err
	}
	if err := d.transmit(cmd); err != nil {
		return nil, err
	}
	d.setStatus(stsGo)
	if err := d.await(limit(h, d.cfg.MaxDuration)); err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		rsp, err := d.receive()
		if err == nil || !errors.Is(err, ErrResponse) || try == maxRetries {
			return rsp, err
		}
		d.cfg.Logf("tis: reading the response again: %v", err)
		d.setStatus(stsResponseRetry)
	}
}

// ready brings the TPM to command reception.
func (d *Device) ready() error {
	if sts := d.status(); sts != floating32 && sts&stsCommandReady != 0 {
		return nil
	}
	d.setStatus(stsCommandReady)
	return d.waitStatus(d.cfg.Timeouts.B, "commandReady", stsCommandReady, stsCommandReady)
}

// waitStatus waits until the bits of mask in TPM_STS are as in want.
func (d *Device) waitStatus(limit time.Duration, what string, mask, want uint32) error {
	var sts uint32
	ok := d.poll(limit, false, func() bool {
		sts = d.status()
		return sts == floating32 || sts&mask == want
	})
	if sts == floating32 {
		return d.lost()
	}
	if !ok {
		return fmt.Errorf("%w: waiting for %s, TPM_STS %#08x", ErrTimeout, what, sts)
	}
	return nil
}

// burst waits for a burst count and returns it.
func (d *Device) burst() (int, error) {
	n := 0
	var sts uint32
	d.poll(d.cfg.Timeouts.D, false, func() bool {
		sts = d.status()
		n = int(sts >> stsBurstShift & 0xFFFF)
		return n > 0 // also when floating
	})
	switch {
	case sts == floating32:
		return 0, d.lost()
	case n == 0:
		return 0, fmt.Errorf("%w: burstCount stays 0, TPM_STS %#08x", ErrTimeout, sts)
	}
	return n, nil
}

// transmit writes the command. The TPM must expect more up to the last byte and
// nothing after it (TIS 11.2.2.1, PTP 6.5.2.5).
func (d *Device) transmit(cmd []byte) error {
	last := len(cmd) - 1
	for sent := 0; sent < last; {
		n, err := d.burst()
		if err != nil {
			return err
		}
		for n = min(n, last-sent); n > 0; n-- {
			d.regs.Write8(d.base+regFifo, cmd[sent])
			sent++
		}
		err = d.waitStatus(d.cfg.Timeouts.C, "Expect before the last byte", stsValid|stsExpect, stsValid|stsExpect)
		if err != nil {
			return err
		}
	}
	if _, err := d.burst(); err != nil {
		return err
	}
	d.regs.Write8(d.base+regFifo, cmd[last])
	return d.waitStatus(d.cfg.Timeouts.C, "end of Expect after the last byte", stsValid|stsExpect, stsValid)
}

// await waits for the response, and passes a cancel on.
func (d *Device) await(limit time.Duration) error {
	const mask = uint32(stsValid | stsDataAvail)
	var sts uint32
	ended := func() bool {
		sts = d.status()
		return sts == floating32 || sts&mask == mask
	}
	d.poll(limit, true, func() bool { return ended() || d.cancel })
	cancelled := d.cancel && sts&mask != mask
	if cancelled && d.family == tpmwire.Family20 {
		// The TPM ends the command with TPM_RC_CANCELED, or just finishes it.
		d.regs.Write32(d.base+regSts, stsCommandCancel)
		cancelled = !d.poll(d.cfg.Timeouts.B, true, ended)
	}
	switch {
	case sts == floating32:
		return d.lost()
	case cancelled:
		// TPM 1.2 knows only the abort, which Send does; no response comes.
		return ErrCancelled
	case sts&mask != mask:
		return fmt.Errorf("%w: no response after %v, TPM_STS %#08x", ErrTimeout, limit, sts)
	}
	return nil
}

// receive reads one response; ErrResponse says that reading it again may help.
func (d *Device) receive() ([]byte, error) {
	rsp := make([]byte, tpmwire.HeaderSize, 256)
	if err := d.read(rsp); err != nil {
		return nil, err
	}
	h, err := tpmwire.ParseHeader(rsp)
	if err != nil || h.Size < tpmwire.HeaderSize || h.Size > maxResponse {
		return nil, fmt.Errorf("%w: size field %d", ErrResponse, h.Size)
	}
	rsp = append(rsp, make([]byte, int(h.Size)-len(rsp))...)
	if err := d.read(rsp[tpmwire.HeaderSize:]); err != nil {
		return nil, err
	}
	err = d.waitStatus(d.cfg.Timeouts.C, "stsValid after the response", stsValid, stsValid)
	if err != nil {
		return nil, err
	}
	if d.status()&stsDataAvail != 0 {
		return nil, fmt.Errorf("%w: more bytes than its size field %d says", ErrResponse, h.Size)
	}
	return rsp, nil
}

// read fills p from the FIFO. The last byte has a look at dataAvail of its own,
// so that a burst count that promises too much is found out.
func (d *Device) read(p []byte) error {
	const mask = uint32(stsValid | stsDataAvail)
	for len(p) > 0 {
		err := d.waitStatus(d.cfg.Timeouts.C, "dataAvail", mask, mask)
		if errors.Is(err, ErrTimeout) {
			return fmt.Errorf("%w: ends %d bytes early", ErrResponse, len(p))
		}
		if err != nil {
			return err
		}
		n, err := d.burst()
		if err != nil {
			return err
		}
		for n = min(n, max(len(p)-1, 1)); n > 0; n-- {
			p[0] = d.regs.Read8(d.base + regFifo)
			p = p[1:]
		}
	}
	return nil
}
