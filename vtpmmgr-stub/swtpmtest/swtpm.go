// Package swtpmtest runs Debian's swtpm as the platform TPM of tests. Only test
// files import it.
package swtpmtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TPM is a running swtpm. It implements go-tpm's transport.
type TPM struct {
	t    testing.TB
	dir  string
	tpm2 bool
	cmd  *exec.Cmd
	conn net.Conn

	// Before, if set, sees each command first; an answer or an error from it is
	// taken in place of the TPM's.
	Before func(cmd []byte) (rsp []byte, err error)
	// After, if set, may replace the answer to a command.
	After func(cmd, rsp []byte) ([]byte, error)
	// Commands counts what was sent to the TPM.
	Commands int
}

// Start starts a TPM with a state of its own; it ends with the test. The test is
// skipped if swtpm is not installed.
func Start(t testing.TB, tpm2 bool) *TPM {
	t.Helper()
	if _, err := exec.LookPath("swtpm"); err != nil {
		t.Skip("swtpm is not installed: no platform TPM to test against")
	}
	dir, err := os.MkdirTemp("", "swtpmtest")
	if err != nil {
		t.Fatal(err)
	}
	s := &TPM{t: t, dir: dir, tpm2: tpm2}
	t.Cleanup(func() {
		s.Stop()
		_ = os.RemoveAll(dir)
	})
	s.manufacture()
	s.Run()
	return s
}

// manufacture gives a TPM 1.2 its endorsement key and enables it. A TPM 2.0
// needs neither.
func (s *TPM) manufacture() {
	s.t.Helper()
	if s.tpm2 {
		return
	}
	if _, err := exec.LookPath("swtpm_setup"); err != nil {
		s.t.Skip("swtpm_setup is not installed: no TPM 1.2 to test against")
	}
	setup := exec.Command("swtpm_setup", "--tpm-state", s.dir, "--createek")
	setup.Env = append(os.Environ(), "HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir) // a user's own configuration is none of ours
	if out, err := setup.CombinedOutput(); err != nil {
		s.t.Fatalf("swtpm_setup: %v\n%s", err, out)
	}
}

// Run starts the process over the state that is there.
func (s *TPM) Run() {
	s.t.Helper()
	sock := filepath.Join(s.dir, "sock")
	_ = os.Remove(sock)
	args := []string{"socket", "--tpmstate", "dir=" + s.dir, "--server", "type=unixio,path=" + sock, "--flags", "not-need-init", "--terminate"} // ends with our connection, however we end
	if s.tpm2 {
		args = append(args, "--tpm2")
	}
	s.cmd = exec.Command("swtpm", args...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for range 500 {
		var err error
		if s.conn, err = net.Dial("unix", sock); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatal("swtpm does not open its socket")
}

// Stop cuts the TPM's power.
func (s *TPM) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.conn.Close()
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// PowerCycle resets the TPM: PCRs and everything loaded are gone.
func (s *TPM) PowerCycle() {
	s.t.Helper()
	s.Stop()
	s.Run()
}

// Erase makes it a factory-new TPM with other seeds.
func (s *TPM) Erase() {
	s.t.Helper()
	s.Stop()
	entries, _ := os.ReadDir(s.dir)
	for _, e := range entries {
		_ = os.Remove(filepath.Join(s.dir, e.Name()))
	}
	s.manufacture()
	s.Run()
}

// Send carries one command.
func (s *TPM) Send(cmd []byte) ([]byte, error) {
	if s.Before != nil {
		if rsp, err := s.Before(cmd); rsp != nil || err != nil {
			return rsp, err
		}
	}
	if s.cmd == nil {
		return nil, errors.New("TPM has no power")
	}
	s.Commands++
	rsp, err := s.send(cmd)
	if err != nil || s.After == nil {
		return rsp, err
	}
	return s.After(cmd, rsp)
}

func (s *TPM) send(cmd []byte) ([]byte, error) {
	_ = s.conn.SetDeadline(time.Now().Add(60 * time.Second))
	if _, err := s.conn.Write(cmd); err != nil {
		return nil, err
	}
	hdr := make([]byte, 10)
	if _, err := io.ReadFull(s.conn, hdr); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(hdr[2:])
	if size < 10 || size > 4096 {
		return nil, fmt.Errorf("swtpm answered with size %d", size)
	}
	rsp := append(hdr, make([]byte, size-10)...)
	_, err := io.ReadFull(s.conn, rsp[10:])
	return rsp, err
}
