package main

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/manager"
	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/swtpmtest"
)

// lab is a manager with a real TPM, and vtpmctl in front of it.
type lab struct {
	t    *testing.T
	dir  string
	tpm  *swtpmtest.TPM
	disk memDisk
	m    *manager.Manager
	env  map[string]string
	json bool            // every answer has to be JSON
	ran  map[string]bool // commands, with json

	console   []string // of the manager's present run
	authority [32]byte // authority=
}

type memDisk []byte

func (d memDisk) ReadAt(p []byte, off int64) (int, error)  { return copy(p, d[off:]), nil }
func (d memDisk) WriteAt(p []byte, off int64) (int, error) { return copy(d[off:], p), nil }
func (d memDisk) Flush() error                             { return nil }
func (d memDisk) Size() int64                              { return int64(len(d)) }

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir(), tpm: swtpmtest.Start(t, true), disk: make(memDisk, 1<<20), env: map[string]string{}}
	l.boot()
	return l
}

func (l *lab) boot() {
	l.t.Helper()
	hw, err := hwtpm.Open(l.tpm, hwtpm.Config{})
	if err != nil {
		l.t.Fatal(err)
	}
	l.console = nil
	l.m, _ = manager.New(manager.Config{Disk: l.disk, HW: hw, PCRs: proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 0xFF}, Rand: rand.Reader, Now: time.Now,
		Authority: l.authority, Logf: func(f string, a ...any) { l.console = append(l.console, fmt.Sprintf(f, a...)) }})
}

// pin puts what a command printed for the manager's command line there.
func (l *lab) pin(printed string) {
	l.t.Helper()
	_, h, _ := strings.Cut(printed, "authority=")
	b, err := hex.DecodeString(strings.Fields(h + " -")[0])
	if err != nil || copy(l.authority[:], b) != len(l.authority) {
		l.t.Fatalf("no authority= in %q", printed)
	}
}

var (
	sessionShown = regexp.MustCompile("session key is ([0-9a-f-]{39});")
	boxNoted     = regexp.MustCompile("box ([0-9a-f-]{39})\\n")
)

// session reads the session key's fingerprint off the console.
func (l *lab) session() string {
	l.t.Helper()
	m := sessionShown.FindAllStringSubmatch(strings.Join(l.console, "\n"), -1)
	if len(m) == 0 {
		l.t.Fatal("the console shows no session key")
	}
	return m[len(m)-1][1]
}

// noted finds the box's fingerprint in what was printed.
func (l *lab) noted(printed string) string {
	l.t.Helper()
	m := boxNoted.FindStringSubmatch(printed)
	if m == nil {
		l.t.Fatalf("no box in %q", printed)
	}
	return m[1]
}

func (l *lab) extend(pcr uint32) {
	l.t.Helper()
	_, err := tpm2.PCRExtend{PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests: tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, 32)}}}}.Execute(l.tpm)
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) file(name string) string { return filepath.Join(l.dir, name) }

type sender struct {
	m     *manager.Manager
	req   manager.Request
	admin bool
}

func (s sender) Send(frame []byte) ([]byte, error) {
	s.req.Frame, s.req.Admin = frame, s.admin
	return s.m.Handle([]manager.Request{s.req})[0], nil
}

func (l *lab) vtpm(n byte) *proto.Client {
	return &proto.Client{S: sender{m: l.m, req: manager.Request{Client: manager.ClientID{Domain: uint16(n)}, UUID: proto.UUID{n}}}}
}

// ctl runs vtpmctl. Files are named %name.
func (l *lab) ctl(words string) (out, errOut string, code int) {
	var o, e bytes.Buffer
	env := &env{out: &o, err: &e, getenv: func(k string) string { return l.env[k] }, now: time.Now,
		dial: func(string) (proto.Sender, func() error, error) {
			return sender{m: l.m, admin: true}, func() error { return nil }, nil
		}}
	args := strings.Fields(words)
	if l.json {
		args = append(args, "--json")
		if c, _ := find(args); c != nil {
			l.ran[c.name] = true
		}
	}
	for i, a := range args {
		if strings.HasPrefix(a, "%") {
			args[i] = l.file(a[1:])
		}
	}
	code = run(env, args)
	return o.String(), e.String(), code
}

func (l *lab) ok(words string, want ...string) string {
	l.t.Helper()
	out, errOut, code := l.ctl(words)
	if code != exitOK {
		l.t.Fatalf("vtpmctl %s: exit %d: %s%s", words, code, out, errOut)
	}
	if l.json && !json.Valid([]byte(out)) {
		l.t.Errorf("vtpmctl %s --json prints no JSON:\n%s", words, out)
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			l.t.Errorf("vtpmctl %s does not say %q:\n%s", words, w, out)
		}
	}
	return out
}

func (l *lab) fails(code int, words string, want string) {
	l.t.Helper()
	out, errOut, got := l.ctl(words)
	if got != code || !strings.Contains(out+errOut, want) {
		l.t.Errorf("vtpmctl %s: exit %d, want %d and %q:\n%s%s", words, got, code, want, out, errOut)
	}
}

// key writes an approval key: name and name.pub.
func (l *lab) key(name string, curve elliptic.Curve) *ecdsa.PrivateKey {
	l.t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		l.t.Fatal(err)
	}
	der, _ := x509.MarshalPKCS8PrivateKey(k)
	pub, _ := x509.MarshalPKIXPublicKey(k.Public())
	l.write(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	l.write(name+".pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}))
	return k
}

func (l *lab) write(name string, b []byte) {
	l.t.Helper()
	if err := os.WriteFile(l.file(name), b, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

const (
	u1    = "01000000-0000-0000-0000-000000000000"
	group = "aaaaaaaa-0000-0000-0000-000000000000"
)

func TestVTPMCommands(t *testing.T) {
	l := newLab(t)
	l.ok("status", "serving", "NOT PROVISIONED", "strict")
	l.ok("create "+u1, "created")
	l.fails(exitRefused, "create "+u1, "exists")
	l.ok("show "+u1, "never saved")
	if err := l.vtpm(1).SaveHashKey(proto.Record{1}); err != nil {
		t.Fatal(err)
	}
	l.ok("list", u1, "domain 1")
	var list proto.List
	if err := json.Unmarshal([]byte(l.ok("list --json")), &list); err != nil || len(list.VTPMs) != 1 || list.VTPMs[0].Saves != 1 {
		t.Errorf("%+v %v", list, err)
	}
	l.fails(exitRefused, "delete "+u1, "open")
	l.m.Disconnected(manager.ClientID{Domain: 1})
	l.ok("delete "+u1, "deleted")
	l.fails(exitRefused, "show "+u1, "no such vTPM")
	l.ok("events", "created", "deleted")
	l.ok("pcrs 0,7", " 7  0000")
	l.fails(exitFailed, "show nonsense", "uuid")
	l.fails(exitFailed, "show", "usage")
	l.fails(exitFailed, "list --nonsense", "usage")
	l.fails(exitFailed, "nonsense", "usage")
	l.ok("completion bash", "policy", "_vtpmctl")
	l.ok("man", ".TH VTPMCTL", "group create")
}

func TestPolicyWorkflow(t *testing.T) {
	l := newLab(t)
	l.key("saa", elliptic.P384())
	l.key("other", elliptic.P256())

	// Provision the root.
	l.ok("recovery keygen %rec")
	l.ok("policy new --comment before %root")
	l.fails(exitFailed, "provision --authority %saa.pub --policy %root", "not signed")
	l.ok("policy sign --key %saa %root", "signed by ECDSA P-384")
	l.ok("policy show %root --authority %saa.pub", "signed by", "before")
	l.fails(exitRefused, "policy show %root --authority %other.pub", "NOT VALID")
	l.fails(exitRefused, "provision --authority %other.pub --policy %root", "AUTHFAIL")
	l.pin(l.ok("provision --authority %saa.pub --policy %root --recovery %rec.pub"))
	l.ok("status", "opens in approved states", "a recovery key was given")

	// A group, from its policy on.
	l.ok("policy new --group " + group + " %blue")
	l.ok("policy sign --key %saa %blue")
	l.ok("group create blue --authority %saa.pub --policy %blue", group)
	l.ok("group list", "blue", "open", "default")
	l.ok("group show blue", "approved   sha256:0-7")
	l.ok("create " + u1 + " --group blue")
	if err := l.vtpm(1).SaveHashKey(proto.Record{7}); err != nil {
		t.Fatal(err)
	}
	l.ok("list --group blue", u1)
	l.fails(exitRefused, "group delete blue", "not empty")
	l.fails(exitRefused, "policy apply %blue", "not newer")

	// An upgrade, announced.
	l.extend(4)
	for _, name := range []string{"root", "blue"} {
		l.ok("policy new --from %" + name + " --comment after %" + name + "2")
		l.ok("policy sign --key %saa %" + name + "2")
		l.ok("policy apply %"+name+"2", "policy 2", "in force")
	}
	l.boot()
	l.ok("status", "serving", "policy 2")
	if r, err := l.vtpm(1).LoadHashKey(); err != nil || r != (proto.Record{7}) {
		t.Errorf("after the upgrade: %v", err)
	}

	// One that was not.
	l.extend(4)
	l.boot()
	l.fails(exitRefused, "status", "DEGRADED")
	l.fails(exitRefused, "list", "degraded")
	l.ok("policy new --from %root2 %root3")
	l.ok("policy sign --key %saa %root3")
	l.ok("policy apply %root3", "in force")
	l.ok("group show blue", "CLOSED")
	l.fails(exitRefused, "move "+u1+" --group default", "leaving the group")
	l.ok("release new --group blue --to default %free "+u1, "policy 2", "not signed")
	l.fails(exitFailed, "move "+u1+" --group default --release %free", "is not signed")
	l.ok("release sign --key %saa %free", "signed by", u1)
	l.fails(exitRefused, "move "+u1+" --group default --release %free", "closed")
	l.ok("policy new --from %blue2 %blue3")
	l.ok("policy sign --key %saa %blue3")
	l.ok("group update %blue3", "in force")
	l.fails(exitRefused, "move "+u1+" --group default --release %free", "policy 2, in force is 3")
	l.ok("release new --group blue --to default %free "+u1, "policy 3")
	l.ok("release sign --key %saa %free")
	l.ok("backup %bak")
	l.ok("move "+u1+" --group default --release %free", "moved")
	l.ok("group delete blue")

	// A backup is no way out of a group that is gone.
	l.m.Disconnected(manager.ClientID{Domain: 1})
	l.ok("delete " + u1)
	l.fails(exitRefused, "restore %bak", "does not exist")
	l.fails(exitRefused, "restore %bak --default-group", "leaving the group")
	l.fails(exitRefused, "restore %bak --release %free", "does not exist")
	l.ok("restore %bak --default-group --release %free --check", "1 vTPMs would be restored")
	l.fails(exitRefused, "show "+u1, "no such vTPM")
	l.ok("restore %bak --default-group --release %free", "1 vTPMs restored")
	if r, err := l.vtpm(1).LoadHashKey(); err != nil || r != (proto.Record{7}) {
		t.Errorf("after the restore: %v", err)
	}
}

// A state is approved before the platform is in it.
func TestPolicyOfTheFuture(t *testing.T) {
	l := newLab(t)
	l.key("saa", elliptic.P256())
	l.ok("policy new %now")
	l.ok("policy sign --key %saa %now")
	l.pin(l.ok("provision --authority %saa.pub --policy %now"))
	future := sha256.Sum256(make([]byte, 64)) // PCR 4 after the upgrade extends it by zeros
	l.fails(exitFailed, "policy new --set 4=00 %x", "bytes")
	l.fails(exitFailed, "policy new --set 9="+hex.EncodeToString(future[:])+" %x", "not among")
	l.fails(exitFailed, "policy new --set 4 %x", "usage")
	l.ok("policy new --from %now --set 4=" + hex.EncodeToString(future[:]) + " %next")
	l.ok("policy sign --key %saa %next")
	l.ok("policy apply %next")
	l.extend(4)
	l.boot()
	l.ok("status", "serving")
}

func TestPolicyFileIsChecked(t *testing.T) {
	l := newLab(t)
	l.key("saa", elliptic.P256())
	l.ok("policy new %p")
	b, err := os.ReadFile(l.file("p"))
	if err != nil {
		t.Fatal(err)
	}
	// A value for people that is not the one that would be signed.
	at := bytes.Index(b, []byte("values")) + bytes.Index(b[bytes.Index(b, []byte("values")):], []byte("0000"))
	l.write("lie", append(append(bytes.Clone(b[:at]), "1111"...), b[at+4:]...))
	l.fails(exitFailed, "policy sign --key %saa %lie", "not those of the digest")
	l.write("junk", []byte("{}{}"))
	l.fails(exitFailed, "policy sign --key %saa %junk", "no policy file")
	l.fails(exitFailed, "policy sign --key %p %p", "")
	small, _ := rsa.GenerateKey(rand.Reader, 2048)
	l.write("rsa", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(small)}))
	l.fails(exitFailed, "policy sign --key %rsa %p", "3072")
}

func TestSignWithAgent(t *testing.T) {
	l := newLab(t)
	ring := agent.NewKeyring()
	keys := map[string]any{}
	k, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	keys["ec"] = k
	if !testing.Short() {
		keys["rsa"], _ = rsa.GenerateKey(rand.Reader, 3072)
	}
	listener, err := net.Listen("unix", l.file("agent"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(ring, c) }()
		}
	}()
	for name, key := range keys {
		if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
			t.Fatal(err)
		}
		s, err := ssh.NewSignerFromKey(key)
		if err != nil {
			t.Fatal(err)
		}
		l.write(name+".pub", ssh.MarshalAuthorizedKey(s.PublicKey()))
		l.ok("policy new %" + name)
		l.env["SSH_AUTH_SOCK"] = ""
		l.fails(exitFailed, "policy sign --key %"+name+".pub %"+name, "no ssh-agent")
		l.env["SSH_AUTH_SOCK"] = l.file("agent")
		l.ok("policy sign --key %"+name+".pub %"+name, "signed by")
		l.ok("policy show %"+name+" --authority %"+name+".pub", "signed by")
	}
	l.ok("provision --authority %ec.pub --policy %ec") // a TPM accepts it, too
}

// respoil writes an altered recovery request.
func (l *lab) respoil(from, to string, alter func(*proto.RecoveryInfo)) {
	l.t.Helper()
	raw, err := os.ReadFile(l.file(from))
	if err != nil {
		l.t.Fatal(err)
	}
	var r proto.RecoveryInfo
	if err := json.Unmarshal(raw, &r); err != nil {
		l.t.Fatal(err)
	}
	alter(&r)
	if raw, err = json.Marshal(r); err != nil {
		l.t.Fatal(err)
	}
	l.write(to, raw)
}

func TestBackupRecovery(t *testing.T) {
	l := newLab(t)
	l.key("saa", elliptic.P256())
	l.ok("recovery keygen %rec")
	l.fails(exitFailed, "recovery keygen %rec", "exists")
	l.fails(exitFailed, "recovery request %req", "no recovery key")
	l.ok("policy new %root")
	l.ok("policy sign --key %saa %root")
	box := l.noted(l.ok("provision --authority %saa.pub --policy %root --recovery %rec.pub", "authority="))
	l.ok("status", box, "NOT PINNED")
	if err := l.vtpm(1).SaveHashKey(proto.Record{5}); err != nil {
		t.Fatal(err)
	}
	l.m.Disconnected(manager.ClientID{Domain: 1})
	l.ok("backup %bak")
	l.ok("delete " + u1)
	l.ok("restore %bak", "1 vTPMs restored")
	l.ok("restore %bak", "0 vTPMs restored, 1 were there")

	// The backup to another machine.
	other := newLab(t)
	other.dir = l.dir
	other.fails(exitRefused, "restore %bak", "AUTHFAIL")
	other.ok("recovery request --backup %bak %req")
	other.ok("recovery answer --key %rec --session " + other.session() + " --box " + box + " %req %ans")
	other.ok("recovery finish --backup %ans")
	other.ok("restore %bak", "1 vTPMs restored")
	if r, err := other.vtpm(1).LoadHashKey(); err != nil || r != (proto.Record{5}) {
		t.Errorf("on the other machine: %v", err)
	}
	b, _ := os.ReadFile(l.file("bak"))
	l.write("cut", b[:len(b)/2])
	l.fails(exitFailed, "restore %cut", "")
	l.fails(exitFailed, "restore --partial %cut", "no part that can be read")

	// The disk to another TPM.
	l.tpm.Erase()
	l.boot()
	l.fails(exitRefused, "status", "recovery key can open")
	l.ok("recovery request %req")
	typed := " --session " + strings.ToUpper(strings.ReplaceAll(l.session(), "-", ""))
	l.fails(exitFailed, "recovery answer --key %rec %req %ans", "usage")
	l.fails(exitFailed, "recovery answer --key %rec --session 0000 --box "+box+" %req %ans", "NOT of the manager whose console")
	l.fails(exitFailed, "recovery answer --key %rec"+typed+" --box 0000 %req %ans", "not the one that was made at provisioning")
	l.fails(exitFailed, "recovery answer --key %saa"+typed+" --box "+box+" %req %ans", "is for recovery key")
	// Somebody on the way puts a session key of his own into the request.
	l.respoil("req", "forged", func(r *proto.RecoveryInfo) {
		his, _ := ecdh.P256().GenerateKey(rand.Reader)
		r.Session = his.PublicKey().Bytes()
	})
	l.fails(exitFailed, "recovery answer --key %rec"+typed+" --box "+box+" %forged %stolen", "NOT of the manager whose console")
	if _, err := os.Stat(l.file("stolen")); err == nil {
		t.Error("the root secret was given to another session key")
	}
	if _, errOut, code := l.ctl("recovery answer --key %rec" + typed + " --box unknown %req %ans"); code != exitOK || !strings.Contains(errOut, "WARNING") {
		t.Errorf("without the note: exit %d, %s", code, errOut)
	}
	l.ok("recovery finish %ans")
	l.fails(exitRefused, "recovery finish %ans", "AUTHFAIL")
	l.ok("status", "serving")
	if r, err := l.vtpm(1).LoadHashKey(); err != nil || r != (proto.Record{5}) {
		t.Errorf("on the new TPM: %v", err)
	}
}

func TestFindDevice(t *testing.T) {
	root := t.TempDir()
	class := filepath.Join(root, "class")
	add := func(name, device string) {
		t.Helper()
		dev := filepath.Join(root, "devices", device)
		if err := errors.Join(os.MkdirAll(dev, 0o755), os.MkdirAll(filepath.Join(class, name), 0o755), os.Symlink(dev, filepath.Join(class, name, "device"))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := findDevice(class); !errors.Is(err, errNoDevice) {
		t.Errorf("no class: %v", err)
	}
	add("tpm0", "MSFT0101:00")
	if _, err := findDevice(class); !errors.Is(err, errNoDevice) {
		t.Errorf("hardware only: %v", err)
	}
	add("tpm1", "vtpm-0")
	if d, err := findDevice(class); err != nil || d != "/dev/tpm1" {
		t.Errorf("%q %v", d, err)
	}
	add("tpm2", "vtpm-1")
	if _, err := findDevice(class); err == nil {
		t.Error("two are ambiguous")
	}
}

// The device must be used blocking; a FIFO stands for it, because it can be
// polled as well.
func TestOpensBlocking(t *testing.T) {
	name := filepath.Join(t.TempDir(), "tpm0")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	flags := func(f *os.File) uintptr {
		t.Helper()
		raw, err := f.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var fl uintptr
		if err := raw.Control(func(fd uintptr) { fl, _, _ = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0) }); err != nil {
			t.Fatal(err)
		}
		return fl
	}
	f, err := openBlocking(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if flags(f)&syscall.O_NONBLOCK != 0 {
		t.Error("opened non-blocking")
	}
	g, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if flags(g)&syscall.O_NONBLOCK == 0 {
		t.Error("os.OpenFile opens blocking, too: this test shows nothing any more")
	}
}
