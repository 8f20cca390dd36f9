package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// echoArg makes this program the other side of the floor's measurement: it
// answers on the socket that it got as descriptor echoFD.
const (
	echoArg = "-echo-on-descriptor-3"
	echoFD  = 3
)

// echo answers each command with the same response until the connection ends: the
// least that any server of the socket does.
func echo(fd int) {
	runtime.LockOSThread()
	buf := make([]byte, 4096)
	rsp := make([]byte, 44) // that of GetRandom 32
	copy(rsp, []byte{0x80, 0x01, 0, 0, 0, 44})
	for {
		if n, err := rawIO(syscall.SYS_READ, fd, buf); n == 0 || err != nil {
			return
		}
		if _, err := rawIO(syscall.SYS_WRITE, fd, rsp); err != nil {
			return
		}
	}
}

// measureFloor takes the time of a GetRandom command that echo answers.
func measureFloor(budget time.Duration) (s stat, err error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return stat{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return stat{}, err
	}
	theirs := os.NewFile(uintptr(pair[1]), "echo")
	p := exec.Command(self, echoArg)
	p.ExtraFiles = []*os.File{theirs}
	if err := errors.Join(p.Start(), theirs.Close()); err != nil {
		return stat{}, errors.Join(err, syscall.Close(pair[0]))
	}
	c := &contender{name: "echo", fd: pair[0], buf: make([]byte, 4096), timing: true}
	defer func() { err = errors.Join(err, syscall.Close(pair[0]), p.Wait()) }()
	if err := syscall.SetsockoptTimeval(c.fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Sec: 10}); err != nil {
		return stat{}, err
	}
	cmd := []byte{0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 32}
	var times []time.Duration
	for end := time.Now().Add(budget); len(times) < 100 || time.Now().Before(end); {
		c.elapsed = 0
		if _, err := c.raw(cmd); err != nil {
			return stat{}, fmt.Errorf("floor: %w", err)
		}
		times = append(times, c.elapsed)
	}
	return summarize(times), nil
}
