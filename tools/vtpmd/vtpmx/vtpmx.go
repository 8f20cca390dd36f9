// Package vtpmx makes virtual TPM devices through Linux's vTPM proxy driver
// (Documentation/security/tpm/tpm_vtpm_proxy): /dev/vtpmx gives a client device
// /dev/tpmN and a descriptor on which its commands arrive.
package vtpmx

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// FlagTPM2 says that the TPM behind the device is a TPM 2.0.
const FlagTPM2 = 1

// newDev is struct vtpm_proxy_new_dev of include/uapi/linux/vtpm_proxy.h.
type newDev struct {
	flags, tpmNum, fd, major, minor uint32
}

// iocNewDev is _IOWR(0xa1, 0x00, struct vtpm_proxy_new_dev).
const iocNewDev = 3<<30 | unsafe.Sizeof(newDev{})<<16 | 0xa1<<8

// Device is one proxy device. Reads of File give one whole command each, and
// each write gives the response to it.
type Device struct {
	File         *os.File
	Number       uint32 // N of /dev/tpmN
	Major, Minor uint32
}

// Path is the client side's device file.
func (d *Device) Path() string { return fmt.Sprintf("/dev/tpm%d", d.Number) }

// Open opens the driver's control device, /dev/vtpmx. Only root may do that.
func Open(path string) (*os.File, error) {
	ctl, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w (is the tpm_vtpm_proxy module loaded?)", err)
	}
	return ctl, err
}

// New makes a device.
func New(ctl *os.File, tpm2 bool) (*Device, error) {
	var req newDev
	if tpm2 {
		req.flags = FlagTPM2
	}
	// SAFETY: req is a fixed-size struct that the kernel reads and fills before
	// the call returns.
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, ctl.Fd(), iocNewDev, uintptr(unsafe.Pointer(&req)))
	if errno != 0 {
		return nil, fmt.Errorf("make a vTPM proxy device through %s: %w", ctl.Name(), errno)
	}
	return &Device{os.NewFile(uintptr(req.fd), "vtpm proxy"), req.tpmNum, req.major, req.minor}, nil
}
