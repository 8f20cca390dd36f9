package guest

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// presence measures itself once and then says, again and again, what PCR 10 of the SHA-256 bank holds: "boot n
// value", where boot tells the kernel's life in memory and n counts the values that this life has
// found, the first one before its own measurement. With the parameter rebind it takes the driver off the
// device and puts it on again first. It ends with the domain.
func presence(s *Session) error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	id := strings.TrimSpace(string(boot))[:8]
	if err := os.WriteFile("/proc/sys/kernel/sysrq", []byte("1"), 0); err != nil { // the toolstack may crash it
		return err
	}
	var last []byte
	for n := 0; ; time.Sleep(time.Second) {
		now, err := s.pcr10()
		if err != nil {
			continue // the device is away, for a while
		}
		if n > 0 && bytes.Equal(now, last) {
			s.Value("pcr", fmt.Sprintf("%s %d %x", id, n, now))
			continue
		}
		n, last = n+1, now
		s.Value("pcr", fmt.Sprintf("%s %d %x", id, n, now))
		if n > 1 {
			continue
		}
		if last, err = s.measure(); err != nil {
			return err
		}
	}
}

// pcr10 opens the device for one command, as its file is of no use after a resume.
func (s *Session) pcr10() ([]byte, error) {
	if err := s.release(); err != nil {
		return nil, err
	}
	d, err := Open(DevicePath)
	if err != nil {
		return nil, err
	}
	s.dev = d
	return d.PCR(tpm2.TPMAlgSHA256, extendPCR)
}

// measure extends PCR 10 and, with the parameter rebind, unbinds and binds the driver. It returns the
// PCR's value.
func (s *Session) measure() ([]byte, error) {
	if _, err := s.dev.Extend12(extendPCR, sha1.Sum([]byte("a guest of the lab"))); err != nil {
		return nil, err
	}
	value, err := s.pcr10()
	if err != nil || s.params["rebind"] == "" {
		return value, err
	}
	if err := s.rebind(); err != nil {
		return nil, err
	}
	if s.dev, err = OpenWhenReady(DevicePath, 20*time.Second); err != nil {
		return nil, err
	}
	now, err := s.pcr10()
	if err == nil && !bytes.Equal(now, value) {
		err = fmt.Errorf("PCR 10 was %s and is %x", hex.EncodeToString(value), now)
	}
	s.Check("a driver that is unbound and bound again finds its PCRs", err)
	return value, nil
}

// rebind takes the stock driver off its device and puts it on again.
func (s *Session) rebind() error {
	if err := s.release(); err != nil {
		return err
	}
	found, err := filepath.Glob("/sys/bus/xen/drivers/*/vtpm-*")
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("the stock driver has the devices %q", found)
	}
	if err != nil {
		return err
	}
	driver, name := filepath.Split(found[0])
	if err := os.WriteFile(driver+"unbind", []byte(name), 0); err != nil {
		return err
	}
	return os.WriteFile(driver+"bind", []byte(name), 0)
}
