package clienttest

import (
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// firmwares are Debian's builds of OVMF: code, and variables that the machine changes a copy of.
var firmwares = map[string]struct {
	code, vars string
	args       []string
}{
	"ovmf": {"OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd", []string{"-machine", "q35"}},
	// The one for Secure Boot keeps its variables from the guest by system management mode.
	"secboot": {"OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.fd", []string{"-machine", "q35,smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on"}},
}

const firmwareFolder = "/usr/share/OVMF"

// firmwareArgs are QEMU's arguments for a firmware.
func firmwareArgs(t *testing.T, name string) []string {
	t.Helper()
	if name == "" {
		return []string{"-machine", "q35"}
	}
	f := firmwares[name]
	vars, err := os.ReadFile(filepath.Join(firmwareFolder, f.vars))
	if err != nil {
		if required() {
			t.Fatalf("%v (package ovmf), and clients are required here", err)
		}
		t.Skip(err)
	}
	mine := filepath.Join(t.TempDir(), "vars.fd")
	if err := os.WriteFile(mine, vars, 0o600); err != nil {
		t.Fatal(err)
	}
	return append(slices.Clone(f.args), "-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+filepath.Join(firmwareFolder, f.code),
		"-drive", "if=pflash,unit=1,format=raw,file="+mine)
}

// long runs what make test-long does: every firmware with every device where one pair of them shows
// the same.
var long = flag.Bool("long", false, "try every firmware with every TPM interface")

func (s spec) name() string {
	if s.firmware == "" {
		return "seabios " + s.device
	}
	return s.firmware + " " + s.device
}

// combinations are the pairs of firmware and device: some, or all.
func combinations(some ...spec) []spec {
	if !*long {
		return some
	}
	return []spec{{device: "tpm-tis"}, {device: "tpm-crb"}, {firmware: "ovmf", device: "tpm-tis"}, {firmware: "ovmf", device: "tpm-crb"}}
}

// pcrs are PCRs as a guest tells them, by bank.
type pcrs map[string][10][]byte

// tellPCRs reads what the guest's lines after a text say of PCRs.
func (v *vm) pcrsAfter(text string) pcrs {
	v.t.Helper()
	_, said, _ := strings.Cut(v.said(), text)
	found := pcrs{}
	for line := range strings.Lines(said) {
		f := strings.Fields(line)
		if len(f) != 5 || f[0] != "vtpmd:" || f[1] != "pcr" {
			continue
		}
		n, err := strconv.Atoi(f[3])
		value, err2 := hex.DecodeString(f[4])
		if err != nil || err2 != nil || n > 9 {
			v.fatalf("line %q", line)
		}
		bank := found[f[2]]
		bank[n] = value
		found[f[2]] = bank
	}
	if len(found) == 0 {
		v.fatalf("no PCRs after %q", text)
	}
	return found
}

// TestOVMF boots UEFI firmware and Linux with vtpmd behind each TPM interface that QEMU has. The
// firmware measures into every bank that is allocated, and its log replays to the PCRs.
func TestOVMF(t *testing.T) {
	need(t, "tpm2_eventlog")
	l := newLinux(t)
	for _, c := range []spec{{firmware: "ovmf", device: "tpm-tis"}, {firmware: "ovmf", device: "tpm-crb"}, {firmware: "secboot", device: "tpm-tis"}, {firmware: "secboot", device: "tpm-crb"}} {
		t.Run(c.name(), func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "log")
			c.word = "vtpmd.measured"
			c.qemu = []string{"-m", "512", "-no-reboot", "-serial", "file:" + log}
			v := l.machine(t, c)
			v.expect("vtpmd: done")
			v.ended()
			events := readLog(t, log)
			found := v.pcrsAfter("")
			checkMeasured(t, found, v.banks())
			checkReplay(t, found, events)
		})
	}
}

// readLog finds the event log in what came over a serial line, which firmware writes to as well.
func readLog(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, coded, ok := strings.Cut(string(text), "vtpmd: log=")
	events, err := base64.StdEncoding.DecodeString(strings.TrimSpace(coded))
	if err != nil || !ok {
		t.Fatalf("event log: %v\n%.300s", err, text)
	}
	return events
}

// banks are the allocated ones, as vtpmd says when it is asked afterwards.
func (v *vm) banks() []string {
	v.t.Helper()
	d := startUnix(v.t, v.state, "--flags", "not-need-init,startup-clear")
	rsp := d.tpm(hx("80010000001600000" + "17a" + "00000005" + "00000000" + "00000001"))
	names := map[string]string{"0004": "sha1", "000b": "sha256", "000c": "sha384", "000d": "sha512", "0027": "sha3-256", "0028": "sha3-384", "0029": "sha3-512"}
	var list []string
	for rest := rsp[19:]; len(rest) >= 6; rest = rest[6:] {
		if slices.Equal(rest[3:6], []byte{0xff, 0xff, 0xff}) {
			list = append(list, names[hex.EncodeToString(rest[:2])])
		}
	}
	d.stopNow(v.t)
	if len(list) == 0 {
		v.fatalf("no banks: %x", rsp)
	}
	return list
}

// TestSleep suspends machines to memory. Firmware resumes the TPM: PCRs, those that the
// system extended too, are as before.
func TestSleep(t *testing.T) {
	l := newLinux(t)
	for _, c := range combinations(spec{device: "tpm-tis"}, spec{firmware: "ovmf", device: "tpm-crb"}) {
		t.Run(c.name(), func(t *testing.T) {
			c.word = "vtpmd.sleep"
			c.qemu = []string{"-m", "512", "-no-reboot", "-global", "ICH9-LPC.disable_s3=0"}
			v := l.machine(t, c)
			v.expect("vtpmd: going to sleep")
			v.until("query-status", "status", "suspended")
			before := v.pcrsAfter("")
			v.ask("system_wakeup", nil)
			v.expect("vtpmd: slept well")
			v.ask("quit", nil)
			v.ended()
			after := v.pcrsAfter("vtpmd: awake")
			for bank, values := range before {
				for n, value := range values {
					if !slices.Equal(after[bank][n], value) {
						t.Errorf("bank %s: PCR %d was %x, is %x", bank, n, value, after[bank][n])
					}
				}
			}
			if !slices.Equal(before["sha256"][8], pcrOf(1)) {
				t.Errorf("PCR 8 was %x", before["sha256"][8])
			}
			if n := strings.Count(v.said(), "vtpmd: key="); n != 12 {
				t.Errorf("%d keys after the sleep, want 12", n)
			}
		})
	}
}

// TestPresence has the guest ask UEFI firmware by the physical presence interface to clear the TPM, and
// somebody who presses the key that the firmware asks for at the next start. (Debian's SeaBIOS
// offers no such request.)
func TestPresence(t *testing.T) {
	l := newLinux(t)
	for _, device := range []string{"tpm-tis", "tpm-crb"} {
		if device == "tpm-tis" && !*long {
			continue
		}
		t.Run(device, func(t *testing.T) {
			v := l.machine(t, spec{firmware: "ovmf", device: device, word: "vtpmd.presence", qemu: []string{"-m", "512", "-device", "qemu-xhci", "-device", "usb-kbd"}})
			v.expect("vtpmd: asked for a clear")
			v.expect("Press F12")
			v.ask("send-key", map[string]any{"keys": []any{map[string]string{"type": "qcode", "data": "f12"}}})
			v.expect("vtpmd: done")
			v.ended()
			for _, line := range []string{"vtpmd: ppi response 5 0: Success", "vtpmd: the index is there: false"} {
				if !strings.Contains(v.said(), line) {
					t.Errorf("no %q\n%s", line, v.said())
				}
			}
		})
	}
}

// TestCRBBuffer makes the largest answers that QEMU's CRB has room for: they arrive whole, and what is
// larger is an error. Both QEMU and the kernel have a buffer of their own that must not overflow.
func TestCRBBuffer(t *testing.T) {
	v := newLinux(t).machine(t, spec{device: "tpm-crb", word: "vtpmd.large", tpm: []string{"--profile", "name=xenvtpm-v1"}, qemu: []string{"-m", "512", "-no-reboot"}})
	v.expect("vtpmd: done")
	v.ended()
	if !strings.Contains(v.said(), "vtpmd: largest answer 3968, then code 0x3d5") {
		t.Errorf("the guest says\n%s", v.said())
	}
}

// TestSavedBeforeStart saves a machine whose processors never ran, and so a TPM before its first
// Startup, to a file. It starts from there.
func TestSavedBeforeStart(t *testing.T) {
	l := newLinux(t)
	for _, device := range []string{"tpm-tis", "tpm-crb"} {
		t.Run(device, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "saved")
			machine := spec{device: device, qemu: []string{"-m", "512", "-no-reboot", "-S"}}
			v := l.machine(t, machine)
			v.migrate("exec:cat > " + file)
			machine.incoming = "exec:cat " + file
			v = l.machine(t, machine)
			v.greet()
			v.until("query-migrate", "status", "completed", "failed")
			v.ask("cont", nil)
			v.expect("vtpmd: done")
			v.ended()
			if !strings.Contains(v.said(), "tpm_version_major=2") || strings.Contains(v.said(), "pcr-sha256/0="+strings.Repeat("0", 64)) {
				t.Errorf("the guest says\n%s", v.said())
			}
		})
	}
}

// checkMeasured wants PCR 0 to 7 to hold something in each allocated bank.
func checkMeasured(t *testing.T, found pcrs, banks []string) {
	t.Helper()
	for _, bank := range banks {
		values, ok := found[bank]
		if !ok {
			t.Errorf("bank %s: the kernel has none", bank)
			continue
		}
		for n, v := range values[:8] {
			if strings.Trim(string(v), "\x00") == "" {
				t.Errorf("bank %s: PCR %d is zero", bank, n)
			}
		}
	}
	if len(found) != len(banks) {
		t.Errorf("the kernel has %d banks, allocated are %v", len(found), banks)
	}
}

// checkReplay wants an event log to come to the PCRs, by our own reckoning and by tpm2-tools'.
func checkReplay(t *testing.T, found pcrs, events []byte) {
	t.Helper()
	replayed, err := replay(events)
	if err != nil {
		t.Fatal(err)
	}
	c := client{t: t, dir: t.TempDir()}
	c.write("log", string(events))
	report := c.run("tpm2_eventlog", "log")
	for bank, values := range found {
		for n, v := range values[:8] {
			if got := replayed[bank][n]; !slices.Equal(got, v) {
				t.Errorf("bank %s: PCR %d is %x, the log says %x", bank, n, v, got)
			}
			if !strings.Contains(report, fmt.Sprintf("%d  : 0x%x", n, v)) {
				t.Errorf("bank %s: PCR %d is %x, tpm2_eventlog does not find that", bank, n, v)
			}
		}
	}
}

// logHashes are the algorithms of event logs.
var logHashes = map[uint16]struct {
	name string
	hash crypto.Hash
}{4: {"sha1", crypto.SHA1}, 0xb: {"sha256", crypto.SHA256}, 0xc: {"sha384", crypto.SHA384}, 0xd: {"sha512", crypto.SHA512}}
