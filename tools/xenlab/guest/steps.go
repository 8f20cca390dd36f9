package guest

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/google/go-tpm/tpm2"
)

type step func(*Session) error

// stepTable names what a guest can be told to do.
func stepTable() map[string]step {
	return map[string]step{
		"attach":   attach,
		"gone":     gone,
		"back":     back,
		"sysfs":    sysfs,
		"extend":   extend,
		"tpm2":     rawTPM2,
		"closed":   platformClosed,
		"presence": presence,
		"tools":    tools,
		"suite":    suite,
		"ekchain":  ekChain,
		"nvnew":    nvNew,
		"nvwrite":  nvWrite,
		"nvread":   nvRead,
		"ek":       endorsement,
		"refused":  refused,
		"notadmin": notAdmin,
		"bench":    bench,
		"load":     load,
		"saving":   saving,
		"dmesg":    dmesg,
		"verbose":  verbose,
	}
}

// attach waits for the device that the kernel's own driver makes.
func attach(s *Session) error {
	start := time.Now()
	_, err := s.device()
	s.Check("the stock kernel's driver offers "+DevicePath, err)
	s.Metric("module load to "+DevicePath, time.Since(start).Seconds(), "s")
	s.Value("attached", fmt.Sprint(err == nil))
	return nil
}

// gone waits until the device has been taken away.
func gone(s *Session) error {
	if err := s.release(); err != nil {
		return err
	}
	end := time.Now().Add(2 * time.Minute)
	for {
		if _, err := os.Stat(DevicePath); err != nil {
			break
		}
		if time.Now().After(end) {
			s.Check("the device disappears at a detach", fmt.Errorf("it is still there"))
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.Check("the device disappears at a detach", nil)
	s.Value("detached", "true")
	return nil
}

// back waits for a device that is attached later and uses it.
func back(s *Session) error {
	d, err := OpenWhenReady(DevicePath, 2*time.Minute)
	if err == nil {
		s.dev = d
		_, err = d.Random(16)
	}
	s.Check("a device that is attached later works", err)
	return nil
}

const sysfsDir = "/sys/class/tpm/tpm0"

// sysfs reads PCRs and capabilities by the kernel's own TPM 1.2 commands.
func sysfs(s *Session) error {
	major, err := readSysfs("tpm_version_major")
	if err == nil && major != "1" {
		err = fmt.Errorf("tpm_version_major is %q", major)
	}
	s.Check("the kernel takes the vTPM for a TPM 1.2", err)

	pcrs, err := readSysfs("pcrs")
	if err == nil {
		err = checkPCRs(pcrs)
	}
	s.Check("sysfs shows 24 PCRs (TPM 1.2 GetCapability and PCRRead)", err)

	caps, err := readSysfs("caps")
	if err == nil && !strings.Contains(caps, "TCG version: 1.2") {
		err = fmt.Errorf("caps is %q", caps)
	}
	s.Check("sysfs shows the capabilities (TPM 1.2 GetCapability)", err)
	for _, name := range []string{"timeouts", "durations"} {
		v, err := readSysfs(name)
		if err == nil && strings.Contains(v, "[adjusted]") {
			err = fmt.Errorf("the kernel had to adjust the %s: %s", name, v)
		}
		if err == nil && !regexp.MustCompile(`^[1-9][0-9]+( [1-9][0-9]+)+`).MatchString(v) {
			err = fmt.Errorf("%s are %q", name, v)
		}
		s.Check("the kernel got "+name+" it can use", err)
	}
	return nil
}

func readSysfs(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(sysfsDir, name))
	return strings.TrimSpace(string(b)), err
}

var pcrLine = regexp.MustCompile(`^PCR-([0-9]{2}):((?: [0-9A-F]{2}){20})$`)

// checkPCRs checks the text of the pcrs file: 24 lines, in order, 20 bytes each.
func checkPCRs(text string) error {
	lines := strings.Split(text, "\n")
	if len(lines) != 24 {
		return fmt.Errorf("%d lines instead of 24:\n%s", len(lines), text)
	}
	for i, l := range lines {
		m := pcrLine.FindStringSubmatch(strings.TrimSpace(l))
		if m == nil || m[1] != fmt.Sprintf("%02d", i) {
			return fmt.Errorf("line %d is %q", i, l)
		}
	}
	return nil
}

// extendPCR is one that firmware and IMA do not use and that no locality but 0 needs.
const extendPCR = 10

// extend extends a PCR by a TPM 1.2 frame and follows it through all views.
func extend(s *Session) error {
	d, err := s.device()
	if err != nil {
		return err
	}
	before1, err1 := d.PCRRead12(extendPCR)
	before256, err2 := d.PCR(tpm2.TPMAlgSHA256, extendPCR)
	if !s.Check("PCRRead by a TPM 1.2 frame", err1) || !s.Check("PCR_Read of the SHA-256 bank", err2) {
		return nil
	}
	s.Check("after a start PCR 10 is zero", expect(before256, make([]byte, 32)))

	digest := sha1.Sum([]byte("xenlab measures this"))
	after, err := d.Extend12(extendPCR, digest)
	want := sha1.Sum(append(before1[:], digest[:]...))
	if err == nil {
		err = expect(after[:], want[:])
	}
	s.Check("Extend by a TPM 1.2 frame gives SHA-1(old | digest)", err)

	got, err := d.PCR(tpm2.TPMAlgSHA1, extendPCR)
	if err == nil {
		err = expect(got, want[:])
	}
	s.Check("TPM2_PCR_Read sees it in the SHA-1 bank", err)

	want256 := sha256.Sum256(append(append(before256, digest[:]...), make([]byte, 12)...))
	got, err = d.PCR(tpm2.TPMAlgSHA256, extendPCR)
	if err == nil {
		err = expect(got, want256[:])
	}
	s.Check("the SHA-256 bank was extended with the padded digest", err)

	text, err := readSysfs("pcrs")
	if err == nil && !strings.Contains(text, fmt.Sprintf("PCR-10: % X", want[:])) {
		err = fmt.Errorf("sysfs has another PCR 10:\n%s", text)
	}
	s.Check("sysfs sees it too", err)
	return nil
}

func expect(got, want []byte) error {
	if !bytes.Equal(got, want) {
		return fmt.Errorf("got %x, want %x", got, want)
	}
	return nil
}

// rawTPM2 sends TPM 2.0 commands through a driver that knows 1.2 only.
func rawTPM2(s *Session) error {
	d, err := s.device()
	if err != nil {
		return err
	}
	a, err := d.Random(32)
	var b []byte
	if err == nil {
		b, err = d.Random(32)
	}
	if err == nil && (len(a) != 32 || len(b) != 32 || bytes.Equal(a, b)) {
		err = fmt.Errorf("%x and %x are not two random values", a, b)
	}
	s.Check("TPM2_GetRandom gives 32 new bytes each time", err)

	_, err = d.GetRandom12(16)
	s.Check("TPM 1.2 GetRandom beside it", err)

	for _, p := range []tpm2.TPMPT{tpm2.TPMPTMaxCommandSize, tpm2.TPMPTMaxResponseSize} {
		v, err := d.Property(p)
		if err == nil && (v < 1024 || v > 4088) {
			err = fmt.Errorf("it is %d", v)
		}
		s.Check(fmt.Sprintf("GetCapability: size limit %#x fits the ring", uint32(p)), err)
	}
	rsp, err := d.Send([]byte{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x1f, 0xff})
	if err == nil && Code(rsp) != uint32(tpm2.TPMRCCommandCode) {
		err = fmt.Errorf("response code %#x", Code(rsp))
	}
	s.Check("an unknown command gets TPM_RC_COMMAND_CODE", err)
	return nil
}

// tools runs Debian's tpm2-tools on the device. They open it themselves, and it can be opened once.
func tools(s *Session) error {
	if err := s.release(); err != nil {
		return err
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"getrandom", "--hex", "16"}, `^[0-9a-f]{32}$`},
		{[]string{"pcrread", "sha1:10+sha256:0,10"}, `(?s)sha256:\s+0 : 0x0{64}\s+10: 0x[0-9A-F]{64}`},
		{[]string{"getcap", "properties-fixed"}, `(?s)TPM2_PT_FAMILY_INDICATOR:\s+raw: 0x322E3000`},
	} {
		cmd := exec.Command("/usr/bin/tpm2", c.args...)
		cmd.Env = []string{"TPM2TOOLS_TCTI=device:" + DevicePath, "PATH=/usr/bin"}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		text := strings.TrimSpace(string(out))
		if err == nil && !regexp.MustCompile(c.want).MatchString(text) {
			err = errors.New("unexpected output")
		}
		if err != nil {
			err = fmt.Errorf("%w: %s\n%s", err, text, stderr.Bytes())
		}
		s.Check("Debian's tpm2 "+strings.Join(c.args, " "), err)
	}
	return nil
}

// nvNew defines the lab's NV index and writes it.
func nvNew(s *Session) error {
	d, err := s.device()
	if err != nil {
		return err
	}
	if !s.Check("NV_DefineSpace of an index", d.DefineNV()) {
		return nil
	}
	return nvWrite(s)
}

// nvWrite writes random data to the index.
func nvWrite(s *Session) error {
	d, err := s.device()
	if err != nil {
		return err
	}
	data, err := d.Random(nvSize)
	if err != nil {
		return err
	}
	// A TPM may return fewer bytes than asked for: fill up by repetition.
	data = bytes.Repeat(data, nvSize)[:nvSize]
	if s.Check("NV_Write with a password session", d.WriteNV(data)) {
		s.Value("written", hex.EncodeToString(data))
	}
	return nil
}

func nvRead(s *Session) error {
	d, err := s.device()
	if err != nil {
		return err
	}
	data, err := d.ReadNV()
	if s.Check("NV_Read with a password session", err) {
		s.Value("nv", hex.EncodeToString(data))
	}
	return nil
}

func endorsement(s *Session) error {
	d, err := s.device()
	if err != nil {
		return err
	}
	name, err := d.EndorsementName()
	if err == nil && len(name) != 34 {
		err = fmt.Errorf("the name %x has %d bytes instead of 34", name, len(name))
	}
	if s.Check("CreatePrimary of the ECC P-256 endorsement key", err) {
		s.Value("ek", hex.EncodeToString(name))
	}
	return nil
}

// refused expects that every command fails as it does on a TPM in failure mode: never a fresh TPM.
func refused(s *Session) error {
	d, err := s.device()
	if !s.Check("the device is there although the TPM refuses to work", err) {
		return nil
	}
	for name, cmd := range map[string][]byte{
		"GetRandom":     {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 16},
		"NV_ReadPublic": {0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x69, 0x01, 0x50, 0, 0x01},
		"PCR_Read":      {0x80, 0x01, 0, 0, 0, 20, 0, 0, 0x01, 0x7e, 0, 0, 0, 1, 0, 0x0b, 3, 1, 0, 0},
	} {
		rsp, err := d.Send(cmd)
		if err == nil && Code(rsp) != uint32(tpm2.TPMRCFailure) {
			err = fmt.Errorf("response code %#x", Code(rsp))
		}
		s.Check("TPM2_"+name+" gets TPM_RC_FAILURE", err)
	}
	rsp, err := d.Send(frame12(ordPCRRead, []byte{0, 0, 0, 0}))
	if err == nil && Code(rsp) != codeFail12 {
		err = fmt.Errorf("response code %#x", Code(rsp))
	}
	s.Check("TPM 1.2 PCRRead gets TPM_FAIL", err)
	_, err = d.EndorsementName()
	if err == nil {
		err = fmt.Errorf("it made a key")
	} else {
		err = nil
	}
	s.Check("CreatePrimary makes no key", err)
	return nil
}

// dmesg prints what the kernel said about the TPM.
func dmesg(s *Session) error {
	b, err := kernelLog()
	if err != nil {
		return err
	}
	for line := range strings.Lines(b) {
		if l := strings.ToLower(line); strings.Contains(l, "tpm") || strings.Contains(l, "xenbus") {
			fmt.Fprint(s.out, "dmesg: ", line)
		}
	}
	return nil
}

// verbose lets the kernel speak on the console again.
func verbose(*Session) error { return os.WriteFile("/proc/sys/kernel/printk", []byte("7"), 0o644) }
