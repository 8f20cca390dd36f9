package populate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/tools/vtpmd/tpmproc"
)

// tpm is a running swtpm that ends with our connection to it, however we end.
type tpm struct {
	proc *tpmproc.Process
	conn *os.File
}

func startTPM(program, state string) (*tpm, error) {
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, err
	}
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making a connection for swtpm: %w", err)
	}
	// SetDeadline needs a descriptor that does not block.
	if err := syscall.SetNonblock(pair[0], true); err != nil {
		return nil, errors.Join(err, syscall.Close(pair[0]), syscall.Close(pair[1]))
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "swtpm"), os.NewFile(uintptr(pair[1]), "swtpm")
	proc, err := tpmproc.Start([]*os.File{theirs}, program, "socket", "--tpm2", "--tpmstate", "dir="+state,
		"--fd", "3", "--flags", "not-need-init,startup-clear")
	if err = errors.Join(err, theirs.Close()); err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	return &tpm{proc: proc, conn: ours}, nil
}

// maxResponse is more than any response of a TPM 2.0 has.
const maxResponse = 4096

// Send executes one command.
func (t *tpm) Send(cmd []byte) ([]byte, error) {
	rsp, err := t.exchange(cmd)
	if err != nil {
		return nil, fmt.Errorf("swtpm: %w: %s", err, t.proc.Output())
	}
	return rsp, nil
}

func (t *tpm) exchange(cmd []byte) ([]byte, error) {
	if err := t.conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return nil, err
	}
	if _, err := t.conn.Write(cmd); err != nil {
		return nil, err
	}
	header := make([]byte, 10)
	if _, err := io.ReadFull(t.conn, header); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(header[2:])
	if size < 10 || size > maxResponse {
		return nil, fmt.Errorf("a response of %d bytes", size)
	}
	rsp := append(header, make([]byte, size-10)...)
	_, err := io.ReadFull(t.conn, rsp[10:])
	return rsp, err
}

// shutDown is what an operating system sends before the power goes.
func (t *tpm) shutDown() error {
	_, err := tpm2.Shutdown{ShutdownType: tpm2.TPMSUClear}.Execute(t)
	return err
}

// stop takes the power away and waits until the state folder is free again.
func (t *tpm) stop() error {
	err := t.conn.Close()
	if werr := t.proc.Wait(20 * time.Second); werr != nil {
		t.proc.Kill()
		err = errors.Join(err, fmt.Errorf("swtpm: %w: %s", werr, t.proc.Output()))
	}
	return err
}
