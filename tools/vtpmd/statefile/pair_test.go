package statefile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// quick opens a folder as "nofsync" does.
func quick(t *testing.T, dir string, log *[]string) *Dir {
	t.Helper()
	opt := Options{Dir: dir, Prefix: "tpm2-00", NoFsync: true}
	if log != nil {
		opt.Logf = func(format string, a ...any) { *log = append(*log, format) }
	}
	d, err := OpenDir(opt, 0)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// kill ends a store as SIGKILL does: nothing is written, the lock is gone.
func kill(t *testing.T, d *Dir) {
	t.Helper()
	if err := d.lock.Close(); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func loads(t *testing.T, d *Dir, want []byte) {
	t.Helper()
	if got, err := d.Load(Permanent); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d octets, %v; want %d", len(got), err, len(want))
	}
}

// Whatever the sizes, the newest state is found after an end and after a kill, by a
// process that syncs too, and an end leaves one file.
func TestQuickStore(t *testing.T) {
	for _, end := range []func(*testing.T, *Dir){kill, func(t *testing.T, d *Dir) {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if got := names(t, d.opt.Dir); !slices.Equal(got, []string{".lock", "tpm2-00.permall"}) {
			t.Errorf("an end leaves %v", got)
		}
	}} {
		dir := t.TempDir()
		for i, n := range []int{10, 5000, 0, 4096, 1, 70000, 70000, 300} {
			d := quick(t, dir, nil)
			for j := range 1 + i%4 {
				state := bytes.Repeat([]byte{byte(i), byte(j)}, n)
				if err := d.Store(Permanent, state); err != nil {
					t.Fatal(err)
				}
				loads(t, d, state)
			}
			last := bytes.Repeat([]byte{byte(i), byte(i % 4)}, n)
			end(t, d)
			durable, err := OpenDir(Options{Dir: dir, Prefix: "tpm2-00"}, 0)
			if err != nil {
				t.Fatal(err)
			}
			loads(t, durable, last)
			if slices.Contains(names(t, dir), "tpm2-00.permall.safe") {
				t.Error("a safe copy outlives the state that was found whole")
			}
			if err := durable.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A process that is killed while it writes has touched the spare file only.
func TestQuickStoreCut(t *testing.T) {
	dir := t.TempDir()
	d := quick(t, dir, nil)
	for i := range 3 {
		if err := d.Store(Permanent, []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.pair.write([]byte("half of a state")); err != nil {
		t.Fatal(err)
	}
	kill(t, d)
	loads(t, quick(t, dir, nil), []byte{2})
}

// After a power cut that tore the file the copy serves, and somebody is told; without
// one the damage is an error, and a state that was deleted does not come back.
func TestQuickStoreTorn(t *testing.T) {
	dir := t.TempDir()
	d := quick(t, dir, nil)
	for i := range 5 {
		if err := d.Store(Permanent, bytes.Repeat([]byte{byte(i)}, 9000)); err != nil {
			t.Fatal(err)
		}
		d.pair.safe = d.pair.safe.Add(time.Hour)
	}
	kill(t, d)
	name := d.path(Permanent)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, whole[:4096], append(make([]byte, 4096), whole[4096:]...), append(bytes.Clone(whole[:4096]), make([]byte, len(whole)-4096)...)} {
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		var log []string
		d := quick(t, dir, &log)
		loads(t, d, make([]byte, 9000)) // of the first store
		if len(log) != 1 || !strings.Contains(log[0], "is used") {
			t.Errorf("log: %q", log)
		}
		kill(t, d)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if _, err := quick(t, dir, nil).Load(Permanent); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("deleted state: %v", err)
	}
	if err := os.WriteFile(name, whole[:4096], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(d.safePath()); err != nil {
		t.Fatal(err)
	}
	d = &Dir{opt: d.opt, fs: osFS{}}
	if _, err := d.Load(Permanent); !errors.Is(err, ErrDamaged) {
		t.Errorf("torn, without a copy: %v", err)
	}
}

// Files that somebody puts there, swaps or removes meanwhile do not become the state.
func TestQuickStoreMeddling(t *testing.T) {
	for what, meddle := range map[string]func(d *Dir) error{
		"another state": func(d *Dir) error {
			return errors.Join(os.WriteFile(filepath.Join(d.opt.Dir, "x"), []byte("old"), 0o600), os.Rename(filepath.Join(d.opt.Dir, "x"), d.path(Permanent)))
		},
		"another spare": func(d *Dir) error {
			return errors.Join(os.Remove(d.sparePath()), os.WriteFile(d.sparePath(), []byte("old"), 0o600))
		},
		"no state": func(d *Dir) error { return os.Remove(d.path(Permanent)) },
		"no spare": func(d *Dir) error { return os.Remove(d.sparePath()) },
		"neither":  func(d *Dir) error { return errors.Join(os.Remove(d.path(Permanent)), os.Remove(d.sparePath())) },
		"swapped": func(d *Dir) error {
			x := filepath.Join(d.opt.Dir, "x")
			return errors.Join(os.Rename(d.path(Permanent), x), os.Rename(d.sparePath(), d.path(Permanent)), os.Rename(x, d.sparePath()))
		},
	} {
		d := quick(t, t.TempDir(), nil)
		for i := range 8 {
			if i == 4 {
				if err := meddle(d); err != nil {
					t.Fatal(what, err)
				}
			}
			if err := d.Store(Permanent, []byte{byte(i), 1, 2}); err != nil {
				t.Fatal(what, err)
			}
			if got, err := d.Load(Permanent); err != nil || got[0] != byte(i) {
				t.Fatalf("%s: stored %d, loaded %v, %v", what, i, got, err)
			}
		}
		if err := d.Close(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A file system that cannot exchange names gets renames.
func TestQuickStoreWithoutExchange(t *testing.T) {
	d := quick(t, t.TempDir(), nil)
	for i := range 3 {
		if i == 1 {
			d.pair.spare = "/proc/self/no such thing/x" // another file system
		}
		err := d.Store(Permanent, []byte{byte(i)})
		if i == 1 {
			if err == nil {
				t.Fatal("wrote to nowhere")
			}
			d.pair.spare = d.sparePath()
			err = d.Store(Permanent, []byte{byte(i)})
		}
		if err != nil {
			t.Fatal(err)
		}
		loads(t, d, []byte{byte(i)})
	}
	other, err := os.MkdirTemp("/dev/shm", "statefile")
	if err != nil {
		t.Skip("no second file system:", err)
	}
	defer func() { _ = os.RemoveAll(other) }()
	d.pair.spare, d.pair.fd[1] = filepath.Join(other, "x"), -1 // EXDEV
	if err := d.Store(Permanent, []byte("renamed")); err != nil {
		t.Fatal(err)
	}
	loads(t, d, []byte("renamed"))
	if d.pair != nil {
		t.Skip("both are one file system")
	}
	if err := errors.Join(d.Store(Permanent, []byte("again")), d.Close()); err != nil {
		t.Fatal(err)
	}
}
