package machine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// TPM is a running swtpm that plays the platform's hardware TPM. It outlives
// machines: a power cycle resets it, as a real one, and keeps its NV memory.
type TPM struct {
	proc   *Process
	Socket string // control socket for QEMU
	log    string
}

// TPMVersion is the family that swtpm emulates.
type TPMVersion int

const (
	TPM12 TPMVersion = 12
	TPM20 TPMVersion = 20
)

// StartTPM starts swtpm on the state folder (created when missing), with its control
// socket in sockDir.
func StartTPM(swtpm, stateDir, sockDir, logDir string, v TPMVersion) (*TPM, error) {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, fmt.Errorf("machine: %w", err)
	}
	t := &TPM{Socket: filepath.Join(sockDir, "tpm.sock"), log: filepath.Join(logDir, "swtpm.log")}
	args := []string{swtpm, "socket",
		"--tpmstate", "dir=" + stateDir, "--ctrl", "type=unixio,path=" + t.Socket,
		"--log", "level=1"}
	if v == TPM20 {
		args = append(args, "--tpm2")
	} else if err := manufacture12(filepath.Join(filepath.Dir(swtpm), "swtpm_setup"), stateDir); err != nil {
		return nil, err
	}
	var err error
	if t.proc, err = startProcess("swtpm", t.log, args...); err != nil {
		return nil, err
	}
	for range 100 {
		if _, err := os.Stat(t.Socket); err == nil {
			return t, nil
		}
		select {
		case <-t.proc.Done():
			return nil, fmt.Errorf("machine: swtpm ended at once: %v\n%s", t.proc.err, Tail(t.log, 10))
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Close()
	return nil, fmt.Errorf("machine: swtpm did not open %s within 5 s\n%s", t.Socket, Tail(t.log, 10))
}

// manufacture12 gives a new TPM 1.2 its endorsement key: a TPM 2.0 derives its own from a seed, a TPM 1.2 is delivered
// with it.
func manufacture12(setup, stateDir string) error {
	if there, err := filepath.Glob(filepath.Join(stateDir, "*")); err != nil || len(there) > 0 {
		return err
	}
	cmd := exec.Command(setup, "--tpm-state", stateDir, "--createek")
	cmd.Env = append(os.Environ(), "HOME="+stateDir, "XDG_CONFIG_HOME="+stateDir) // a user's own configuration is none of ours
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("machine: %s: %w\n%s", setup, err, out)
	}
	return nil
}

// Close ends swtpm.
func (t *TPM) Close() { t.proc.Kill() }
