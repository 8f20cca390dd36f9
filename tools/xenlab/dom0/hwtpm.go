package dom0

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/tools/xenlab/guest"
)

// measure extends a PCR of the platform's TPM through dom0's own driver, as another firmware or
// boot loader would have done before, and then takes the driver off the device.
func measure(pcr uint32, event string) error {
	d, err := guest.OpenWhenReady(guest.DevicePath, 10*time.Second)
	if err != nil {
		return err
	}
	digest := sha256.Sum256([]byte(event))
	_, err = tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests: tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{
			{HashAlg: tpm2.TPMAlgSHA256, Digest: digest[:]},
		}},
	}.Execute(d)
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return unbindTPM()
}

// unbindTPM takes dom0's driver off the platform's TPM.
func unbindTPM() error {
	const dev = "/sys/class/tpm/tpm0/device"
	driver, err := filepath.EvalSymlinks(dev + "/driver")
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	name, err := filepath.EvalSymlinks(dev)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	if err := os.WriteFile(driver+"/unbind", []byte(filepath.Base(name)), 0); err != nil {
		return fmt.Errorf("lab: taking dom0's driver off the TPM: %w", err)
	}
	return nil
}
