package clienttest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Clients are served one after another; the one in front may be slow or stop half way.
func TestTwoClients(t *testing.T) {
	d := startUnix(t, t.TempDir(), "--flags", "not-need-init,startup-clear")
	first, second := dialUnix(t, d.data), dialUnix(t, d.data)
	mustSend(t, first, extend16(1))
	if _, err := second.Write(cmdPCRRead16); err != nil {
		t.Fatal(err)
	}
	for _, b := range extend16(2) { // octet by octet
		if _, err := first.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	rsp := make([]byte, 10)
	if _, err := io.ReadFull(first, rsp); err != nil || code(rsp) != 0 {
		t.Fatalf("%x, %v", rsp, err)
	}
	if _, err := first.Read(make([]byte, 4096)); err != nil { // the rest of the response
		t.Fatal(err)
	}
	if _, err := first.Write(cmdPCRRead16[:7]); err != nil {
		t.Fatal(err)
	}
	// The control channel does not wait for either.
	c := d.control(t)
	ask(t, c, "00000004", "0000000000000000")
	for _, b := range hx("00000011" + "00000000" + "00000005" + "00000000" + "0000000f") {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	ask(t, c, "0000000a", "000000000000100000000af800001000"+"00000000"+"0000000000000000"+"00000000")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	// Two extends were done before the second client's question, whenever that came.
	rsp = make([]byte, 62)
	if _, err := io.ReadFull(second, rsp); err != nil || code(rsp) != 0 {
		t.Fatalf("%x, %v", rsp, err)
	}
	d.stopNow(t)
	if got, want := rsp[30:], pcrOf(1, 2); !bytes.Equal(got, want) {
		t.Errorf("PCR 16 is %x, want %x", got, want)
	}
}

// A client that takes no answers holds up neither the control channel nor the end.
func TestClientThatNeverReads(t *testing.T) {
	d := startUnix(t, t.TempDir(), "--flags", "not-need-init,startup-clear")
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(pair[0]) }) // a descriptor of this test
	if err := syscall.SetsockoptInt(pair[1], syscall.SOL_SOCKET, syscall.SO_SNDBUF, 4096); err != nil {
		t.Fatal(err)
	}
	c := d.control(t)
	ask(t, c, "00000010", "00000000", pair[1])
	if err := syscall.Close(pair[1]); err != nil {
		t.Fatal(err)
	}
	stuck := false
	for sent := 0; sent < 10000 && !stuck; sent++ {
		if _, err := syscall.Write(pair[0], hx("80010000000c0000017b0030")); err != nil {
			t.Fatal(err)
		}
		// The next command goes out when this one was taken. One that is not taken in a while means
		// that vtpmd waits for us to read (or, harmlessly, that the machine is slow).
		taken := false
		for end := time.Now().Add(2 * time.Second); !taken && time.Now().Before(end); {
			n, err := unix.IoctlGetInt(pair[0], unix.SIOCOUTQ)
			if err != nil {
				t.Fatal(err)
			}
			taken = n == 0
		}
		stuck = !taken
	}
	if !stuck {
		t.Fatal("10000 answers found room in a small buffer")
	}
	ask(t, c, "00000001", "000000000001ffff")
	ask(t, c, "0000000f", "0000000000000000")
	ask(t, c, "00000003", "00000000")
	if err := d.Wait(60 * time.Second); err != nil {
		t.Errorf("after shutdown: %v\n%s", err, d.Output())
	}
}

// descriptors counts what a process has open, sockets and all.
func descriptors(t *testing.T, pid int) int {
	t.Helper()
	f, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(f)
}

// Descriptors that come with requests are used rightly or closed, however many.
func TestDescriptorMisuse(t *testing.T) {
	d := startUnix(t, t.TempDir(), "--flags", "not-need-init,startup-clear")
	c := d.control(t)
	ask(t, c, "0000000f", "0000000000000000")
	before := descriptors(t, d.PID())
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }() // only read
	bad := int(null.Fd())
	const dataFD, fail, ioError = "00000010", "00000009", "0000001f"
	for range 100 {
		ask(t, c, dataFD, fail)                        // none
		ask(t, c, dataFD, fail, bad)                   // not a socket
		ask(t, c, dataFD, fail, bad, bad, bad)         // several
		ask(t, c, "00000001", "000000000001ffff", bad) // where none belongs
	}
	// Nothing takes these, and the connection stays.
	for range 300 {
		ask(t, c, "00000001", "000000000001ffff", bad)
	}
	if n := descriptors(t, d.PID()); n > before+8 {
		t.Errorf("%d descriptors, there were %d", n, before)
	}
	many := make([]int, 200)
	for i := range many {
		many[i] = bad
	}
	ask(t, c, "00000001", "000000000001ffff", many...)
	// A socket of the wrong kind answers nothing and is let go.
	dgram, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ask(t, c, dataFD, "00000000", stream[1])
	ask(t, c, dataFD, ioError, dgram[1]) // there is one already
	f := os.NewFile(uintptr(stream[0]), "data")
	data, err := net.FileConn(f)
	if err := errors.Join(err, f.Close(), syscall.Close(stream[1])); err != nil {
		t.Fatal(err)
	}
	mustSend(t, data, cmdPCRRead16)
	if err := data.Close(); err != nil {
		t.Fatal(err)
	}
	// Now there is room for the next one, as soon as vtpmd has noticed.
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, _, err := c.WriteMsgUnix(hx(dataFD), syscall.UnixRights(dgram[1]), nil); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4)
		if _, err := io.ReadFull(c, got); err != nil {
			t.Fatal(err)
		}
		if hex.EncodeToString(got) == "00000000" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("a second data socket after the first one's end: %x", got)
		}
	}
	for _, fd := range dgram {
		if err := syscall.Close(fd); err != nil {
			t.Fatal(err)
		}
	}
	ask(t, c, "0000000f", "0000000000000000")
	d.tpm(cmdPCRRead16)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		// The runtime may have opened one or two of its own meanwhile, not hundreds.
		n := descriptors(t, d.PID())
		if n <= before+8 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d descriptors, there were %d", n, before)
		}
	}
}

// Requests that announce more than any state end their connection only.
func TestGiantControlRequests(t *testing.T) {
	d := startUnix(t, t.TempDir(), "--flags", "not-need-init,startup-clear")
	d.tpm(define(robustIndex), write(robustIndex, 5))
	for _, request := range []string{
		"0000000d" + "00000000" + "00000001" + "ffffffff",
		"0000000d" + "00000000" + "00000001" + "00100001",
		"00000007" + "00001001",
		"00000007" + "ffffffff",
		"00000000" + "00000000",
		"ffffffff",
	} {
		c := d.control(t)
		if _, err := c.Write(hx(request)); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(request, "ffffffff") && len(request) == 8 || strings.HasPrefix(request, "00000000") {
			answered(t, c, "0000000a") // bad ordinal, then the end
		}
		closed(t, c)
	}
	// The largest that is allowed, cut short and whole.
	for _, n := range []int{1000, 1 << 20} {
		c := d.control(t)
		if _, err := c.Write(append(hx("0000000d"+"00000000"+"00000001"+"00100000"), make([]byte, n)...)); err != nil {
			t.Fatal(err)
		}
		if n == 1<<20 {
			answered(t, c, "0000000a") // while the TPM runs
			ask(t, c, "0000000e", "00000000")
			if _, err := c.Write(append(hx("0000000d"+"00000000"+"00000001"+"00100000"), make([]byte, n)...)); err != nil {
				t.Fatal(err)
			}
			answered(t, c, "00000003") // nonsense
		}
		_ = c.Close() // in the middle, the first time
	}
	d.resumed(t, 5)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	if kb, err := strconv.Atoi(strings.Fields(peak)[0]); err != nil || kb > 100<<10 {
		t.Errorf("peak memory %d kB, %v", kb, err)
	}
}

// When descriptors run out the next client waits, and is served when there are some.
func TestOutOfDescriptors(t *testing.T) {
	d := startUnix(t, t.TempDir(), "--flags", "not-need-init,startup-clear")
	d.tpm(cmdPCRRead16)
	var old unix.Rlimit
	if err := unix.Prlimit(d.PID(), unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(d.PID(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: old.Max}, nil); err != nil {
		t.Fatal(err)
	}
	data, ctrl := dialUnix(t, d.data), d.control(t)
	for end := time.Now().Add(30 * time.Second); strings.Count(d.Output(), "accept") < 4; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("nothing in the log: %s", d.Output())
		}
	}
	if err := unix.Prlimit(d.PID(), unix.RLIMIT_NOFILE, &old, nil); err != nil {
		t.Fatal(err)
	}
	mustSend(t, data, cmdPCRRead16)
	ask(t, ctrl, "0000000f", "0000000000000000")
}
