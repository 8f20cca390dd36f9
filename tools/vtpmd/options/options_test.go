package options

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func parse(t *testing.T, line string) *Options {
	t.Helper()
	o, err := Parse(strings.Fields(line), func(string) string { return "" })
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return o
}

func TestRealCommandLines(t *testing.T) {
	// libvirt and QEMU's documentation start swtpm like this.
	o := parse(t, "--tpmstate dir=/tmp/s,mode=0600 --ctrl type=unixio,path=/tmp/sock,mode=0600 --log file=/tmp/log,level=20,truncate --tpm2 --daemon --pid file=/run/p -t")
	if !o.TPM2 || !o.Daemon || !o.Terminate || o.StateDir != "/tmp/s" || o.StateMode != 0o600 || o.Ctrl.Network != "unix" || o.Ctrl.Address != "/tmp/sock" ||
		o.Ctrl.Mode != 0o600 || o.Log.File != "/tmp/log" || o.Log.Level != 20 || !o.Log.Truncate || o.PIDFile != "/run/p" || o.Server != nil || o.NotNeedInit {
		t.Errorf("%+v", o)
	}
	o = parse(t, "--tpmstate backend-uri=file:///dev/vdb --server type=tcp,port=2321,disconnect --ctrl type=tcp,port=2322 --flags not-need-init,startup-clear --seccomp action=none")
	if o.StateFile != "/dev/vdb" || o.Server.Address != "127.0.0.1:2321" || !o.Server.Disconnect || o.Ctrl.Address != "127.0.0.1:2322" || !o.NotNeedInit || o.Startup != "clear" || o.Seccomp != "none" {
		t.Errorf("%+v", o)
	}
	o = parse(t, "-p 1234 --tpmstate dir=x,nofsync --locality reject-locality-4,allow-set-locality --key pwdfile=/p,kdf=sha512,remove=true --fd 7")
	if o.Server.FD != 7 || !o.NoFsync || !o.RejectLocality4 || !o.AllowSetLocality || o.Key.PwdFile != "/p" || o.Key.KDF != "sha512" || !o.Key.Remove {
		t.Errorf("%+v", o)
	}
	if o = parse(t, "--tpmstate dir=x,mode=621 --ctrl type=unixio,path=c,mode=7"); o.StateMode != 0o621 || o.Ctrl.Mode != 0o007 {
		t.Errorf("%+v", o)
	}
	if o = parse(t, "--tpmstate dir=x --flags startup-none --server type=unixio,fd=3"); o.NotNeedInit || o.Server.FD != 3 {
		t.Errorf("%+v", o)
	}
}

// The spellings that getopt allows.
func TestShortOptions(t *testing.T) {
	o := parse(t, "-dtp1234 --tpmstate dir=x --tpm2")
	if !o.Daemon || !o.Terminate || o.Server.Address != "127.0.0.1:1234" {
		t.Errorf("%+v", o)
	}
	if o = parse(t, "-f7 --tpmstate dir=-dt -rtss -c /dev/x --vtpm-proxy"); o.Server.FD != 7 || o.StateDir != "-dt" || o.RunAs != "tss" || o.Device != "/dev/x" || !o.VTPMProxy || o.Daemon {
		t.Errorf("%+v", o)
	}
	if o = parse(t, "-r -dt --tpmstate=dir=x"); o.RunAs != "-dt" || o.Daemon {
		t.Errorf("%+v", o)
	}
}

func TestEnvironment(t *testing.T) {
	env := map[string]string{"TPM_PATH": "/state", "TPM_PORT": "99"}
	o, err := Parse(nil, func(k string) string { return env[k] })
	if err != nil || o.StateDir != "/state" || o.Server.Address != "127.0.0.1:99" {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestRefused(t *testing.T) {
	for _, line := range []string{
		"", "--tpmstate", "--tpmstate dir=a,dir=b", "--tpmstate dir=x --nonsense 1", "--tpmstate dir=x,color=red", "--tpmstate backend-uri=ftp://x",
		"--tpmstate dir=x --server type=tcp", "--tpmstate dir=x --server type=tcp,port=99999", "--tpmstate dir=x --ctrl path=/x", "--tpmstate dir=x --ctrl type=unixio",
		"--tpmstate dir=x,mode=9", "--tpmstate dir=x,mode=1777", "--tpmstate dir=x,mode=64x", "--tpmstate dir=x --key file=a,pwdfile=b", "--tpmstate dir=x --key mode=aes-cbc",
		"--tpmstate dir=x --key file=a,mode=des", "--tpmstate dir=x --flags startup-clear,startup-state", "--tpmstate dir=x --tpm2 --flags startup-deactivated",
		"--tpmstate dir=x --seccomp action=maybe", "--tpmstate dir=x --ctrl type=unixio,fd=1,clientfd=2", "stray", "--tpmstate dir=x -x", "--tpmstate dir=x -dx", "--tpmstate dir=x -p", "--tpmstate dir=x --daemon=yes", "--tpmstate dir=x --fd -3",
		"--tpmstate dir", "--tpmstate dir=x,nofsync=1", "--tpmstate dir=x --ctrl type=tcp,port=1,mode=0600", "--tpmstate dir=x --ctrl type=unixio,path=c,port=1",
		"--tpmstate dir=x --ctrl type=unixio,path=c,disconnect", "--tpmstate dir=x --server type=unixio,fd=3,uid=1", "--tpmstate dir=x --server type=tcp,port=1,path=p",
		"--tpmstate dir=x --key file=k,kdf=sha512", "--tpmstate dir=x --key pwdfile=k,format=hex", "--tpmstate dir=x --log file=l,truncate=maybe", "--tpmstate dir=x --log level=five",
	} {
		if _, err := Parse(strings.Fields(line), func(string) string { return "" }); !errors.Is(err, ErrUsage) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestSecret(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		p := filepath.Join(dir, "key")
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	hexKey := "0x" + strings.Repeat("ab", 32) + "\n"
	for _, c := range []struct {
		text string
		spec KeySpec
		n    int
	}{
		{hexKey, KeySpec{Mode: "aes-256-cbc"}, 32},
		{strings.Repeat("ab", 16), KeySpec{}, 16},
		{strings.Repeat("ab", 16), KeySpec{Mode: "aes-256-cbc"}, 0},
		{strings.Repeat("b", 32), KeySpec{Format: "binary"}, 32},
		{"no hex", KeySpec{}, 0},
		{"", KeySpec{}, 0},
	} {
		c.spec.FD, c.spec.PwdFD, c.spec.File = -1, -1, file(c.text)
		got, err := c.spec.Secret()
		if (err == nil) != (c.n > 0) || len(got) != c.n {
			t.Errorf("%q: %d bytes, %v", c.text, len(got), err)
		}
	}
	pass := KeySpec{PwdFile: file("secret\n"), FD: -1, PwdFD: -1}
	a, err := pass.Secret()
	pass.KDF, pass.Remove = "sha512", true
	b, err2 := pass.Secret()
	if err != nil || err2 != nil || len(a) != 32 || len(b) != 32 || bytes.Equal(a, b) {
		t.Errorf("passphrase: %v, %v", err, err2)
	}
	if _, err := os.Stat(pass.PwdFile); !os.IsNotExist(err) {
		t.Error("remove=true left the file")
	}
	pass = KeySpec{PwdFile: file("\n"), FD: -1, PwdFD: -1}
	if _, err := pass.Secret(); err == nil {
		t.Error("an empty passphrase is accepted")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("--tpmstate dir=/tmp/s,mode=0600 --ctrl type=unixio,path=/tmp/sock --tpm2")
	f.Add("--key file=,remove --flags startup-clear -p 1")
	f.Fuzz(func(t *testing.T, line string) {
		o, err := Parse(strings.Fields(line), func(string) string { return "" })
		if err == nil && !o.Help && !o.PrintCapabilities && o.StateDir == "" && o.StateFile == "" {
			t.Error("accepted without a place for state")
		}
	})
}
