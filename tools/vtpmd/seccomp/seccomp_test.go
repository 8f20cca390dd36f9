package seccomp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain also plays the filtered processes of the tests.
func TestMain(m *testing.M) {
	mode := os.Getenv("SECCOMP_TEST")
	if mode == "" {
		code := m.Run()
		if built != "" {
			_ = os.RemoveAll(built) // a temporary folder
		}
		os.Exit(code)
	}
	what, name, _ := strings.Cut(mode, ":")
	s := newSite()
	action := Kill
	if what == "log" {
		action = Log
	}
	if err := Install(action); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if what == "work" {
		s.work()
		fmt.Print("worked")
		os.Exit(0)
	}
	if name == "x32" {
		fmt.Print(call(0x40000000 | unix.SYS_EXECVE))
		os.Exit(0)
	}
	fmt.Print(escapes[name](s)) // under Kill it must not come back
	os.Exit(0)
}

// site is what a process has when the filter comes: sockets and files of its own.
type site struct {
	dir          string
	tcp, udp, fd int
	target       unix.SockaddrInet4 // where somebody listens
	udpTarget    unix.SockaddrInet4
	listener     net.Listener
	unixListener *net.UnixListener
	dial         net.Conn // a client of unixListener, made before the filter
}

func need[T any](v T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	return v
}

func must(err error) { need(0, err) }

func newSite() *site {
	s := &site{dir: os.Getenv("SECCOMP_DIR")}
	s.tcp, s.udp = need(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)), need(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0))
	s.fd = need(unix.Open(filepath.Join(s.dir, "file"), unix.O_RDWR|unix.O_CREAT, 0o600))
	for what, to := range map[string]*unix.SockaddrInet4{"SECCOMP_TCP": &s.target, "SECCOMP_UDP": &s.udpTarget} {
		if _, err := fmt.Sscan(os.Getenv(what), &to.Port); err != nil {
			must(err)
		}
		to.Addr = [4]byte{127, 0, 0, 1}
	}
	s.listener = need(net.Listen("tcp4", "127.0.0.1:0"))
	name := filepath.Join(s.dir, "sock")
	s.unixListener = need(net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"}))
	s.dial = need(net.Dial("unix", name))
	return s
}

// work does under the filter what vtpmd and its runtime do.
func (s *site) work() {
	name := filepath.Join(s.dir, "state")
	f := need(os.OpenFile(name+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600))
	need(f.WriteAt([]byte("state"), 0))
	must(f.Truncate(3))
	must(f.Sync())
	must(unix.Fdatasync(int(f.Fd())))
	must(unix.Flock(int(f.Fd()), unix.LOCK_EX))
	must(f.Close())
	must(os.Rename(name+".tmp", name))
	if b := need(os.ReadFile(name)); string(b) != "sta" {
		must(fmt.Errorf("the file has %q", b))
	}
	need(os.ReadDir(s.dir))
	need(os.Stat(name))
	must(os.Remove(name))
	need(unix.Eventfd(0, unix.EFD_CLOEXEC))
	// Threads: more than there are, each one blocked in a system call.
	var all sync.WaitGroup
	pipe := [2]int{}
	must(unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	for range 40 {
		all.Go(func() {
			runtime.LockOSThread()
			var b [1]byte
			unix.Read(pipe[0], b[:])
		})
	}
	time.Sleep(20 * time.Millisecond) // not for order: a sleep is a call, too
	need(unix.Write(pipe[1], make([]byte, 40)))
	all.Wait()
	for range 5 { // memory: grow, collect, give back
		_ = make([]byte, 32<<20)
		runtime.GC()
	}
	// A client and a descriptor that it passes.
	c := need(s.unixListener.AcceptUnix())
	need(s.dial.Write([]byte("x")))
	b := make([]byte, 10)
	if n, _, _, _, err := c.ReadMsgUnix(b, make([]byte, 64)); n != 1 {
		must(errors.Join(err, io.ErrUnexpectedEOF))
	}
	need(need(c.File()).Write([]byte("y")))
	must(c.CloseRead())
	must(c.Close())
	must(s.unixListener.Close())
}

// call is a raw system call, which the runtime does not change.
func call(nr uintptr, args ...uintptr) string {
	var a [6]uintptr
	copy(a[:], args)
	r, _, errno := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	return fmt.Sprint(nr, " returned ", int(r), " ", errno)
}

// escapes are ways out of a TPM that an attacker who runs code in it would try.
var escapes = map[string]func(s *site) string{
	"sendto MSG_FASTOPEN": func(s *site) string {
		return fmt.Sprint(unix.Sendto(s.tcp, []byte("secret"), unix.MSG_FASTOPEN, &s.target))
	},
	"UDP sendto":     func(s *site) string { return fmt.Sprint(unix.Sendto(s.udp, []byte("secret"), 0, &s.udpTarget)) },
	"sendmsg":        func(s *site) string { return fmt.Sprint(unix.SendmsgN(s.udp, []byte("secret"), nil, &s.udpTarget, 0)) },
	"sendmmsg":       func(s *site) string { return call(unix.SYS_SENDMMSG, uintptr(s.udp), 0, 0, 0) },
	"connect":        func(s *site) string { return fmt.Sprint(unix.Connect(s.tcp, &s.target)) },
	"UDP connect":    func(s *site) string { return fmt.Sprint(unix.Connect(s.udp, &s.udpTarget)) },
	"socket":         func(s *site) string { return fmt.Sprint(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)) },
	"netlink socket": func(s *site) string { return fmt.Sprint(unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, 0)) },
	"socketpair":     func(s *site) string { return fmt.Sprint(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)) },
	"bind":           func(s *site) string { return fmt.Sprint(unix.Bind(s.udp, &unix.SockaddrInet4{})) },
	"listen":         func(s *site) string { return fmt.Sprint(unix.Listen(s.tcp, 1)) },
	"a socket's filter": func(s *site) string {
		return call(unix.SYS_SETSOCKOPT, uintptr(s.udp), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, 0, 0)
	},
	"a socket's protocol": func(s *site) string {
		return call(unix.SYS_SETSOCKOPT, uintptr(s.tcp), unix.IPPROTO_TCP, unix.TCP_ULP, 0, 0)
	},
	"io_uring":            func(s *site) string { return call(unix.SYS_IO_URING_SETUP, 1, 0) },
	"io_uring_enter":      func(s *site) string { return call(unix.SYS_IO_URING_ENTER, uintptr(s.fd), 0, 0, 0) },
	"fork by clone":       func(s *site) string { return call(unix.SYS_CLONE, uintptr(unix.SIGCHLD)) },
	"a user namespace":    func(s *site) string { return call(unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD)) },
	"a network namespace": func(s *site) string { return call(unix.SYS_CLONE, unix.CLONE_NEWNET|uintptr(unix.SIGCHLD)) },
	"a thread in a user namespace": func(s *site) string {
		return call(unix.SYS_CLONE, unix.CLONE_VM|unix.CLONE_SIGHAND|unix.CLONE_THREAD|unix.CLONE_NEWUSER)
	},
	"a traced thread": func(s *site) string {
		return call(unix.SYS_CLONE, unix.CLONE_VM|unix.CLONE_SIGHAND|unix.CLONE_THREAD|unix.CLONE_PTRACE)
	},
	"vfork by clone": func(s *site) string {
		return call(unix.SYS_CLONE, unix.CLONE_VM|unix.CLONE_VFORK|uintptr(unix.SIGCHLD))
	},
	"clone3":           func(s *site) string { return call(unix.SYS_CLONE3, 0, 0) },
	"fork":             func(s *site) string { return call(unix.SYS_FORK) },
	"unshare":          func(s *site) string { return fmt.Sprint(unix.Unshare(unix.CLONE_NEWUSER)) },
	"setns":            func(s *site) string { return fmt.Sprint(unix.Setns(s.fd, 0)) },
	"execve":           func(s *site) string { return fmt.Sprint(syscall.Exec("/bin/true", []string{"true"}, nil)) },
	"execveat":         func(s *site) string { return call(unix.SYS_EXECVEAT, uintptr(s.fd), 0, 0, 0, 0) },
	"ptrace":           func(s *site) string { return call(unix.SYS_PTRACE, 16, uintptr(os.Getppid())) },
	"process_vm_readv": func(s *site) string { return call(unix.SYS_PROCESS_VM_READV, uintptr(os.Getppid())) },
	"pidfd_open":       func(s *site) string { return fmt.Sprint(unix.PidfdOpen(os.Getppid(), 0)) },
	"pidfd_getfd":      func(s *site) string { return call(unix.SYS_PIDFD_GETFD, uintptr(s.fd), 0, 0) },
	"kill":             func(s *site) string { return fmt.Sprint(unix.Kill(os.Getppid(), 0)) },
	"another's thread": func(s *site) string { return call(unix.SYS_TGKILL, uintptr(os.Getppid()), uintptr(os.Getppid()), 0) },
	"tkill":            func(s *site) string { return call(unix.SYS_TKILL, uintptr(os.Getppid()), 0) },
	"mount":            func(s *site) string { return fmt.Sprint(unix.Mount("none", s.dir, "tmpfs", 0, "")) },
	"move_mount":       func(s *site) string { return call(unix.SYS_MOVE_MOUNT, 0, 0, 0, 0, 0) },
	"fsopen":           func(s *site) string { return call(unix.SYS_FSOPEN, 0, 0) },
	"chroot":           func(s *site) string { return fmt.Sprint(unix.Chroot(s.dir)) },
	"pivot_root":       func(s *site) string { return fmt.Sprint(unix.PivotRoot(s.dir, s.dir)) },
	"open_by_handle":   func(s *site) string { return call(unix.SYS_OPEN_BY_HANDLE_AT, uintptr(s.fd), 0, 0) },
	"openat2":          func(s *site) string { return call(unix.SYS_OPENAT2, 0, 0, 0, 0) },
	"mknod": func(s *site) string {
		return fmt.Sprint(unix.Mknod(filepath.Join(s.dir, "n"), unix.S_IFCHR|0o600, 0x103))
	},
	"link": func(s *site) string {
		return fmt.Sprint(os.Link(filepath.Join(s.dir, "file"), filepath.Join(s.dir, "l")))
	},
	"symlink":         func(s *site) string { return fmt.Sprint(os.Symlink("/etc/passwd", filepath.Join(s.dir, "l"))) },
	"chmod":           func(s *site) string { return fmt.Sprint(os.Chmod(filepath.Join(s.dir, "file"), 0o4777)) },
	"fchmod":          func(s *site) string { return fmt.Sprint(unix.Fchmod(s.fd, 0o4777)) },
	"chown":           func(s *site) string { return fmt.Sprint(os.Chown(filepath.Join(s.dir, "file"), 0, 0)) },
	"setuid":          func(s *site) string { return call(unix.SYS_SETUID, 0) },
	"capset":          func(s *site) string { return call(unix.SYS_CAPSET, 0, 0) },
	"setxattr":        func(s *site) string { return fmt.Sprint(unix.Fsetxattr(s.fd, "user.x", nil, 0)) },
	"prctl":           func(s *site) string { return call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1) },
	"another filter":  func(s *site) string { return call(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, 0) },
	"bpf":             func(s *site) string { return call(unix.SYS_BPF, 0, 0, 0) },
	"perf_event_open": func(s *site) string { return call(unix.SYS_PERF_EVENT_OPEN, 0, 0, 0, 0, 0) },
	"userfaultfd":     func(s *site) string { return call(unix.SYS_USERFAULTFD, 0) },
	"keyctl":          func(s *site) string { return call(unix.SYS_KEYCTL, 0, 0) },
	"memfd_create":    func(s *site) string { return fmt.Sprint(unix.MemfdCreate("x", 0)) },
	"executable memory": func(s *site) string {
		return call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uintptr(0), 0)
	},
	"mapped file": func(s *site) string {
		return call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE, uintptr(s.fd), 0)
	},
	"made executable": func(s *site) string {
		b := need(unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON))
		return fmt.Sprint(unix.Mprotect(b, unix.PROT_READ|unix.PROT_EXEC))
	},
	"ioctl":        func(s *site) string { return call(unix.SYS_IOCTL, 0, unix.TIOCSTI, 0) },
	"shmget":       func(s *site) string { return call(unix.SYS_SHMGET, 0, 4096, 0) },
	"mq_open":      func(s *site) string { return call(unix.SYS_MQ_OPEN, 0, 0, 0, 0) },
	"inotify":      func(s *site) string { return fmt.Sprint(unix.InotifyInit1(0)) },
	"personality":  func(s *site) string { return call(unix.SYS_PERSONALITY, 0xffffffff) },
	"prlimit":      func(s *site) string { return call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, 0, 0) },
	"settimeofday": func(s *site) string { return call(unix.SYS_SETTIMEOFDAY, 0, 0) },
	"init_module":  func(s *site) string { return call(unix.SYS_INIT_MODULE, 0, 0, 0) },
	"reboot":       func(s *site) string { return call(unix.SYS_REBOOT, 0, 0, 0, 0) },
	"a new call":   func(s *site) string { return call(600) }, // that no kernel has yet
}

// audience listens where an escape would send to.
type audience struct {
	tcp net.Listener
	udp net.PacketConn
	dir string
}

func listen(t *testing.T) *audience {
	t.Helper()
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "seccomp") // short, for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _, _ = tcp.Close(), udp.Close(), os.RemoveAll(dir)
	})
	return &audience{tcp: tcp, udp: udp, dir: dir}
}

// pure builds this test as vtpmd is released, without C: the race detector's runtime and
// that of C make threads in other ways. withC builds it as a plain "go build" does
// where there is a C compiler.
var (
	pure  = sync.OnceValues(func() (string, error) { return build("CGO_ENABLED=0") })
	withC = sync.OnceValues(func() (string, error) { return build("CGO_ENABLED=1") })
)

func build(cgo string) (string, error) {
	if built == "" {
		dir, err := os.MkdirTemp("", "seccomp")
		if err != nil {
			return "", err
		}
		built = dir
	}
	program := filepath.Join(built, cgo)
	cmd := exec.Command("go", "test", "-c", "-o", program, ".")
	cmd.Env = append(os.Environ(), cgo, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go test -c: %w\n%s", err, out)
	}
	return program, nil
}

// built is the folder of build, for TestMain to remove.
var built string

// child runs this program in a mode, under the filter.
func (a *audience) child(t *testing.T, mode string, made func() (string, error)) (out string, err error) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("there is no filter for this architecture")
	}
	_ = os.Remove(filepath.Join(a.dir, "sock"))
	program, err := made()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "SECCOMP_TEST="+mode, "SECCOMP_DIR="+a.dir,
		fmt.Sprint("SECCOMP_TCP=", a.tcp.Addr().(*net.TCPAddr).Port), fmt.Sprint("SECCOMP_UDP=", a.udp.LocalAddr().(*net.UDPAddr).Port))
	b, err := cmd.CombinedOutput()
	return string(b), err
}

func TestWorkGoesOn(t *testing.T) {
	a := listen(t)
	for _, mode := range []string{"work", "work"} { // threads differ
		if out, err := a.child(t, mode, pure); err != nil || out != "worked" {
			t.Errorf("ordinary work under the filter: %v\n%s", err, out)
		}
	}
}

// TestWorkGoesOnWithC is for who builds vtpmd himself: the C library makes the threads.
func TestWorkGoesOnWithC(t *testing.T) {
	cc, err := exec.Command("go", "env", "CC").Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath(strings.Fields(string(cc))[0]); err != nil {
		t.Skip("there is no C compiler to build with")
	}
	a := listen(t)
	for range 5 { // threads differ
		if out, err := a.child(t, "work", withC); err != nil || out != "worked" {
			t.Errorf("ordinary work under the filter: %v\n%s", err, out)
		}
	}
}

// Every escape is tried, and ends the process before anything came of it.
func TestEscapes(t *testing.T) {
	a := listen(t)
	for name := range escapes {
		out, err := a.child(t, "escape:"+name, pure)
		var exit *exec.ExitError
		if out != "" || !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGSYS {
			t.Errorf("%s: %v, want SIGSYS before it comes back\n%s", name, err, out)
		}
	}
	_ = a.udp.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // what was sent on loopback is there already
	if n, from, err := a.udp.ReadFrom(make([]byte, 100)); err == nil {
		t.Errorf("%d bytes came from %v", n, from)
	}
	_ = a.tcp.(*net.TCPListener).SetDeadline(time.Now().Add(50 * time.Millisecond))
	if c, err := a.tcp.Accept(); err == nil {
		t.Errorf("a connection came from %v", c.RemoteAddr())
	}
}

// With log the same call is let through, so the tests above fail for what they name:
// the same escapes do get out.
func TestLogLetsThrough(t *testing.T) {
	a := listen(t)
	for _, name := range []string{"UDP sendto", "connect", "socket", "prctl"} {
		if out, err := a.child(t, "log:"+name, pure); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	_ = a.udp.SetReadDeadline(time.Now().Add(time.Minute))
	b := make([]byte, 100)
	if n, _, err := a.udp.ReadFrom(b); err != nil || string(b[:n]) != "secret" {
		t.Errorf("%q %v", b[:n], err)
	}
}

// The calls of the x32 ABI have other numbers; they are not there at all.
func TestX32(t *testing.T) {
	a := listen(t)
	out, err := a.child(t, "escape:x32", pure)
	if err != nil || !strings.HasSuffix(out, unix.ENOSYS.Error()) {
		t.Errorf("%v\n%s", err, out)
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
