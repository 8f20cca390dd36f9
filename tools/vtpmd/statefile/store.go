package statefile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Options say where state lives and how it is written.
type Options struct {
	Dir     string      // folder of state files
	Prefix  string      // file name prefix, as swtpm's: "tpm2-00" or "tpm-00"
	Mode    os.FileMode // of state files; 0 means 0640
	NoFsync bool        // give up durability for speed
	Key     *Key        // nil: not encrypted
	// Logf is told what a user should know; nil: nobody.
	Logf func(format string, a ...any)
}

// Dir is a locked folder of state files.
type Dir struct {
	opt  Options
	lock *os.File
	// fs is what a crash test replaces.
	fs fileSystem
	// pair writes the permanent state for NoFsync; nil when it can't be done.
	pair *pair
}

// ErrLocked says that another process uses the folder.
var ErrLocked = errors.New("state is in use by another process")

// OpenDir locks the folder. It waits up to retry for another process to let go.
func OpenDir(opt Options, retry time.Duration) (*Dir, error) {
	if opt.Mode == 0 {
		opt.Mode = 0o640
	}
	if opt.Logf == nil {
		opt.Logf = func(string, ...any) {}
	}
	d := &Dir{opt: opt, fs: osFS{}}
	if opt.NoFsync {
		d.pair = newPair(d.path(Permanent), d.sparePath())
	}
	if err := d.Lock(retry); err != nil {
		return nil, err
	}
	return d, nil
}

// Lock takes the lock again after Unlock (migration hands it over).
func (d *Dir) Lock(retry time.Duration) error {
	if d.lock != nil {
		return nil
	}
	name := filepath.Join(d.opt.Dir, ".lock")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("lock the state folder: %w", err)
	}
	for end := time.Now().Add(retry); ; time.Sleep(10 * time.Millisecond) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			d.lock = f
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(end) {
			break
		}
	}
	_ = f.Close() // nothing was written
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("%s: %w", d.opt.Dir, ErrLocked)
	}
	return fmt.Errorf("lock %s: %w", name, err)
}

// Unlock lets another process take the state over; saving fails until Lock.
func (d *Dir) Unlock() error {
	if d.lock == nil {
		return nil
	}
	var err error
	if d.pair != nil {
		if err = d.pair.close(); err == nil {
			err = d.removeCopies()
		}
	}
	err = errors.Join(err, d.lock.Close())
	d.lock = nil
	return err
}

// removeCopies removes what a pair leaves beside the permanent state.
func (d *Dir) removeCopies() error {
	if d.pair != nil {
		d.pair.safe = time.Time{}
	}
	var errs []error
	for _, name := range []string{d.sparePath(), d.safePath()} {
		if err := d.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (d *Dir) sparePath() string { return d.path(Permanent) + ".spare" }
func (d *Dir) safePath() string  { return d.path(Permanent) + ".safe" }

// Close releases the folder.
func (d *Dir) Close() error { return d.Unlock() }

func (d *Dir) path(k Kind) string {
	ext := ".permall"
	if k == Volatile {
		ext = ".volatilestate"
	}
	return filepath.Join(d.opt.Dir, d.opt.Prefix+ext)
}

// Load returns the payload of a kind, or an error that wraps fs.ErrNotExist.
func (d *Dir) Load(k Kind) ([]byte, error) {
	env, err := d.fs.ReadFile(d.path(k))
	if err != nil {
		return nil, fmt.Errorf("read the %v state: %w", k, err)
	}
	p, err := Unseal(k, env, d.opt.Key)
	if err != nil {
		if p, ok := d.loadSafe(k); ok {
			d.opt.Logf("%s: %v; the state of up to %v before is used", d.path(k), err, safeEvery)
			return p, nil
		}
		return nil, fmt.Errorf("%s: %w", d.path(k), err)
	}
	if k == Permanent {
		if err := d.dropSafe(); err != nil {
			return nil, fmt.Errorf("%s: %w", d.path(k), err)
		}
	}
	return p, nil
}

// loadSafe returns the safe copy, where an earlier process wrote without syncing and
// had no time to end, and a power cut tore the file.
func (d *Dir) loadSafe(k Kind) ([]byte, bool) {
	if k != Permanent {
		return nil, false
	}
	env, err := d.fs.ReadFile(d.safePath())
	if err != nil {
		return nil, false
	}
	p, err := Unseal(k, env, d.opt.Key)
	return p, err == nil
}

// dropSafe removes a copy that an earlier process left and that is older than the
// state. It must not come back when that is damaged some day.
func (d *Dir) dropSafe() error {
	if d.pair != nil && d.pair.fd[0] >= 0 {
		return nil // it is ours
	}
	f, err := os.Open(d.safePath())
	if err != nil {
		return nil
	}
	_ = f.Close() // only read
	if f, err = os.Open(d.path(Permanent)); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return d.removeCopies()
}

// Store replaces the payload of a kind; when it returns nil the new one is
// durable (but for NoFsync), and at every moment one of the two is there whole.
func (d *Dir) Store(k Kind, payload []byte) error {
	if d.lock == nil {
		return fmt.Errorf("%s: state is not locked by us", d.opt.Dir)
	}
	env, err := Seal(k, payload, d.opt.Key)
	if err != nil {
		return err
	}
	if k == Permanent && d.pair != nil {
		if err := d.storePair(env); !errors.Is(err, errNoPair) {
			return err
		}
	}
	return d.replace(k, d.path(k), env)
}

// storePair writes the permanent state by exchange, and a safe copy now and then.
func (d *Dir) storePair(env []byte) error {
	p := d.pair
	if now := time.Now(); now.Sub(p.safe) >= safeEvery {
		if err := d.replace(Permanent, d.safePath(), env); err != nil {
			return err
		}
		p.safe = now
	}
	err := p.replace(env, uint32(d.opt.Mode.Perm()))
	switch {
	case errors.Is(err, errNoPair):
		// The state is new, or somebody changed the folder.
		return errors.Join(err, p.close())
	case errors.Is(err, errNoExchange):
		d.pair = nil
		return errors.Join(errNoPair, p.close(), d.removeCopies())
	case err != nil:
		return fmt.Errorf("write the permanent state: %w", err)
	}
	return nil
}

// replace writes a file under another name first.
func (d *Dir) replace(k Kind, path string, env []byte) error {
	tmp := path + ".tmp"
	if err := d.fs.WriteFile(tmp, env, d.opt.Mode, !d.opt.NoFsync); err != nil {
		return fmt.Errorf("write the %v state: %w", k, err)
	}
	if err := d.fs.Rename(tmp, path); err != nil {
		return fmt.Errorf("replace the %v state: %w", k, err)
	}
	if d.opt.NoFsync {
		return nil
	}
	if err := d.fs.SyncDir(d.opt.Dir); err != nil {
		return fmt.Errorf("sync the state folder: %w", err)
	}
	return nil
}

// Delete removes a kind; that it is not there is no error.
func (d *Dir) Delete(k Kind) error {
	if k == Permanent {
		if d.pair != nil {
			if err := d.pair.close(); err != nil {
				return err
			}
		}
		if err := d.removeCopies(); err != nil {
			return err
		}
	}
	if err := d.fs.Remove(d.path(k)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete the %v state: %w", k, err)
	}
	if d.opt.NoFsync {
		return nil
	}
	return d.fs.SyncDir(d.opt.Dir)
}

// Sizes lists the kinds that are there with the sizes of their files.
func (d *Dir) Sizes() map[Kind]int64 { return sizes(d.path) }

func sizes(path func(Kind) string) map[Kind]int64 {
	m := map[Kind]int64{}
	for _, k := range []Kind{Permanent, Volatile} {
		if st, err := os.Stat(path(k)); err == nil {
			m[k] = st.Size()
		}
	}
	return m
}

// Peek lists the state in a folder without locking it. A folder that cannot be looked into is
// an error.
func Peek(opt Options) (map[Kind]int64, error) {
	if _, err := os.ReadDir(opt.Dir); err != nil {
		return nil, fmt.Errorf("look for state: %w", err)
	}
	return sizes((&Dir{opt: opt}).path), nil
}

// fileSystem is the few calls that Store's safety rests on.
type fileSystem interface {
	ReadFile(name string) ([]byte, error)
	WriteFile(name string, data []byte, mode os.FileMode, sync bool) error
	Rename(from, to string) error
	Remove(name string) error
	SyncDir(name string) error
}

type osFS struct{}

func (osFS) ReadFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	var b bytes.Buffer
	// A state file has a bounded size; a larger one is not ours.
	if _, err := b.ReadFrom(&limited{f, MaxPayload + 4096}); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

type limited struct {
	f *os.File
	n int
}

func (l *limited) Read(p []byte) (int, error) {
	if l.n <= 0 {
		return 0, fmt.Errorf("%s: larger than any state", l.f.Name())
	}
	n, err := l.f.Read(p[:min(len(p), l.n)])
	l.n -= n
	return n, err
}

// WriteFile makes plain system calls: os.File would ask the runtime's poller
// about a regular file first, which doubles their number.
func (osFS) WriteFile(name string, data []byte, mode os.FileMode, sync bool) error {
	fail := func(op string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }
	fd, err := ignoreEINTR(func() (int, error) {
		return syscall.Open(name, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC|syscall.O_CLOEXEC, uint32(mode.Perm()))
	})
	if err != nil {
		return fail("open", err)
	}
	for done := 0; done < len(data) && err == nil; {
		var n int
		n, err = ignoreEINTR(func() (int, error) { return syscall.Write(fd, data[done:]) })
		done += max(n, 0)
	}
	if err == nil && sync {
		_, err = ignoreEINTR(func() (int, error) { return 0, syscall.Fsync(fd) })
	}
	// close is not repeated: the descriptor is gone whatever it returns.
	if err := errors.Join(err, syscall.Close(fd)); err != nil {
		return fail("write", err)
	}
	return nil
}

func ignoreEINTR(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// Rename does without os.Rename's question whether the target is a folder.
func (osFS) Rename(from, to string) error {
	if err := syscall.Rename(from, to); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
