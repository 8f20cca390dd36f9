package clienttest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"xenvtpm/tools/vtpmd/tpmproc"
)

// step is one thing done to vtpmd and to swtpm, whose answers are compared.
type step struct {
	// do is "C" or "D" and a request of the control or the data channel in hexadecimal; "restart" ends the
	// program by a signal and starts it again on its folder; "damage" changes the stored volatile state;
	// "files" asks which files are in the folder.
	do string
	// head is how many octets of the answers are compared; 0 means all.
	head int
	// ours and theirs are the answers where they differ on purpose, and why is the purpose.
	ours, theirs, why string
}

// pair is vtpmd or swtpm on a folder of its own, with a control and a data connection.
type pair struct {
	t       *testing.T
	program string
	args    []string
	state   string
	process *tpmproc.Process
	control *net.UnixConn
	data    net.Conn
}

func newPair(t *testing.T, program string, args []string) *pair {
	t.Helper()
	p := &pair{t: t, program: program, args: args, state: t.TempDir()}
	p.start()
	t.Cleanup(p.end)
	return p
}

func (p *pair) start() {
	p.t.Helper()
	ctrl := filepath.Join(shortDir(p.t), "ctrl")
	var err error
	p.process, err = tpmproc.Start(nil, p.program, append([]string{"socket", "--tpm2", "--tpmstate", "dir=" + p.state, "--ctrl", "type=unixio,path=" + ctrl}, p.args...)...)
	if err != nil {
		p.t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if p.control, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: ctrl, Net: "unix"}); err == nil {
			break
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s: %v\n%s", p.program, err, p.process.Output())
		}
	}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	if p.data, err = net.FileConn(ours); err != nil {
		p.t.Fatal(err)
	}
	_, _, err = p.control.WriteMsgUnix(hx("00000010"), syscall.UnixRights(int(theirs.Fd())), nil)
	if err := errors.Join(err, ours.Close(), theirs.Close()); err != nil {
		p.t.Fatal(err)
	}
	if got := p.receive(p.control); got != "00000000" {
		p.t.Fatalf("%s: data socket: %s", p.program, got)
	}
}

func (p *pair) end() {
	_ = p.control.Close() // after its last answer
	_ = p.data.Close()
	if err := p.process.Stop(20 * time.Second); err != nil {
		p.t.Errorf("%s: %v", p.program, err)
	}
	if p.t.Failed() {
		p.t.Logf("%s said: %s", p.program, p.process.Output())
	}
}

// receive reads an answer, which comes in one piece.
func (p *pair) receive(c net.Conn) string {
	p.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(stepLimit)); err != nil {
		p.t.Fatal(err)
	}
	b := make([]byte, 1<<18)
	n, err := c.Read(b)
	if err != nil {
		p.t.Fatalf("%s: %v\n%s", p.program, err, p.process.Output())
	}
	return hex.EncodeToString(b[:n])
}

func (p *pair) do(s step) string {
	p.t.Helper()
	channel, request, _ := strings.Cut(s.do, " ")
	switch channel {
	case "restart":
		p.end()
		p.start()
		return ""
	case "damage":
		p.damage()
		return ""
	case "files":
		return p.files()
	}
	conn := p.data
	if channel == "C" {
		conn = p.control
	}
	if _, err := conn.Write(hx(strings.ReplaceAll(request, " ", ""))); err != nil {
		p.t.Fatalf("%s: %s: %v", p.program, s.do, err)
	}
	return p.receive(conn)
}

func (p *pair) damage() {
	p.t.Helper()
	file := filepath.Join(p.state, "tpm2-00.volatilestate")
	b, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, flip(b, len(b)/2), 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) files() string {
	p.t.Helper()
	names, err := filepath.Glob(filepath.Join(p.state, "tpm2-00.*"))
	if err != nil {
		p.t.Fatal(err)
	}
	for i := range names {
		names[i] = filepath.Base(names[i])
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// Commands and requests of the table.
const (
	dReadClock  = "D 80010000000a00000181"
	dStartup    = "D 80010000000c000001440000"
	dSizes      = "D 8001000000160000017a000000060000011e00000002" // TPM_PT_MAX_COMMAND_SIZE, _RESPONSE_SIZE
	dExtend17   = "D 80020000003500000182000000110000000940000009000000000000000001" + "0004" + "0101010101010101010101010101010101010101"
	cInit       = "C 00000002 00000000"
	cInitDelete = "C 00000002 00000001"
	cStop       = "C 0000000e"
	cStore      = "C 0000000a"
	cSize       = "C 00000011 "
	permanent   = "tpm2-00.permall"
	both        = "tpm2-00.permall tpm2-00.volatilestate"
)

// differences is what is done to both programs.
var differences = map[string]struct {
	args  []string
	steps []step
}{
	"before init": {nil, []step{
		{do: dReadClock},
		{do: "C 00000001", ours: "000000000001ffff", theirs: "000000000000ffff", why: "LOCK_STORAGE, which swtpm has since 0.8"},
		{do: "C 00000004"}, {do: "C 00000006"}, {do: "C 00000007 00000001 61"}, {do: "C 00000008"}, {do: "C 00000009"}, {do: cStore}, {do: "C 0000000b 03"},
		{do: "C 0000000b 00"}, {do: "C 00000005 03"}, {do: "C 00000005 05"}, {do: "C 0000000f"}, {do: cStop},
		{do: "C 0000000c 00000000 00000001 00000000"}, {do: "C 0000000c 00000000 00000002 00000000"}, {do: "C 0000000c 00000000 00000003 00000000"},
		{do: "C 0000000d 00000000 00000001 00000000"}, {do: "C 0000000d 00000000 00000003 00000000"}, {do: "C 0000000d 00000000 00000009 00000000"},
	}},
	"running": {nil, []step{
		{do: cInit}, {do: dStartup},
		{do: "C 00000004"}, {do: "C 00000006"}, {do: "C 00000007 00000003 616263"}, {do: "C 00000008"}, {do: "C 00000004"}, {do: "C 0000000b 02"}, {do: "C 0000000b 03"}, {do: "C 00000004"},
		{do: "C 00000007 00000003 616263", ours: "00000009", theirs: "00000000", why: "data that goes nowhere is refused"},
		{do: "C 00000008", ours: "00000009", theirs: "00000000", why: "as before"},
		{do: "C 00000009"}, {do: cStore}, {do: "files"}, {do: "C 0000000f"},
		{do: "C 0000000d 00000000 00000001 00000000"}, {do: "C 0000000d 00000000 00000001 00000003 616263"}, {do: "C 0000000d 00000000 00000009 00000000"},
		{do: "C 0000000c 00000000 00000001 00000000", head: 8}, {do: "C 0000000c 00000000 00000002 00000000", head: 8},
		{do: "C 0000000c 00000000 00000003 00000000", ours: strings.Repeat("00", 16), theirs: "00000800" + strings.Repeat("00", 12), why: "no saved state is no reason to try again"},
		{do: "C 0000000c 00000000 00000009 00000000", ours: "00000003" + strings.Repeat("00", 12), theirs: "00000800" + strings.Repeat("00", 12), why: "there will never be such a blob"},
		{do: "C 00000012 0000000000000007 00100000 00000000"}, {do: "C 00000012 0000000000000000 00000000 00000000"}, {do: "C 00000012 0000000000000008 00000000 00000000"},
		{do: cStop}, {do: dReadClock}, {do: "C 00000004"}, {do: cStore}, {do: cStop},
		{do: "C 0000000d 00000000 00000001 00000003 616263"},
		{do: "C 00000002 00000002", ours: "00000003", theirs: "00000000", why: "an unknown flag is refused"},
	}},
	"buffer size": {nil, []step{
		{do: cSize + "00000000"}, {do: cSize + "00000800"}, {do: cSize + "00000c00"}, {do: cSize + "00000000"}, {do: cSize + "00002000"}, {do: cSize + "00000f80"},
		{do: cInit}, {do: dStartup}, {do: dSizes}, {do: cSize + "00000000"}, {do: cSize + "00000f80"}, {do: cSize + "00001000"}, {do: dSizes},
		{do: cStop}, {do: cSize + "00001000"}, {do: cInit}, {do: dStartup}, {do: dSizes},
	}},
	"locality": {nil, []step{
		{do: "C 00000005 02"}, {do: cInit}, {do: dStartup, ours: "80010000000a00000907", theirs: "80010000000a00000907"}, {do: "C 00000005 00"}, {do: dStartup}, {do: dExtend17},
		{do: "C 00000005 02"}, {do: dExtend17}, {do: cStop}, {do: "C 00000005 00"}, {do: cInit}, {do: dStartup}, {do: dExtend17},
	}},
	"firmware's probe": {nil, []step{
		{do: "D 00c10000000a000000f1"}, // TPM_GetTicks of TPM 1.2, by which EDK2 tells the two apart
		{do: cInit},
		{do: "D 00c10000000a000000f1", ours: "80010000000a0000001e", theirs: "80010000000a00000084", why: "the code for a bad tag is the specification's"},
		{do: dStartup},
		{do: "D 00c10000000c000000990001", ours: "80010000000a0000001e", theirs: "80010000000a00000084", why: "as before"},
	}},
	"startup once": {[]string{"--flags", "not-need-init,startup-clear"}, []step{
		{do: dReadClock, head: 10}, {do: cInit}, {do: dReadClock}, {do: dStartup}, {do: cInit}, {do: dReadClock},
		{do: "restart"}, {do: dReadClock, head: 10},
	}},
	"resume": {[]string{"--flags", "not-need-init,startup-clear"}, []step{
		{do: "D 80010000000c000001450001"}, {do: cInit}, {do: "D 80010000000c000001440001"}, {do: dReadClock, head: 10},
	}},
	"frames": {nil, []step{
		{do: cInit}, {do: dStartup},
		{do: "D 80010000000c00000181"}, {do: "D 80010000000900000181"}, {do: "D 80010000ffff00000181"}, {do: "D 80010000000a0000018100"},
		{do: "D 80010000000a0000018180010000000a00000181"}, {do: "D 80010000000f00000181" + "0000000000"}, {do: dReadClock, head: 10},
		{do: "D 0000000800 0000000a 80010000000a00000101"}, {do: "D 0000000800 00000020 80010000000a00000101"}, {do: "D 0000000800 0000000a 80010000000900000181"},
		{do: "D 0000000800 0000000a 80010000ffff00000181"}, {do: dReadClock, head: 10},
	}},
	"volatile state": {nil, []step{
		{do: cInit}, {do: dStartup}, {do: cStore}, {do: "files"}, {do: "restart"}, {do: cInit}, {do: dReadClock, head: 10},
		{do: "files", ours: permanent, theirs: both, why: "volatile state is used once"},
		{do: cStore}, {do: cStop}, {do: cInitDelete}, {do: dReadClock, head: 10}, {do: "files"},
		{do: cStore}, {do: cStop}, {do: "damage"},
		{do: cInit, ours: "00000009", theirs: "00000101", why: "both refuse; no code of the channel fits better than TPM_FAIL"},
		{do: cInit, ours: "00000009", theirs: "00000101", why: "as before"},
		{do: dReadClock}, {do: "files"},
		{do: cInitDelete, ours: "00000000", theirs: "00000101", why: "what is to be deleted is not in the way"},
		{do: "files", ours: permanent, theirs: both, why: "as before"},
	}},
}

// TestDifferences does the same to vtpmd and to the swtpm that is installed. Each answer is
// the same, or differs as the table says.
func TestDifferences(t *testing.T) {
	need(t, "swtpm")
	for name, c := range differences {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // bad frames are waited for
			ours, theirs := newPair(t, vtpmd, c.args), newPair(t, "swtpm", c.args)
			for i, s := range c.steps {
				a, b := ours.do(s), theirs.do(s)
				if s.head > 0 {
					a, b = a[:min(len(a), 2*s.head)], b[:min(len(b), 2*s.head)]
				}
				switch {
				case s.ours == "" && a != b:
					t.Errorf("%d: %s: %s, swtpm says %s", i, s.do, a, b)
				case s.ours != "" && (a != s.ours || b != s.theirs):
					t.Errorf("%d: %s: %s and %s, want %s and %s (%s)", i, s.do, a, b, s.ours, s.theirs, s.why)
				}
			}
		})
	}
}

// As many objects can be made persistent as in swtpm.
func TestPersistentObjects(t *testing.T) {
	need(t, "swtpm")
	const create = "80020000004300000131" + "40000001" + "00000009400000090000000000" + "000400000000" +
		"001a0023000b000300720000000600800043001000030010" + "00000000" + "0000" + "00000000"
	args := []string{"--flags", "not-need-init,startup-clear"}
	var counts []int
	for _, p := range []*pair{newPair(t, vtpmd, args), newPair(t, "swtpm", args)} {
		rsp := mustSend(t, p.data, hx(create))
		n := 0
		for ; n < 1000; n++ {
			evict := hx("80020000002300000120" + "40000001" + hex.EncodeToString(rsp[10:14]) + "00000009400000090000000000" + fmt.Sprintf("81%06x", n))
			got, err := send(p.data, evict)
			if err != nil {
				t.Fatal(err)
			}
			if code(got) == 0x14b { // TPM_RC_NV_SPACE
				break
			}
			if code(got) != 0 {
				t.Fatalf("%s: object %d: 0x%x", p.program, n, code(got))
			}
		}
		counts = append(counts, n)
	}
	if counts[0] < counts[1] {
		t.Errorf("%d objects fit, %d in swtpm", counts[0], counts[1])
	}
}
