package guest

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"golang.org/x/sys/unix"
)

func TestParseCommandLine(t *testing.T) {
	params := make(map[string]string)
	got := parseCommandLine("console=hvc0 quiet lab=attach,bench lab.n=50 lab.then=poweroff lab=", params)
	if !slices.Equal(got, []string{"attach", "bench"}) {
		t.Errorf("steps = %q", got)
	}
	if params["n"] != "50" || params["then"] != "poweroff" || len(params) != 2 {
		t.Errorf("params = %q", params)
	}
}

func TestCheckPCRs(t *testing.T) {
	var lines []string
	for i := range 24 {
		lines = append(lines, fmt.Sprintf("PCR-%02d:%s", i, strings.Repeat(" 0A", 20)))
	}
	if err := checkPCRs(strings.Join(lines, "\n")); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func([]string) []string{
		"a missing PCR": func(l []string) []string { return l[:23] },
		"a short value": func(l []string) []string { l[3] = l[3][:len(l[3])-3]; return l },
		"a wrong order": func(l []string) []string { l[3], l[4] = l[4], l[3]; return l },
		"an empty file": func([]string) []string { return []string{""} },
	} {
		if err := checkPCRs(strings.Join(change(slices.Clone(lines)), "\n")); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
}

func TestFrame12(t *testing.T) {
	digest := sha1.Sum(nil)
	got := frame12(ordExtend, append([]byte{0, 0, 0, 10}, digest[:]...))
	want := "00c1" + "00000022" + "00000014" + "0000000a" + hex.EncodeToString(digest[:])
	if hex.EncodeToString(got) != want {
		t.Errorf("frame is %x, want %s", got, want)
	}
}

// startSWTPM gives a Device on an independent TPM.
func startSWTPM(t *testing.T) *Device {
	t.Helper()
	program, err := exec.LookPath("swtpm")
	if err != nil {
		t.Skip("swtpm is not installed")
	}
	dir := t.TempDir()
	sock := filepath.Join(dir, "s")
	cmd := exec.Command(program, "socket", "--tpm2", "--tpmstate", "dir="+dir, "--server", "type=unixio,path="+sock,
		"--flags", "not-need-init,startup-clear")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := &Device{fd: fd, name: sock}
	t.Cleanup(func() { _ = d.Close() })
	for range 200 {
		if err = unix.Connect(fd, &unix.SockaddrUnix{Name: sock}); err == nil {
			return d
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal(err)
	return nil
}

// The guest's client is right about a TPM that is not ours.
func TestClientAgainstSWTPM(t *testing.T) {
	d := startSWTPM(t)
	a, err := d.Random(32)
	if err != nil || len(a) != 32 {
		t.Fatalf("Random = %x, %v", a, err)
	}
	pcr, err := d.PCR(tpm2.TPMAlgSHA256, extendPCR)
	if err != nil || !bytes.Equal(pcr, make([]byte, 32)) {
		t.Errorf("PCR = %x, %v", pcr, err)
	}
	if v, err := d.Property(tpm2.TPMPTMaxCommandSize); err != nil || v != 4096 {
		t.Errorf("Property = %d, %v", v, err)
	}
	one, err := d.EndorsementName()
	if err != nil || len(one) != 34 {
		t.Fatalf("EndorsementName = %x, %v", one, err)
	}
	if two, err := d.EndorsementName(); err != nil || !bytes.Equal(one, two) {
		t.Errorf("the second name is %x, %v", two, err)
	}
	if _, err := d.ReadNV(); err == nil {
		t.Error("an index that does not exist was read")
	}
	if err := d.DefineNV(); err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat(a, 2)
	if err := d.WriteNV(data); err != nil {
		t.Fatal(err)
	}
	if got, err := d.ReadNV(); err != nil || !bytes.Equal(got, data) {
		t.Errorf("ReadNV = %x, %v", got, err)
	}
	// A TPM 2.0 without courtesy answers refuses 1.2 frames, and the client must say so.
	if _, err := d.PCRRead12(0); err == nil {
		t.Error("swtpm's refusal of a TPM 1.2 frame was not reported")
	}
	for _, cmd := range [][]byte{cmdGetRandom, cmdPCRRead} {
		if rsp, err := d.Send(cmd); err != nil || Code(rsp) != 0 {
			t.Errorf("%x gives %x, %v", cmd, rsp, err)
		}
	}
}
