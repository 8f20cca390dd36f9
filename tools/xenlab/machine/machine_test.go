package machine

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestArgs(t *testing.T) {
	c := Config{QEMU: "qemu", Xen: "/xen", Kernel: "/a,b/vmlinuz", KernelArgs: "x=1,2", Initrd: "i",
		MemoryMB: 2048, Disk: "d", TPM: &TPM{Socket: "s"}, Dir: "/l"}
	args := c.args("/s/ctl")
	joined := strings.Join(args, " ")
	for _, want := range []string{
		"-accel tcg", "-initrd /a,,b/vmlinuz x=1,,2,i", "-serial file:/l/console.log",
		"tpm-tis,tpmdev=tpm0", "file=d,format=raw",
	} {
		if !strings.Contains(joined, want) {
			t.Errorf("arguments lack %q: %s", want, joined)
		}
	}
	if strings.Contains(joined, "kvm") {
		t.Error("KVM is used although nobody asked for it")
	}
	c.Direct = true
	joined = strings.Join(c.args("/s/ctl"), " ")
	if strings.Contains(joined, "xen") || !strings.Contains(joined, "-serial chardev:ctl") || !strings.Contains(joined, "-initrd i ") {
		t.Errorf("arguments without Xen are %s", joined)
	}
	c.Direct, c.Interactive, c.SockDir = false, true, "/s"
	joined = strings.Join(c.args("/s/ctl"), " ")
	if !strings.Contains(joined, "path=/s/con.sock,logfile=/l/console.log -serial chardev:con") || strings.Contains(joined, "-serial file:") {
		t.Errorf("arguments of an interactive machine are %s", joined)
	}
	c.Interactive = false
	c.KVM, c.TPM, c.Disk = true, nil, ""
	args = c.args("/s/ctl")
	if !slices.Contains(args, "kvm") || strings.Contains(strings.Join(args, " "), "tpm") {
		t.Errorf("arguments for KVM without a TPM are %q", args)
	}
}

// A killed process takes the children of its group with it.
func TestKillEndsTheGroup(t *testing.T) {
	dir := t.TempDir()
	pidFile := filepath.Join(dir, "pid")
	p, err := startProcess("sh", filepath.Join(dir, "log"), "/bin/sh", "-c", `sleep 1000 & echo $! >"$0.t"; mv "$0.t" "$0"; wait`, pidFile)
	if err != nil {
		t.Fatal(err)
	}
	var raw []byte
	for range 500 {
		if raw, err = os.ReadFile(pidFile); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	stat := filepath.Join("/proc", strings.TrimSpace(string(raw)), "stat")
	for range 500 {
		b, err := os.ReadFile(stat)
		if err != nil || strings.Contains(string(b), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the grandchild is still running")
}

func TestStartProcessReportsAMissingProgram(t *testing.T) {
	if _, err := startProcess("x", filepath.Join(t.TempDir(), "log"), "/nonexistent/program"); err == nil {
		t.Error("no error")
	}
}

func TestStartReportsWhyQEMUEnded(t *testing.T) {
	dir := t.TempDir()
	fake := filepath.Join(dir, "qemu")
	if err := os.WriteFile(fake, []byte("#!/bin/sh\necho no such option >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	for range 50 { // another test's fork can hold the script open for writing
		_, err = Start(context.Background(), Config{QEMU: fake, Dir: dir, SockDir: dir})
		if err == nil || !strings.Contains(err.Error(), syscall.ETXTBSY.Error()) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err == nil || !strings.Contains(err.Error(), "no such option") {
		t.Errorf("err = %v, want QEMU's own words", err)
	}
}

func TestTail(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(name, []byte("one\r\ntwo\r\nthree\r\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := Tail(name, 2); got != "  | two\n  | three" {
		t.Errorf("Tail = %q", got)
	}
	if got := Tail(name+"x", 2); !strings.Contains(got, "no such file") {
		t.Errorf("Tail of a missing file = %q", got)
	}
}
