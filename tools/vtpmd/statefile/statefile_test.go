package statefile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func key(t *testing.T, s string) *Key {
	t.Helper()
	k, err := NewKey([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestEnvelope(t *testing.T) {
	a, b := key(t, "a"), key(t, "b")
	plain, _ := Seal(Permanent, []byte("state"), nil)
	sealed, _ := Seal(Permanent, []byte("state"), a)
	if bytes.Contains(sealed, []byte("state")) {
		t.Fatal("sealed envelope shows its payload")
	}
	if Sealed(plain) || !Sealed(sealed) {
		t.Fatal("Sealed")
	}
	newer := append([]byte(nil), plain...)
	newer[8]++
	for _, c := range []struct {
		name string
		kind Kind
		env  []byte
		key  *Key
		want error
	}{
		{"plain", Permanent, plain, nil, nil},
		{"sealed", Permanent, sealed, a, nil},
		{"wrong key", Permanent, sealed, b, ErrWrongKey},
		{"no key", Permanent, sealed, nil, ErrKeyNeeded},
		{"key for plain", Permanent, plain, a, ErrPlain},
		{"other kind", Volatile, plain, nil, ErrDamaged},
		{"newer", Permanent, newer, nil, ErrNewer},
		{"foreign", Permanent, []byte("something else entirely, from another program"), nil, ErrForeign},
		{"short", Permanent, plain[:20], nil, ErrDamaged},
		{"empty", Permanent, nil, nil, ErrForeign},
	} {
		p, err := Unseal(c.kind, c.env, c.key)
		if !errors.Is(err, c.want) || c.want == nil && string(p) != "state" {
			t.Errorf("%s: %q, %v; want %v", c.name, p, err, c.want)
		}
	}
}

func TestEveryFlippedBitIsSeen(t *testing.T) {
	for _, k := range []*Key{nil, key(t, "k")} {
		env, _ := Seal(Permanent, []byte("some state"), k)
		for i := range len(env) * 8 {
			bad := append([]byte(nil), env...)
			bad[i/8] ^= 1 << (i % 8)
			if _, err := Unseal(Permanent, bad, k); err == nil {
				t.Fatalf("bit %d of %d flipped and nothing said", i, len(env)*8)
			}
		}
	}
}

type store interface {
	Load(Kind) ([]byte, error)
	Store(Kind, []byte) error
	Delete(Kind) error
	Close() error
}

func TestStores(t *testing.T) {
	dir := t.TempDir()
	for name, open := range map[string]func() (store, error){
		"dir":    func() (store, error) { return OpenDir(Options{Dir: dir, Prefix: "tpm2-00", Key: key(t, "k")}, 0) },
		"linear": func() (store, error) { return OpenLinear(filepath.Join(dir, "all"), Options{Key: key(t, "k")}, 0) },
	} {
		s, err := open()
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := s.Load(Permanent); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: load of nothing: %v", name, err)
		}
		if _, err := open(); !errors.Is(err, ErrLocked) {
			t.Errorf("%s: second open: %v", name, err)
		}
		for i := range 5 {
			if err := errors.Join(s.Store(Permanent, []byte{byte(i)}), s.Store(Volatile, []byte{byte(i), 1})); err != nil {
				t.Fatal(name, err)
			}
		}
		if err := errors.Join(s.Delete(Volatile), s.Close()); err != nil {
			t.Fatal(name, err)
		}
		if s, err = open(); err != nil {
			t.Fatal(name, err)
		}
		if p, err := s.Load(Permanent); err != nil || !bytes.Equal(p, []byte{4}) {
			t.Errorf("%s: %v, %v", name, p, err)
		}
		if _, err := s.Load(Volatile); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: deleted state: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Error(name, err)
		}
	}
}

// cutFS stops working after n calls that change something, as a power cut
// would; a cut write leaves half of the file.
type cutFS struct {
	osFS
	n int
}

var errCut = errors.New("power cut")

func (c *cutFS) step() bool { c.n--; return c.n >= 0 }

func (c *cutFS) WriteFile(name string, data []byte, mode os.FileMode, sync bool) error {
	if !c.step() {
		_ = c.osFS.WriteFile(name, data[:len(data)/2], mode, sync) // the torn write
		return errCut
	}
	return c.osFS.WriteFile(name, data, mode, sync)
}

func (c *cutFS) Rename(from, to string) error {
	if !c.step() {
		return errCut
	}
	return c.osFS.Rename(from, to)
}

func (c *cutFS) SyncDir(name string) error {
	if !c.step() {
		return errCut
	}
	return c.osFS.SyncDir(name)
}

func TestCutAtEachStep(t *testing.T) {
	for n := range 4 {
		dir := t.TempDir()
		d, err := OpenDir(Options{Dir: dir, Prefix: "tpm2-00"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Store(Permanent, []byte("old")); err != nil {
			t.Fatal(err)
		}
		d.fs = &cutFS{n: n}
		saved := d.Store(Permanent, []byte("new"))
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		d, err = OpenDir(Options{Dir: dir, Prefix: "tpm2-00"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Load(Permanent)
		if err != nil {
			t.Fatalf("cut at step %d: %v", n, err)
		}
		if saved == nil && string(got) != "new" || saved != nil && string(got) != "old" && string(got) != "new" {
			t.Errorf("cut at step %d: acknowledged %v, found %q", n, saved == nil, got)
		}
		if (saved == nil) != (n == 3) {
			t.Errorf("cut at step %d: %v", n, saved)
		}
	}
}

func TestLinearTornSlot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "all")
	l, err := OpenLinear(path, Options{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := l.Store(Permanent, []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	_ = l.Close()
	whole, _ := os.ReadFile(path)
	for cut := range 80 { // the newest save is generation 3, in slot 1
		torn := append([]byte(nil), whole...)
		torn[slotSize+cut] ^= 0xff
		if err := os.WriteFile(path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		if l, err = OpenLinear(path, Options{}, 0); err != nil {
			t.Fatal(err)
		}
		if p, err := l.Load(Permanent); err != nil || p[0] != 1 {
			t.Fatalf("byte %d torn: %v, %v", cut, p, err)
		}
		_ = l.Close()
	}
	if err := os.WriteFile(path, []byte("foreign data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLinear(path, Options{}, 0); !errors.Is(err, ErrDamaged) {
		t.Errorf("foreign file: %v", err)
	}
}

func FuzzUnseal(f *testing.F) {
	env, _ := Seal(Permanent, []byte("seed"), nil)
	f.Add(env)
	f.Add([]byte(magic))
	f.Add(encodeSlot(1, map[Kind][]byte{Permanent: env}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := Unseal(Permanent, b, nil); err == nil {
			again, err := Seal(Permanent, p, nil)
			if err != nil || len(again) != len(b) {
				t.Errorf("%d bytes in, %d out, %v", len(b), len(again), err)
			}
		}
		parseSlot(b)
	})
}
