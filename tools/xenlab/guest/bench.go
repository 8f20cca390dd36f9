package guest

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

var (
	cmdGetRandom = []byte{0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 16}
	// cmdPCRRead reads PCR 0 of the SHA-256 bank.
	cmdPCRRead = []byte{0x80, 0x01, 0, 0, 0, 20, 0, 0, 0x01, 0x7e, 0, 0, 0, 1, 0, 0x0b, 3, 1, 0, 0}
)

// bench measures round trips from user space.
func bench(s *Session) error {
	d, err := s.device()
	if err != nil {
		return err
	}
	n := s.number("n", 300)
	for _, c := range []struct {
		name string
		cmd  []byte
	}{{"GetRandom", cmdGetRandom}, {"PCR_Read", cmdPCRRead}} {
		times := make([]time.Duration, n)
		began := time.Now()
		for i := range times {
			start := time.Now()
			rsp, err := d.Send(c.cmd)
			times[i] = time.Since(start)
			if err == nil && Code(rsp) != 0 {
				err = fmt.Errorf("response code %#x", Code(rsp))
			}
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		// Under emulation the clock can stand still for a moment, so the best time would say nothing.
		mean := time.Since(began).Seconds() / float64(n)
		slices.Sort(times)
		s.Metric(c.name+" round trip, median", 1e3*times[n/2].Seconds(), "ms")
		s.Metric(c.name+" round trip, mean", 1e3*mean, "ms")
	}
	s.Check("round trips were measured", nil)
	return nil
}

// load executes many commands, to see what a TPM's memory does.
func load(s *Session) error {
	d, err := s.device()
	if err != nil {
		return err
	}
	n := s.number("load", 10000)
	start := time.Now()
	for i := range n {
		cmd := cmdGetRandom
		if i%2 == 1 {
			cmd = cmdPCRRead
		}
		rsp, err := d.Send(cmd)
		if err == nil && Code(rsp) != 0 {
			err = fmt.Errorf("response code %#x", Code(rsp))
		}
		if err != nil {
			s.Check(fmt.Sprintf("%d commands in a row", n), fmt.Errorf("command %d: %w", i, err))
			return nil
		}
	}
	s.Metric("commands per second", float64(n)/time.Since(start).Seconds(), "1/s")
	s.Check(fmt.Sprintf("%d commands in a row", n), nil)
	return nil
}

func (s *Session) number(param string, fallback int) int {
	if n, err := strconv.Atoi(s.params[param]); err == nil && n > 0 {
		return n
	}
	return fallback
}

// kernelLog reads the kernel's ring buffer.
func kernelLog() (string, error) {
	size, err := unix.Klogctl(unix.SYSLOG_ACTION_SIZE_BUFFER, nil)
	if err != nil {
		return "", err
	}
	buf := make([]byte, size)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, buf)
	return string(buf[:max(n, 0)]), err
}
