package clienttest

import (
	"fmt"
	"maps"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"xenvtpm/tools/tpm2tools"
)

// TestTools runs the suite of tpm2-tools, each family with a vtpmd of its own, and wants it to use every program
// of the package.
func TestTools(t *testing.T) {
	need(t, "tpm2", "openssl")
	used := make(map[string]bool)
	var mu sync.Mutex
	t.Run("family", func(t *testing.T) {
		for _, f := range tpm2tools.Families() {
			t.Run(f.Name, func(t *testing.T) {
				t.Parallel()
				r, err := toolsBench(t).Run(t.Context(), f)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				maps.Copy(used, r.Tools)
			})
		}
	})
	if !t.Failed() {
		allUsed(t, used)
	}
}

// allUsed wants all programs to be used but those that the suite names, and those not.
func allUsed(t *testing.T, used map[string]bool) {
	t.Helper()
	for _, name := range installed(t) {
		_, left := tpm2tools.NotUsed[name]
		if used[name] == left {
			t.Errorf("%s: used %v, in the list of those that are left out %v", name, used[name], left)
		}
	}
}

// TestToolsInSequence runs the suite as the lab's guest does: the brief form of it on one TPM.
func TestToolsInSequence(t *testing.T) {
	need(t, "tpm2", "openssl")
	t.Parallel()
	b := toolsBench(t)
	b.Brief = true
	used := make(map[string]bool)
	for _, f := range tpm2tools.Families() {
		r, err := b.Run(t.Context(), f)
		if err != nil {
			t.Error(err)
		}
		t.Logf("%s: %d command lines", f.Name, r.Commands)
		maps.Copy(used, r.Tools)
	}
	if !t.Failed() {
		allUsed(t, used)
	}
}

// installed lists the programs of the package tpm2-tools. Others have programs with
// such names as well.
func installed(t *testing.T) (names []string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "dpkg-query", "-L", "tpm2-tools").Output()
	if err != nil {
		if required() {
			t.Fatalf("dpkg does not know which programs tpm2-tools has: %v", err)
		}
		t.Skipf("the programs ran, and dpkg does not know whether these are all: %v", err)
	}
	for file := range strings.Lines(string(out)) {
		if dir, name := filepath.Split(strings.TrimSpace(file)); strings.HasSuffix(dir, "bin/") && strings.HasPrefix(name, "tpm2_") {
			names = append(names, name)
		}
	}
	if len(names) < 50 {
		t.Fatalf("only %d programs of tpm2-tools", len(names))
	}
	return names
}

// toolsBench starts a vtpmd for tpm2-tools.
func toolsBench(t *testing.T) *tpm2tools.Bench {
	t.Helper()
	d := start(t)
	return &tpm2tools.Bench{
		Dir:   t.TempDir(),
		Env:   []string{fmt.Sprintf("TPM2TOOLS_TCTI=swtpm:host=127.0.0.1,port=%d", d.port)},
		Open:  func() (tpm2tools.Transport, error) { return dialTPM(d.port) },
		Limit: stepLimit, RSA1024: true,
	}
}

// tpmConn is a connection as tpm2tools wants it.
type tpmConn struct{ net.Conn }

func dialTPM(port int) (tpmConn, error) {
	c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	return tpmConn{c}, err
}

func (c tpmConn) Send(cmd []byte) ([]byte, error) { return send(c.Conn, cmd) }

// A step that goes wrong must be noticed, or the suite proves nothing.
func TestToolsSuiteFails(t *testing.T) {
	need(t, "tpm2", "openssl")
	b := toolsBench(t)
	if _, err := b.Run(t.Context(), tpm2tools.EKCertificate()); err == nil || !strings.Contains(err.Error(), "tpm2_nvread 0x1c0000a") {
		t.Errorf("the certificate that vtpmd does not have: %v", err)
	}
}
