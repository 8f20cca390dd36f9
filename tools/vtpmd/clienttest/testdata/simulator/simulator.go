// Package simulator runs vtpmd in the place of the TPM simulator that
// go-tpm's and go-attestation's tests expect. The tests of clienttest copy it
// into those modules. VTPMD names the program.
package simulator

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Simulator is a TPM that was started. It is a connection to it, too.
type Simulator struct {
	net.Conn
	cmd  *exec.Cmd
	dir  string
	ctrl string
}

var (
	startup  = []byte{0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0}
	shutdown = []byte{0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x45, 0, 0}
)

// Get starts a new TPM.
func Get() (*Simulator, error) {
	dir, err := os.MkdirTemp("", "vtpmd")
	if err != nil {
		return nil, err
	}
	s := &Simulator{dir: dir, ctrl: filepath.Join(dir, "ctrl")}
	s.cmd = exec.Command(os.Getenv("VTPMD"), "socket", "--tpm2", "--tpmstate", "dir="+dir+",nofsync", "--server", "type=unixio,path="+filepath.Join(dir, "data"),
		"--ctrl", "type=unixio,path="+s.ctrl, "--flags", "not-need-init,startup-clear")
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if s.Conn, err = net.Dial("unix", filepath.Join(dir, "data")); err == nil {
			return s, nil
		}
		if time.Now().After(end) {
			return nil, errors.Join(err, s.end())
		}
	}
}

// Reset is an orderly power cycle.
func (s *Simulator) Reset() error {
	if err := s.do(shutdown); err != nil {
		return err
	}
	c, err := net.Dial("unix", s.ctrl)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte{0, 0, 0, 2, 0, 0, 0, 0}); err != nil {
		return err
	}
	var rsp [4]byte
	if _, err := io.ReadFull(c, rsp[:]); err != nil || rsp != [4]byte{} {
		return fmt.Errorf("init: %x, %v", rsp, err)
	}
	_, err = s.Write(startup) // with startup-clear it was started already
	if err == nil {
		_, err = io.ReadFull(s, make([]byte, 10))
	}
	return err
}

func (s *Simulator) do(cmd []byte) error {
	if _, err := s.Write(cmd); err != nil {
		return err
	}
	var rsp [10]byte
	if _, err := io.ReadFull(s, rsp[:]); err != nil {
		return err
	}
	if rsp[6]|rsp[7]|rsp[8]|rsp[9] != 0 {
		return fmt.Errorf("command %x: response %x", cmd, rsp)
	}
	return nil
}

// Close stops the TPM and forgets it.
func (s *Simulator) Close() error { return errors.Join(s.Conn.Close(), s.end()) }

func (s *Simulator) end() error {
	_ = s.cmd.Process.Kill() // nothing of it is wanted any more
	_ = s.cmd.Wait()         // "killed"
	return os.RemoveAll(s.dir)
}
