// Package seccomp forbids a running vtpmd the system calls that a TPM has no
// use for: starting programs, tracing, mounting, changing the clock, loading
// kernel code, opening new listening sockets. It is a list of what is forbidden, not of what
// is allowed, because the Go runtime's needs change with its version.
package seccomp

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Action is what happens to a process that makes a forbidden call.
type Action uint32

// The actions of --seccomp.
const (
	Kill Action = 0x80000000 // SECCOMP_RET_KILL_PROCESS
	Log  Action = 0x7ffc0000 // SECCOMP_RET_LOG: allowed, but in the kernel's log
)

// Parse maps the command line's words. None gives false.
func Parse(s string) (Action, bool, error) {
	switch s {
	case "kill":
		return Kill, true, nil
	case "log":
		return Log, true, nil
	case "none":
		return 0, false, nil
	}
	return 0, false, fmt.Errorf("seccomp: unknown action %q", s)
}

// Forbidden lists the system calls that the filter catches (amd64).
func Forbidden() []uint32 {
	return []uint32{
		unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_FORK, unix.SYS_VFORK,
		unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD,
		unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_UNSHARE, unix.SYS_SETNS,
		unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSMOUNT, unix.SYS_MOUNT_SETATTR,
		unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD,
		unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
		unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL,
		unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX,
		unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_SYSLOG,
		unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT,
		unix.SYS_MKNOD, unix.SYS_MKNODAT, unix.SYS_LINK, unix.SYS_LINKAT, unix.SYS_SYMLINK, unix.SYS_SYMLINKAT,
		unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR, unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT,
		unix.SYS_SHMGET, unix.SYS_SHMAT, unix.SYS_MSGGET, unix.SYS_SEMGET, unix.SYS_MQ_OPEN, unix.SYS_INOTIFY_INIT1, unix.SYS_FANOTIFY_INIT,
		unix.SYS_PERSONALITY, unix.SYS_VHANGUP, unix.SYS_LISTEN, unix.SYS_CONNECT,
	}
}

// ErrUnsupported says that the machine has no filter of ours; nothing is set.
var ErrUnsupported = errors.New("seccomp: no filter for this architecture; run with --seccomp action=none")

// Offsets in struct seccomp_data.
const (
	offNr   = 0
	offArch = 4
	// x32Bit marks the x32 ABI's calls, which would slip through by number.
	x32Bit = 0x40000000
)

// Program builds the filter.
func Program(action Action) []unix.SockFilter {
	const (
		ldAbs = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		jeq   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		jge   = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		ret   = unix.BPF_RET | unix.BPF_K
		allow = 0x7fff0000
	)
	p := []unix.SockFilter{
		{Code: ldAbs, K: offArch},
		{Code: jeq, K: unix.AUDIT_ARCH_X86_64, Jt: 1},
		{Code: ret, K: uint32(Kill)}, // another architecture's numbers mean something else
		{Code: ldAbs, K: offNr},
		{Code: jge, K: x32Bit, Jf: 1},
		{Code: ret, K: uint32(action)},
	}
	for _, nr := range Forbidden() {
		p = append(p, unix.SockFilter{Code: jeq, K: nr, Jf: 1}, unix.SockFilter{Code: ret, K: uint32(action)})
	}
	return append(p, unix.SockFilter{Code: ret, K: allow})
}

// Install sets the filter for all threads of the process. It can't be undone.
func Install(action Action) error {
	if runtime.GOARCH != "amd64" {
		return ErrUnsupported
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	filter := Program(action)
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// SAFETY: prog and filter stay alive until the call returns; the kernel copies them.
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return fmt.Errorf("seccomp: the kernel refused the filter: %w", errno)
	}
	return nil
}
