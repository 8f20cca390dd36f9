package guest

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
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
	measured := false
	for n := 0; ; time.Sleep(time.Second) {
		now, err := pcr10()
		if err != nil {
			continue // the device is away, for a while
		}
		if n == 0 || !bytes.Equal(now, last) {
			n, last = n+1, now
		}
		s.Value("pcr", fmt.Sprintf("%s %d %x", id, n, now))
		if measured {
			continue
		}
		measured = true
		if last, err = s.measure(); err != nil {
			return err
		}
	}
}

// onTPM opens the kernel's TPM for one thing and closes it again: after a resume an open file is of no use, and keeps
// the name of the device from being used again.
func onTPM(f func(*Device) error) error {
	found, err := filepath.Glob("/dev/tpm[0-9]")
	if err != nil || len(found) != 1 {
		return fmt.Errorf("there are the devices %q (%v)", found, err)
	}
	d, err := Open(found[0])
	if err != nil {
		return err
	}
	return errors.Join(f(d), d.Close())
}

func pcr10() (pcr []byte, err error) {
	err = onTPM(func(d *Device) (err error) {
		pcr, err = d.PCR(tpm2.TPMAlgSHA256, extendPCR)
		return err
	})
	return pcr, err
}

// measure extends PCR 10 and, with the parameter rebind, unbinds and binds the driver. It returns the
// PCR's value.
func (s *Session) measure() ([]byte, error) {
	if err := onTPM(func(d *Device) error {
		_, err := d.Extend12(extendPCR, sha1.Sum([]byte("a guest of the lab")))
		return err
	}); err != nil {
		return nil, err
	}
	value, err := pcr10()
	if err != nil || s.params["rebind"] == "" {
		return value, err
	}
	if err := rebind(); err != nil {
		return nil, err
	}
	var now []byte
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if now, err = pcr10(); err == nil {
			break
		}
	}
	if err == nil && !bytes.Equal(now, value) {
		err = fmt.Errorf("PCR 10 was %s and is %x", hex.EncodeToString(value), now)
	}
	s.Check("a driver that is unbound and bound again finds its PCRs", err)
	return value, nil
}

// rebind takes the stock driver off its device and puts it on again.
func rebind() error {
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
