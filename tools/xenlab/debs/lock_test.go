package debs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// hold takes a lock as apt does, which uses fcntl.
func hold(t *testing.T, file string) (release func()) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() { f.Close() })
	t.Cleanup(release)
	return release
}

// apt waits for whoever holds one of its three locks, and says so. It is the real
// apt-get, with folders of our own.
func TestWaitsForAptsLocks(t *testing.T) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip(err)
	}
	for name, tt := range map[string]struct {
		lock string // below the folder
		args []string
	}{
		"lists":    {"lists/lock", []string{"update", "-o", "Dir::State::lists=%s/lists", "-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Dir::Etc::sourceparts=/dev/null"}},
		"archives": {"archives/lock", []string{"clean", "-o", "Dir::Cache::archives=%s/archives"}},
		"dpkg":     {"dpkg/lock-frontend", []string{"install", "-y", "--no-download", "-o", "Dir::State::status=%s/dpkg/status", "no-such-package-anywhere"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			release := hold(t, filepath.Join(dir, tt.lock))
			for _, d := range []string{"lists/partial", "archives/partial", "dpkg"} {
				if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "dpkg/status"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			args := []string{"apt-get"}
			for _, a := range tt.args {
				args = append(args, strings.ReplaceAll(a, "%s", dir))
			}
			var said []string
			c := &Cache{Dir: dir, Logf: func(format string, a ...any) {
				said = append(said, fmt.Sprintf(format, a...))
				release() // the other one is done as soon as we have said that we wait
			}}
			err := c.patiently(t.Context(), func() error {
				_, err := run(t.Context(), dir, args...)
				return err
			})
			if len(said) != 1 || !strings.Contains(said[0], tt.lock) {
				t.Errorf("said %q", said)
			}
			if tt.args[0] == "install" { // there is no such package, and that is then the error
				if err == nil || heldLock.MatchString(err.Error()) {
					t.Errorf("afterwards: %v", err)
				}
			} else if err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestDoesNotWaitForOtherErrors(t *testing.T) {
	c := &Cache{Dir: t.TempDir(), Logf: func(format string, a ...any) { t.Errorf("said "+format, a...) }}
	for _, text := range []string{
		"E: Could not open lock file /var/lib/apt/lists/lock - open (13: Permission denied)\nE: Unable to lock directory /var/lib/apt/lists/",
		"E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), are you root?",
		"E: Unable to locate package x",
	} {
		n := 0
		if err := c.patiently(t.Context(), func() error { n++; return errors.New(text) }); err == nil || n != 1 {
			t.Errorf("%q: tried %d times, %v", text, n, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	c.Logf = func(string, ...any) { cancel() }
	if err := c.patiently(ctx, func() error {
		return errors.New("dpkg: error: dpkg frontend lock was locked by another process with pid 7")
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// Two runs that share a cache come one after the other.
func TestCacheIsForOne(t *testing.T) {
	waiting := make(chan string, 1)
	c := &Cache{Dir: t.TempDir(), Logf: func(format string, a ...any) { waiting <- fmt.Sprintf(format, a...) }}
	first, err := c.alone(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		second, err := c.alone(t.Context())
		if err == nil {
			second()
		}
		got <- err
	}()
	select {
	case said := <-waiting:
		if !strings.Contains(said, c.Dir) {
			t.Errorf("said %q", said)
		}
	case err := <-got:
		t.Fatalf("the second did not wait: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("the second neither waits nor goes on")
	}
	first()
	if err := <-got; err != nil {
		t.Error(err)
	}
}
