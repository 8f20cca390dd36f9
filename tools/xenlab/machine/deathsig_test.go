package machine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const helperVar = "XENLAB_TEST_HELPER"

// TestHelperProcess is no test: TestChildDiesWithUs runs it as a program that starts a
// process and is then killed.
func TestHelperProcess(t *testing.T) {
	dir := os.Getenv(helperVar)
	if dir == "" {
		t.Skip("only a helper of TestChildDiesWithUs")
	}
	p, err := startProcess("sleep", filepath.Join(dir, "log"), "/bin/sleep", "1000")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pid.new"), fmt.Append(nil, p.cmd.Process.Pid), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "pid.new"), filepath.Join(dir, "pid")); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
}

// Whatever ends the lab, not even SIGKILL leaves QEMU behind.
func TestChildDiesWithUs(t *testing.T) {
	dir := t.TempDir()
	helper := exec.Command(os.Args[0], "-test.run=^TestHelperProcess$")
	helper.Env = append(os.Environ(), helperVar+"="+dir)
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	pid := ""
	for range 1000 {
		if b, err := os.ReadFile(filepath.Join(dir, "pid")); err == nil {
			pid = string(b)
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = helper.Wait() // it was killed
	if pid == "" {
		t.Fatal("the helper did not start its process")
	}
	stat := filepath.Join("/proc", pid, "stat")
	for range 1000 {
		b, err := os.ReadFile(stat)
		if err != nil || strings.Contains(string(b), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the process outlived the program that started it")
}
