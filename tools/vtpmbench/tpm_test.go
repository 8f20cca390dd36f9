package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// peer answers on one end of a socket pair with what answer returns, piece by piece.
func peer(t *testing.T, answer func(cmd []byte) [][]byte) *contender {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = syscall.Close(pair[1]) }()
		buf := make([]byte, 4096)
		for {
			n, err := syscall.Read(pair[1], buf)
			if n <= 0 || err != nil {
				return
			}
			pieces := answer(buf[:n])
			if pieces == nil {
				return
			}
			for _, p := range pieces {
				if _, err := syscall.Write(pair[1], p); err != nil {
					return
				}
				time.Sleep(time.Millisecond) // so that they come one by one; nothing depends on it
			}
		}
	}()
	t.Cleanup(func() { _ = syscall.Close(pair[0]); <-done })
	return &contender{name: "peer", fd: pair[0], buf: make([]byte, 4096)}
}

func response(code uint32, body ...byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0x80, 0x01}, uint32(10+len(body)))
	return append(binary.BigEndian.AppendUint32(b, code), body...)
}

// An answer in pieces is put together; a code is an error; an end is one too.
func TestExchange(t *testing.T) {
	whole := response(0, 1, 2, 3, 4)
	for cut := 1; cut < len(whole); cut++ {
		c := peer(t, func([]byte) [][]byte { return [][]byte{whole[:cut], whole[cut:]} })
		if rsp, err := c.raw([]byte("0123456789")); err != nil || !bytes.Equal(rsp, whole) {
			t.Fatalf("cut at %d: %x, %v", cut, rsp, err)
		}
	}
	c := peer(t, func([]byte) [][]byte { return [][]byte{response(0x101)} })
	if _, err := c.raw([]byte("0123456789")); err == nil || !strings.Contains(err.Error(), "00000101") {
		t.Errorf("response code: %v", err)
	}
	c = peer(t, func([]byte) [][]byte { return nil })
	if _, err := c.raw([]byte("0123456789")); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("closed: %v", err)
	}
}

// Only commands inside timed count.
func TestTimed(t *testing.T) {
	c := peer(t, func([]byte) [][]byte { return [][]byte{response(0)} })
	if _, err := c.raw([]byte("0123456789")); err != nil || c.elapsed != 0 {
		t.Errorf("%v counted, %v", c.elapsed, err)
	}
	step := c.repeat([]byte("0123456789"))
	for range 2 {
		before := c.elapsed
		if err := step(); err != nil || c.elapsed <= before {
			t.Errorf("%v counted after %v, %v", c.elapsed, before, err)
		}
	}
	bad := errors.New("x")
	if err := c.timed(func() error { return bad }); !errors.Is(err, bad) || c.timing {
		t.Errorf("%v, timing %v", err, c.timing)
	}
}

func TestWithPassword(t *testing.T) {
	got := withPassword(0x157, 0x80000000, []byte{0xaa})
	want := []byte{0x80, 0x02, 0, 0, 0, 28, 0, 0, 1, 0x57, 0x80, 0, 0, 0, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, 0xaa}
	if !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// The floor's other side is this test itself, started again.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == echoArg {
		echo(echoFD)
		return
	}
	if len(os.Args) == 2 && os.Args[1] == awakeArg {
		if stayAwake() != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestFloor(t *testing.T) {
	s, err := measureFloor(0)
	if err != nil || s.Count != 100 || s.Median <= 0 || s.P95 < s.Median {
		t.Errorf("%+v, %v", s, err)
	}
}

// The processes that keep processors awake run in the idle class and end when told.
func TestKeepAwake(t *testing.T) {
	stop, err := keepAwake()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // some of them may still start; all must end the same
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// Wrong use says so and starts nothing.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"-only", "("}, {"-no-such"}, {"-time", "x"}, {"-vtpmd", "/bin/true", "-swtpm", "/no/such/program"}} {
		if err := bench(args); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
