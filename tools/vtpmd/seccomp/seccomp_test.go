package seccomp

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestMain also plays the filtered process of TestFilter.
func TestMain(m *testing.M) {
	switch os.Getenv("SECCOMP_TEST") {
	case "":
		os.Exit(m.Run())
	case "allowed":
		install()
		f, err := os.CreateTemp("", "seccomp")
		if err != nil || os.Remove(f.Name()) != nil || f.Close() != nil {
			os.Exit(3)
		}
		os.Exit(0)
	case "forbidden":
		install()
		_ = syscall.Exec("/bin/true", []string{"true"}, nil) // must not return
		os.Exit(4)
	}
}

func install() {
	if err := Install(Kill); err != nil {
		_, _ = os.Stderr.WriteString(err.Error())
		os.Exit(2)
	}
}

func TestFilter(t *testing.T) {
	child := func(mode string) error {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "SECCOMP_TEST="+mode)
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "seccomp:") {
			t.Fatalf("the filter was not set: %s", out)
		}
		return err
	}
	if err := child("allowed"); err != nil {
		t.Errorf("ordinary file work under the filter: %v", err)
	}
	var exit *exec.ExitError
	err := child("forbidden")
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGSYS {
		t.Errorf("execve under the filter: %v, want SIGSYS", err)
	}
}

func TestParse(t *testing.T) {
	for s, on := range map[string]bool{"kill": true, "log": true, "none": false} {
		if _, got, err := Parse(s); got != on || err != nil {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	if _, _, err := Parse("maybe"); err == nil {
		t.Error("an unknown action is accepted")
	}
}
