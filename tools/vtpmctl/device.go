package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"xenvtpm/vtpmmgr-stub/proto"
)

// tpmDevice is a /dev/tpmN: one write is a command, one read its answer.
type tpmDevice struct{ f *os.File }

func (d *tpmDevice) Send(cmd []byte) ([]byte, error) {
	if _, err := d.f.Write(cmd); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	n, err := d.f.Read(buf)
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}

// openDevice opens the device, or finds it: domain 0 may have a hardware TPM,
// too, whose driver is another one.
func openDevice(device string) (proto.Sender, func() error, error) {
	if device == "" {
		var err error
		if device, err = findDevice("/sys/class/tpm"); err != nil {
			return nil, nil, err
		}
	}
	f, err := openBlocking(device)
	if err != nil {
		return nil, nil, err
	}
	return &tpmDevice{f}, f.Close, nil
}

// openBlocking opens a device without O_NONBLOCK, which os.OpenFile sets on
// whatever can be polled. Linux executes a non-blocking write in the background,
// and a read that comes before the answer is an end of file.
func openBlocking(name string) (*os.File, error) {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

var errNoDevice = errors.New("no vTPM device in this domain; attach one with `xl vtpm-attach 0 backend=vtpmmgr uuid=...` and load the module xen-tpmfront")

// findDevice looks for the one TPM that sits on the xenbus ("vtpm-N").
func findDevice(class string) (string, error) {
	entries, err := os.ReadDir(class)
	if err != nil {
		return "", errNoDevice
	}
	var found []string
	for _, e := range entries {
		target, err := filepath.EvalSymlinks(filepath.Join(class, e.Name(), "device"))
		if err == nil && strings.HasPrefix(filepath.Base(target), "vtpm-") {
			found = append(found, "/dev/"+e.Name())
		}
	}
	switch len(found) {
	case 0:
		return "", errNoDevice
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("several vTPM devices (%s); choose one with --device", strings.Join(found, ", "))
}

// client connects to the manager.
func (e *env) client() (*proto.Client, func() error, error) {
	s, closer, err := e.dial(e.device)
	if err != nil {
		return nil, nil, err
	}
	return &proto.Client{S: s}, closer, nil
}

// ask sends one request on a connection of its own.
func (e *env) ask(ordinal uint32, in, out any) (err error) {
	c, closer, err := e.client()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer()) }()
	return c.Admin(ordinal, in, out)
}
