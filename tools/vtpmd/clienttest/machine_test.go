package clienttest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xenvtpm/tools/vtpmd/tpmproc"
	"xenvtpm/tools/xenlab/debs"
	"xenvtpm/tools/xenlab/initramfs"
)

// linux is Debian's kernel and an archive with our program as process 1.
type linux struct{ kernel, initrd string }

func newLinux(t *testing.T) *linux {
	t.Helper()
	need(t, "qemu-system-x86_64", "xz")
	if testing.Short() {
		t.Skip("boots machines")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dir := t.TempDir()
	cache := os.Getenv("XENVTPM_CACHE")
	if cache == "" {
		cache = "../../../.cache"
	}
	abs, err := filepath.Abs(filepath.Join(cache, "debs"))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := (&debs.Cache{Dir: abs, Logf: t.Logf}).Obtain(ctx, false)
	if err != nil {
		if required() {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	kernel, version, err := tree.Kernel()
	if err != nil {
		t.Fatal(err)
	}
	init := filepath.Join(dir, "init")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", init, "./guest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	static := filepath.Join(dir, "vtpmd")
	cmd = exec.CommandContext(ctx, "go", "build", "-o", static, "xenvtpm/tools/vtpmd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b := initramfs.New(tree.Root)
	b.Dir("proc", "sys", "dev", "run", "tmp", "bin")
	b.Device("dev/console", 5, 1)
	b.Copy("init", init, 0o755)
	b.Copy("bin/vtpmd", static, 0o755)
	b.Modules(version, []string{"tpm_vtpm_proxy"}, nil)
	l := &linux{kernel: kernel, initrd: filepath.Join(dir, "initrd")}
	if err := b.WriteFile(l.initrd); err != nil {
		t.Fatal(err)
	}
	return l
}

// boot runs a machine until it switches itself off, and returns its console.
func (l *linux) boot(t *testing.T, cmdline string, args ...string) string {
	t.Helper()
	console := filepath.Join(t.TempDir(), "console")
	all := append([]string{"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35", "-accel", "tcg", "-cpu", "max",
		"-m", "512", "-kernel", l.kernel, "-initrd", l.initrd, "-append", "console=ttyS0 quiet panic=-1 no_timer_check " + cmdline, "-serial", "file:" + console}, args...)
	p, err := tpmproc.Start(nil, "qemu-system-x86_64", all...)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	werr := p.Wait(4 * time.Minute)
	out, err := os.ReadFile(console)
	if err != nil {
		t.Fatalf("%v; %s", err, p.Output())
	}
	if text := string(out); werr != nil || !strings.Contains(text, "vtpmd: done") || strings.Contains(text, "vtpmd: error") {
		t.Fatalf("the machine: %v\n%s%s", werr, text[max(0, len(text)-4000):], p.Output())
	}
	return string(out)
}

// TestQEMU boots SeaBIOS and Linux with vtpmd behind each TPM interface that
// QEMU has, on one state.
func TestQEMU(t *testing.T) {
	l := newLinux(t)
	state := t.TempDir()
	for _, device := range []string{"tpm-tis", "tpm-crb", "tpm-tis"} {
		ctrl := filepath.Join(shortDir(t), "ctrl")
		p := startControl(t, state, ctrl)
		out := l.boot(t, "", "-chardev", "socket,id=c,path="+ctrl, "-tpmdev", "emulator,id=t,chardev=c", "-device", device+",tpmdev=t")
		zero := strings.Repeat("0", 64)
		if !strings.Contains(out, "tpm_version_major=2") || strings.Contains(out, "pcr-sha256/0="+zero) || !strings.Contains(out, "pcr-sha256/16="+zero) {
			t.Errorf("%s: SeaBIOS did not measure, or Linux did not see it:\n%s", device, out)
		}
		if n := strings.Count(out, "vtpmd: key="); n != 12 {
			t.Errorf("%s: %d keys through the resource manager, want 12", device, n)
		}
		// QEMU shuts the TPM down, and with that vtpmd.
		if err := p.Wait(20 * time.Second); err != nil {
			t.Errorf("%s: vtpmd after the machine: %v\n%s", device, err, p.Output())
		}
	}
}

// TestProxy serves /dev/vtpmx in a machine, in the foreground and as a daemon.
func TestProxy(t *testing.T) {
	out := newLinux(t).boot(t, "vtpmd.proxy")
	if n := strings.Count(out, "vtpmd: device /dev/tpm"); n != 3 {
		t.Errorf("%d devices, want 3:\n%s", n, out)
	}
	if n := strings.Count(out, "vtpmd: random=28"); n != 3 {
		t.Errorf("%d answers, want 3:\n%s", n, out)
	}
}
