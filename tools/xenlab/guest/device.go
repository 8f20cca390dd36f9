// Package guest is what the lab does inside its Debian guest: it uses the TPM
// that a stock kernel offers, in every way a program could, and reports on the console.
package guest

import (
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Device is an open TPM device. It has the Send of go-tpm's transports.
type Device struct {
	fd   int
	name string
}

// Open opens a TPM device for blocking use: a write returns when the command
// has been executed.
func Open(name string) (*Device, error) {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &Device{fd: fd, name: name}, nil
}

// OpenWhenReady waits until the device exists.
func OpenWhenReady(name string, limit time.Duration) (*Device, error) {
	end := time.Now().Add(limit)
	for {
		d, err := Open(name)
		if err == nil || time.Now().After(end) {
			return d, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Close closes the device.
func (d *Device) Close() error { return unix.Close(d.fd) }

// Send executes one command and returns the response.
func (d *Device) Send(cmd []byte) ([]byte, error) {
	if n, err := unix.Write(d.fd, cmd); err != nil || n != len(cmd) {
		return nil, fmt.Errorf("%s: writing %d bytes: %d, %w", d.name, len(cmd), n, err)
	}
	rsp := make([]byte, 4096)
	n, err := unix.Read(d.fd, rsp)
	if err != nil {
		return nil, fmt.Errorf("%s: reading the response: %w", d.name, err)
	}
	if n < 10 {
		return nil, fmt.Errorf("%s: the response has %d bytes only", d.name, n)
	}
	return rsp[:n], nil
}

// Code returns the response code of a response that Send returned.
func Code(rsp []byte) uint32 { return binary.BigEndian.Uint32(rsp[6:]) }
