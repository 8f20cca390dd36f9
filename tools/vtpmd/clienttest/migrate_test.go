package clienttest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xenvtpm/tools/vtpmd/tpmproc"
)

// TestQEMUMigration moves a machine whose guest uses its TPM: live to another
// QEMU, then into a file and out of it again. PCRs, NV, a key of the null hierarchy, an
// HMAC session, a policy session and a hash sequence go with it and work on.
func TestQEMUMigration(t *testing.T) {
	l := newLinux(t)
	dir := t.TempDir()
	key := func(name string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(name+" passphrase"), 0o600); err != nil {
			t.Fatal(err)
		}
		return "pwdfile=" + file
	}
	move := []string{"--migration-key", key("move")}
	for _, c := range []struct {
		device string
		// arguments of the three vtpmds
		args [3][]string
	}{
		{"tpm-tis", [3][]string{}},
		{"tpm-crb", [3][]string{move, append([]string{"--key", key("second")}, move...), append([]string{"--key", key("third")}, move...)}},
	} {
		t.Run(c.device, func(t *testing.T) {
			sock, file := filepath.Join(shortDir(t), "move"), filepath.Join(t.TempDir(), "saved")
			first := l.newVM(t, c.device, "", c.args[0]...)
			first.expect("vtpmd: ready")
			first.enter("look")
			first.expect("vtpmd: look 1 is good, NV holds 2")

			// Live, with a TPM at work.
			second := l.newVM(t, c.device, "unix:"+sock, c.args[1]...)
			second.greet()
			first.enter("look")
			first.migrate("unix:" + sock)
			second.until("query-status", "running", true)
			second.expect("vtpmd: look 2 is good, NV holds 3", first)
			second.enter("look")
			second.expect("vtpmd: look 3 is good, NV holds 4")

			// A migration whose destination is lost: the source goes on.
			second.send("exec:cat > /dev/null")
			second.ask("cont", nil)
			second.until("query-status", "running", true)
			second.enter("look")
			second.expect("vtpmd: look 4 is good, NV holds 5")

			second.migrate("exec:cat > " + file)
			saved, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if plain, want := secretsIn(t, saved, first.state), len(c.args[0]) == 0; plain != want {
				t.Errorf("the TPM's seeds can be read in the file: %v, want %v", plain, want)
			}
			if len(c.args[0]) > 0 {
				refuseIncoming(t, l, c.device, file, "--migration-key", key("wrong"))
				refuseIncoming(t, l, c.device, file)
			}
			third := l.newVM(t, c.device, "exec:cat "+file, c.args[2]...)
			third.greet()
			third.until("query-status", "running", true)
			third.enter("look")
			third.expect("vtpmd: look 5 is good, NV holds 6")
			third.enter("end")
			third.expect("vtpmd: done")
			third.ended()

			d := startUnix(t, third.state, append([]string{"--flags", "not-need-init,startup-clear"}, keyArgs(c.args[2])...)...)
			if got := value(d.tpm(read(0x01500001))); got != 6 {
				t.Errorf("the folder's state has %d in NV, want 6", got)
			}
		})
	}
}

// secretsIn reports whether random octets of a state folder's file, such as the TPM's
// seeds, are in data.
func secretsIn(t *testing.T, data []byte, state string) bool {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(state, "tpm2-00.permall"))
	if err != nil {
		t.Fatal(err)
	}
	random := 0
	file = file[64 : len(file)-64] // without envelope and checksum
	for ; len(file) >= 16; file = file[16:] {
		var seen [256]bool
		distinct := 0
		for _, b := range file[:16] {
			if !seen[b] {
				seen[b] = true
				distinct++
			}
		}
		if distinct < 14 {
			continue
		}
		if random++; bytes.Contains(data, file[:16]) {
			return true
		}
	}
	if random < 8 {
		t.Fatalf("%d random pieces in the state: nothing can be said of it", random)
	}
	return false
}

// keyArgs leaves the migration key out.
func keyArgs(args []string) []string {
	if len(args) > 2 {
		return args[:2]
	}
	return nil
}

// refuseIncoming wants a machine not to start from a file, and to leave no state.
func refuseIncoming(t *testing.T, l *linux, device, file string, args ...string) {
	t.Helper()
	v := l.newVM(t, device, "exec:cat "+file, args...)
	err := v.qemu.Wait(machineLimit)
	if errors.Is(err, tpmproc.ErrTimeout) || err == nil {
		v.fatalf("QEMU with %v: %v, want a refusal", args, err)
	}
	if err := v.tpm.Wait(machineLimit); err != nil {
		v.fatalf("vtpmd: %v", err)
	}
	if !strings.Contains(v.tpm.Output(), "key") {
		v.fatalf("vtpmd does not say why")
	}
	left, err := filepath.Glob(filepath.Join(v.state, "tpm2-00.*"))
	if err != nil || len(left) != 0 {
		t.Errorf("a refused migration left %v (%v)", left, err)
	}
}
