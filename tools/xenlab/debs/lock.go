package debs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

const (
	lockPause = time.Second     // between two tries
	lockLimit = 2 * time.Hour   // an upgrade of a whole system may take that long
	lockAgain = 5 * time.Minute // say again that we wait
)

// heldLock finds in apt's and dpkg's messages that another program holds a lock of
// theirs: that of the lists, of the archives, or of dpkg. (A lock file that may not
// be opened is another matter.) apt's own DPkg::Lock::Timeout covers the last only.
var heldLock = regexp.MustCompile(`Could not get lock [^\n]*|[^\n]*lock was locked by another process[^\n]*`)

// patiently runs f again and again while another program holds one of apt's locks,
// and says for whom it waits.
func (c *Cache) patiently(ctx context.Context, f func() error) error {
	start, last, said := time.Now(), time.Time{}, ""
	for {
		err := f()
		if err == nil {
			return nil
		}
		what := strings.TrimSpace(heldLock.FindString(err.Error()))
		if what == "" || time.Since(start) > lockLimit {
			return err
		}
		if what != said || time.Since(last) > lockAgain {
			c.logf("waiting for another program that uses apt: %s", what)
			said, last = what, time.Now()
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(lockPause):
		return nil
	}
}

// alone takes the cache folder for this process: two that unpack or download at the
// same time would do it into each other's files.
func (c *Cache) alone(ctx context.Context) (release func(), err error) {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("debs: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(c.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("debs: %w", err)
	}
	for said := false; ; said = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // closing gives the lock back
		}
		if err != syscall.EWOULDBLOCK && err != syscall.EINTR {
			_ = f.Close() // the error before it matters
			return nil, fmt.Errorf("debs: %s: %w", f.Name(), err)
		}
		if !said {
			c.logf("waiting for another run that gets packages into %s", c.Dir)
		}
		if err := pause(ctx); err != nil {
			_ = f.Close() // the same
			return nil, err
		}
	}
}
