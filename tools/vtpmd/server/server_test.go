package server

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"xenvtpm/tools/vtpmd/options"
	"xenvtpm/tools/vtpmd/ptm"
	"xenvtpm/tools/vtpmd/statefile"
)

// fake is an engine that echoes the locality and counts its commands.
type fake struct {
	permanent   []byte
	resumed     []byte
	persist     func([]byte) error
	hashed      []byte
	established bool
}

func (f *fake) Execute(locality uint8, cmd, rsp []byte) []byte {
	rsp = append(rsp[:0], 0x80, 0x01, 0, 0, 0, 11, 0, 0, 0, 0, locality)
	if binary.BigEndian.Uint32(cmd[6:]) == 0x999 { // changes the permanent state
		f.permanent = append(f.permanent, 1)
		if f.persist(f.permanent) != nil {
			binary.BigEndian.PutUint32(rsp[6:], 0x101)
		}
	}
	return rsp
}
func (f *fake) HashStart() error               { f.hashed = nil; return nil }
func (f *fake) HashData(b []byte) error        { f.hashed = append(f.hashed, b...); return nil }
func (f *fake) HashEnd() error                 { f.established = true; return nil }
func (f *fake) Established() bool              { return f.established }
func (f *fake) ResetEstablished(l uint8) error { f.established = false; return nil }
func (f *fake) Permanent() ([]byte, error)     { return f.permanent, nil }
func (f *fake) Volatile() ([]byte, error)      { return []byte("volatile"), nil }

type rig struct {
	*Machine
	last *fake
	ctl  *Control
	down bool
	data chan net.Conn
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	dir, err := statefile.OpenDir(statefile.Options{Dir: t.TempDir(), Prefix: "tpm2-00"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	r := &rig{data: make(chan net.Conn, 1)}
	cfg := Config{TPM2: true, Storage: dir, Power: func(p, v []byte, persist func([]byte) error, _ func() bool) (Engine, error) {
		r.last = &fake{permanent: p, resumed: v, persist: persist}
		return r.last, nil
	}}
	if change != nil {
		change(&cfg)
	}
	r.Machine = New(cfg)
	r.ctl = &Control{Machine: r.Machine, Shutdown: func() { r.down = true }, Attach: func(c net.Conn) error { r.data <- c; return nil }, Info: func(uint64) string { return "{}" }}
	return r
}

// ask sends one control request over a real Unix socket pair.
func (r *rig) ask(t *testing.T, hexReq string, want string) {
	t.Helper()
	a, b := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- r.ctl.Serve(b) }()
	req, _ := hex.DecodeString(hexReq)
	if _, err := a.Write(req); err != nil {
		t.Fatal(err)
	}
	wantBytes, _ := hex.DecodeString(want)
	got := make([]byte, len(wantBytes))
	if _, err := io.ReadFull(a, got); err != nil {
		t.Fatalf("%s: %v", hexReq, err)
	}
	_ = a.Close()
	<-done
	if !bytes.Equal(got, wantBytes) {
		t.Errorf("%s: %x, want %s", hexReq, got, want)
	}
}

func TestControlSequence(t *testing.T) {
	r := newRig(t, nil)
	cmd := []byte{0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x81}
	if got := r.Execute(cmd, nil); hex.EncodeToString(got) != "80010000000a00000101" {
		t.Errorf("before init: %x", got)
	}
	r.ask(t, "00000001", "000000000001ffff")
	r.ask(t, "0000001100000000", "000000000000100000000af800001000")
	r.ask(t, "0000001100000c00", "0000000000000c0000000af800001000")
	r.ask(t, "0000000e", "00000000")
	r.ask(t, "0000000200000000", "00000000")
	r.ask(t, "00000004", "0000000000000000")
	r.ask(t, "0000000503000000", "00000000")
	if got := r.Execute(cmd, nil); got[10] != 3 {
		t.Errorf("locality %d", got[10])
	}
	r.ask(t, "0000000505000000", "0000003d")
	r.ask(t, "00000007000000016b", "00000009") // data before start
	r.ask(t, "00000006", "00000000")
	r.ask(t, "0000000700000003616263", "00000000")
	r.ask(t, "00000008", "00000000")
	if string(r.last.hashed) != "abc" {
		t.Errorf("hashed %q", r.last.hashed)
	}
	r.ask(t, "00000004", "0000000001000000")
	r.ask(t, "0000000b02000000", "0000003d")
	r.ask(t, "0000000b03000000", "00000000")
	r.ask(t, "00000004", "0000000000000000")
	r.ask(t, "0000000f", "0000000000000000")
	r.ask(t, "00000012000000000000000100000000"+"00000000", "0000000000000003000000037b7d00")
	r.ask(t, "000000ee", "0000000a")
	r.ask(t, "00000003", "00000000")
	if !r.down {
		t.Error("shutdown did not reach the owner")
	}
}

func TestStateSurvives(t *testing.T) {
	r := newRig(t, nil)
	change := []byte{0x80, 1, 0, 0, 0, 10, 0, 0, 9, 0x99}
	if err := r.PowerOn(); err != nil {
		t.Fatal(err)
	}
	r.Execute(change, nil)
	r.Execute(change, nil)
	if err := r.StoreVolatile(); err != nil {
		t.Fatal(err)
	}
	r.PowerOff()
	if err := r.PowerOn(); err != nil {
		t.Fatal(err)
	}
	if len(r.last.permanent) != 2 || string(r.last.resumed) != "volatile" {
		t.Errorf("permanent %x, volatile %q", r.last.permanent, r.last.resumed)
	}
	if err := r.PowerOn(); err != nil || r.last.resumed != nil {
		t.Errorf("volatile state used twice: %q, %v", r.last.resumed, err)
	}
}

func TestMigration(t *testing.T) {
	key, _ := statefile.NewKey([]byte("migration"))
	from := newRig(t, func(c *Config) { c.MigrationKey = key })
	if err := from.PowerOn(); err != nil {
		t.Fatal(err)
	}
	from.Execute([]byte{0x80, 1, 0, 0, 0, 10, 0, 0, 9, 0x99}, nil)
	blob, flags, err := from.GetBlob(ptm.BlobPermanent, true)
	if err != nil || flags != ptm.StateEncrypted || !statefile.Sealed(blob) {
		t.Fatalf("flags %d, sealed %v, %v: the migration key must hold even when plain text is asked for", flags, statefile.Sealed(blob), err)
	}
	to := newRig(t, func(c *Config) { c.MigrationKey = key })
	if err := to.SetBlob(ptm.BlobPermanent, blob); err != nil {
		t.Fatal(err)
	}
	if err := to.PowerOn(); err != nil || len(to.last.permanent) != 1 {
		t.Errorf("%x, %v", to.last.permanent, err)
	}
	if err := to.SetBlob(ptm.BlobPermanent, blob); err == nil {
		t.Error("state replaced while the TPM runs")
	}
	plain, _ := statefile.Seal(statefile.Permanent, []byte("forged"), nil)
	to.PowerOff()
	if err := to.SetBlob(ptm.BlobPermanent, plain); !errors.Is(err, statefile.ErrPlain) {
		t.Errorf("plain blob past a migration key: %v", err)
	}
	if err := to.SetBlob(9, plain); err == nil {
		t.Error("unknown blob type accepted")
	}
}

func TestSetDataFD(t *testing.T) {
	r := newRig(t, nil)
	if err := r.PowerOn(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ctrl")
	ln, err := Listen(&options.Endpoint{Network: "unix", Address: path, FD: -1, ClientFD: -1, Mode: 0o600, UID: -1, GID: -1}, "ctrl")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	go func() {
		c, err := ln.Accept()
		if err == nil {
			_ = r.ctl.Serve(c) // ends when the test closes its side
		}
	}()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.(*net.UnixConn).WriteMsgUnix([]byte{0, 0, 0, 0x10}, syscall.UnixRights(pair[1]), nil); err != nil {
		t.Fatal(err)
	}
	var code [4]byte
	if _, err := io.ReadFull(c, code[:]); err != nil || code != [4]byte{} {
		t.Fatalf("%x, %v", code, err)
	}
	_ = syscall.Close(pair[1])
	data := <-r.data
	go func() { _ = ServeData(r.Machine, data, false) }() // ends with the socket
	f := os.NewFile(uintptr(pair[0]), "client")
	defer func() { _ = f.Close() }()
	if _, err := f.Write([]byte{0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x81}); err != nil {
		t.Fatal(err)
	}
	rsp := make([]byte, 11)
	if _, err := io.ReadFull(f, rsp); err != nil {
		t.Fatal(err)
	}
	// And without a descriptor the request fails.
	if _, err := c.Write([]byte{0, 0, 0, 0x10}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, code[:]); err != nil || code != [4]byte{3: ptm.Fail} {
		t.Errorf("no descriptor: %x, %v", code, err)
	}
}

func TestDataFrames(t *testing.T) {
	r := newRig(t, func(c *Config) { c.AllowSetLocality = true })
	if err := r.PowerOn(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in, out string
		err     error
	}{
		{"", "", nil},
		{"80010000000a00000181", "80010000000b0000000000", nil},
		{"80010000000b2000100002" + "", "80010000000a00000000", nil},
		{"80010000000a00000181", "80010000000b0000000002", nil},
		{"80010000000b2000100007", "80010000000a00000101", nil},
		{"00000008010000000a80010000000a00000181", "0000000b80010000000b000000000100000000", nil},
		{"00000008090000000a80010000000a00000181", "0000000a80010000000a0000010100000000", nil},
		{"80010000000900000181", "80010000000a00000101", ErrFrame},
		{"8001ffffffff00000181", "80010000000a00000101", ErrFrame},
		{"80010000000a0000018100", "80010000000a00000101", ErrFrame},
		{"0000000800ffffffff80010000000a00000181", "80010000000a00000101", ErrFrame},
		{"8001000000", "", io.ErrUnexpectedEOF},
		{"8001", "", io.ErrUnexpectedEOF},
	} {
		in, _ := hex.DecodeString(c.in)
		var out bytes.Buffer
		err := ServeData(r.Machine, struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(in), &out}, false)
		if hex.EncodeToString(out.Bytes()) != c.out || !errors.Is(err, c.err) {
			t.Errorf("%s: %x, %v; want %s, %v", c.in, out.Bytes(), err, c.out, c.err)
		}
	}
}

func FuzzServeData(f *testing.F) {
	f.Add([]byte{0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x81})
	f.Add([]byte{0, 0, 0, 8, 1, 0, 0, 0, 10, 0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x81})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := New(Config{TPM2: true})
		m.engine = &fake{persist: func([]byte) error { return nil }}
		var out bytes.Buffer
		_ = ServeData(m, struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(b), &out}, false) // only that it ends, and never panics
	})
}

// bytesConn is a connection on which all requests have come already.
type bytesConn struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func (c *bytesConn) Read(b []byte) (int, error)  { return c.in.Read(b) }
func (c *bytesConn) Write(b []byte) (int, error) { return c.out.Write(b) }

// memory is storage without a disk.
type memory map[statefile.Kind][]byte

func (m memory) Load(k statefile.Kind) ([]byte, error) {
	if p, ok := m[k]; ok {
		return p, nil
	}
	return nil, os.ErrNotExist
}
func (m memory) Store(k statefile.Kind, p []byte) error { m[k] = bytes.Clone(p); return nil }
func (m memory) Delete(k statefile.Kind) error          { delete(m, k); return nil }
func (m memory) Lock(time.Duration) error               { return nil }
func (m memory) Unlock() error                          { return nil }

// FuzzControl sends streams of requests. A TPM that is on keeps its state whatever comes:
// only SetStateBlob while it is off replaces it, and only with a whole blob.
func FuzzControl(f *testing.F) {
	blob, err := statefile.Seal(statefile.Permanent, []byte("other"), nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		"00000001" + "0000000e" + "0000001100000000" + "0000000200000000" + "00000004" + "0000000503000000" + "0000000f" + "00000003",
		"0000000200000000" + "00000006" + "0000000700000003616263" + "00000008" + "00000004" + "0000000b03000000" + "0000000a" + "0000000200000001",
		"0000000200000000" + "0000000c000000000000000100000000" + "0000000c000000000000000200000000" + "0000000e" + "0000000c000000010000000100000003",
		"0000000d0000000000000001" + fmt.Sprintf("%08x%x", len(blob), blob) + "0000000200000000" + "000000120000000000000007" + "00000000" + "00000010" + "00000009",
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		store := memory{statefile.Permanent: []byte("mine")}
		m := New(Config{TPM2: true, Storage: store, Power: func(p, v []byte, persist func([]byte) error, _ func() bool) (Engine, error) {
			return &fake{permanent: p, resumed: v, persist: persist}, nil
		}})
		conn := &bytesConn{in: bytes.NewReader(b)}
		c := &Control{Machine: m, Shutdown: func() {}, Attach: func(net.Conn) error { return ErrAttached }, Info: func(uint64) string { return "{}" }}
		_ = c.Serve(conn) // only that it ends, and never panics
		// A whole blob carries a SHA-256 of itself, so what replaced ours came in b.
		if p := store[statefile.Permanent]; string(p) != "mine" && !bytes.Contains(b, p) {
			t.Errorf("the state is %q", p)
		}
		if conn.out.Len() > 64*(len(b)+64) {
			t.Errorf("%d octets in, %d out", len(b), conn.out.Len())
		}
	})
}
