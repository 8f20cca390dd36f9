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
	hashing     bool
	size        int
	commands    int
}

func (f *fake) Execute(locality uint8, cmd, rsp []byte) []byte {
	f.commands++
	rsp = append(rsp[:0], 0x80, 0x01, 0, 0, 0, 11, 0, 0, 0, 0, locality)
	if binary.BigEndian.Uint32(cmd[6:]) == 0x999 { // changes the permanent state
		f.permanent = append(f.permanent, 1)
		if f.persist(f.permanent) != nil {
			binary.BigEndian.PutUint32(rsp[6:], 0x101)
		}
	}
	return rsp
}
func (f *fake) HashStart() error               { f.hashed, f.hashing = nil, true; return nil }
func (f *fake) HashData(b []byte) error        { f.hashed = append(f.hashed, b...); return nil }
func (f *fake) HashEnd() error                 { f.established, f.hashing = true, false; return nil }
func (f *fake) Hashing() bool                  { return f.hashing }
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
	dir  string // of its state
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	folder := t.TempDir()
	dir, err := statefile.OpenDir(statefile.Options{Dir: folder, Prefix: "tpm2-00"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	r := &rig{data: make(chan net.Conn, 1), dir: folder}
	cfg := Config{TPM2: true, Storage: dir, Power: func(s Supply) (Engine, error) {
		if string(s.Volatile) == "bad" {
			return nil, ErrVolatile
		}
		r.last = &fake{permanent: s.Permanent, resumed: s.Volatile, persist: s.Persist, size: s.MaxSize}
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
	if err := r.PowerOn(false); err != nil {
		t.Fatal(err)
	}
	r.Execute(change, nil)
	r.Execute(change, nil)
	if err := r.StoreVolatile(); err != nil {
		t.Fatal(err)
	}
	r.PowerOff()
	if err := r.PowerOn(false); err != nil {
		t.Fatal(err)
	}
	if len(r.last.permanent) != 2 || string(r.last.resumed) != "volatile" {
		t.Errorf("permanent %x, volatile %q", r.last.permanent, r.last.resumed)
	}
	if err := r.PowerOn(false); err != nil || r.last.resumed != nil {
		t.Errorf("volatile state used twice: %q, %v", r.last.resumed, err)
	}
}

func TestMigration(t *testing.T) {
	key, _ := statefile.NewKey([]byte("migration"))
	from := newRig(t, func(c *Config) { c.MigrationKey = key })
	if err := from.PowerOn(false); err != nil {
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
	if err := to.PowerOn(false); err != nil || len(to.last.permanent) != 1 {
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
	if err := r.PowerOn(false); err != nil {
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
	if err := r.PowerOn(false); err != nil {
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
		{"80010000000900000181", "80010000000a00000142", ErrFrame},
		{"8001ffffffff00000181", "80010000000a00000142", ErrFrame},
		{"80010000000a0000018100", "80010000000a00000142", ErrFrame},
		{"0000000801ffffffff80010000000a00000181", "0000000b80010000000b000000000100000000", nil},
		{"00000008000000000980010000000900000181", "0000000a80010000000a0000014200000000", ErrFrame},
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

// socketPair is a connection and its other end.
func socketPair(t *testing.T, network string) (net.Conn, net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "data")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // after its one client
	client, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	served, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(); _ = served.Close() }) // some are closed by then
	return client, served
}

// What comes in pieces is one command. After a bad frame a local client goes on; the
// stream of a remote one cannot be followed.
func TestBadFrames(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		for name, bad := range map[string]string{"short": "80010000000c00000181", "long": "80010000000a0000018100", "half": "800100", "sizeless": "80010000000000000181", "huge": "80010001000000000181"} {
			t.Run(network+" "+name, func(t *testing.T) {
				t.Parallel() // a bad frame is waited for
				r := newRig(t, nil)
				if err := r.PowerOn(false); err != nil {
					t.Fatal(err)
				}
				client, served := socketPair(t, network)
				done := make(chan error, 1)
				go func() { done <- errors.Join(ServeData(r.Machine, served, false), served.Close()) }()
				say := func(text string) {
					t.Helper()
					b, _ := hex.DecodeString(text)
					if _, err := client.Write(b); err != nil {
						t.Fatal(err)
					}
				}
				hear := func(want string) {
					t.Helper()
					b := make([]byte, len(want)/2)
					if _, err := io.ReadFull(client, b); err != nil || hex.EncodeToString(b) != want {
						t.Fatalf("%x, %v; want %s", b, err, want)
					}
				}
				say("8001000000")
				say("0a00000181")
				hear("80010000000b0000000000")
				say(bad)
				hear("80010000000a00000142")
				if network == "tcp" {
					if n, err := client.Read(make([]byte, 1)); n != 0 || err == nil {
						t.Errorf("%d octets, %v; want the end of the connection", n, err)
					}
					if err := <-done; !errors.Is(err, ErrFrame) {
						t.Error(err)
					}
					return
				}
				say("80010000000a00000181")
				hear("80010000000b0000000000")
			})
		}
	}
}

// A size that was agreed on reaches the TPM at its next init, and is fixed while it has power.
func TestBufferSize(t *testing.T) {
	r := newRig(t, nil)
	r.ask(t, "0000001100000f80", "0000000000000f8000000af800001000")
	r.ask(t, "0000000200000000", "00000000")
	if r.last.size != 0xf80 {
		t.Errorf("the TPM has %d", r.last.size)
	}
	r.ask(t, "0000001100001000", "0000000a")
	r.ask(t, "0000001100000000", "0000000000000f8000000af800001000")
	r.ask(t, "0000000e", "00000000")
	r.ask(t, "0000001100001000", "000000000000100000000af800001000")
	r.ask(t, "0000000200000000", "00000000")
	if r.last.size != 4096 {
		t.Errorf("the TPM has %d", r.last.size)
	}
}

// The command of --flags is for Start; later inits leave Startup to the client.
func TestStartupOnce(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Startup = []byte{0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0} })
	if err := r.Start(); err != nil || r.last.commands != 1 {
		t.Errorf("%d commands, %v", r.last.commands, err)
	}
	r.ask(t, "0000000200000000", "00000000")
	if r.last.commands != 0 {
		t.Errorf("%d commands after an init", r.last.commands)
	}
}

// Volatile state that cannot be used is in the way, unless it is to be deleted; blobs that
// cannot be used leave no trace.
func TestUnusableVolatile(t *testing.T) {
	r := newRig(t, nil)
	if err := r.PowerOn(false); err != nil {
		t.Fatal(err)
	}
	store := r.cfg.Storage
	for _, damage := range []func() error{
		func() error { return store.Store(statefile.Volatile, []byte("bad")) },
		func() error {
			if err := store.Store(statefile.Volatile, []byte("volatile")); err != nil {
				return err
			}
			file := filepath.Join(r.dir, "tpm2-00.volatilestate")
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			b[len(b)/2] ^= 1
			return os.WriteFile(file, b, 0o600)
		},
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			r.ask(t, "0000000200000000", "00000009")
			if r.On() {
				t.Fatal("the TPM has power")
			}
		}
		r.ask(t, "0000000200000001", "00000000")
		if r.last.resumed != nil {
			t.Errorf("resumed %q", r.last.resumed)
		}
		if _, err := store.Load(statefile.Volatile); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the volatile state: %v", err)
		}
	}
	// A machine that arrives with state that is no good is refused, also with the flag: its guest
	// would lose its PCRs unseen. The next init has what was there before.
	r.Execute([]byte{0x80, 1, 0, 0, 0, 10, 0, 0, 9, 0x99}, nil)
	r.PowerOff()
	for k, p := range map[uint32]string{ptm.BlobPermanent: "another", ptm.BlobVolatile: "bad"} {
		blob, err := statefile.Seal(statefile.Kind(k), []byte(p), nil)
		if err == nil {
			err = r.SetBlob(k, blob)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r.ask(t, "0000000200000001", "00000009")
	if p, err := store.Load(statefile.Permanent); err != nil || string(p) != "\x01" {
		t.Errorf("the permanent state is %q, %v", p, err)
	}
	r.ask(t, "0000000200000000", "00000000")
	if string(r.last.permanent) != "\x01" || r.last.resumed != nil {
		t.Errorf("%q, %q", r.last.permanent, r.last.resumed)
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
		m := New(Config{TPM2: true, Storage: store, Power: func(s Supply) (Engine, error) {
			return &fake{permanent: s.Permanent, resumed: s.Volatile, persist: s.Persist}, nil
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
