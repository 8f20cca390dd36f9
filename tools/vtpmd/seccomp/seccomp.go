// Package seccomp leaves a running vtpmd the system calls that a TPM on sockets needs,
// and no others: those of Go's runtime, of connections that come in, and of its state's
// files. It cannot start programs, make sockets or send anything to an address, so
// nothing gets out that a client has not asked for. What a file's name is, the
// filter cannot see: files are the business of the user that vtpmd runs as (--runas).
//
// The list was made of what the runtime (go 1.26), package net and vtpmd call, and is
// tested with all of vtpmd's clients: a call that is missing here ends the process.
package seccomp

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	filter "github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"
)

// Action is what happens to a process that makes a call that is not on the list.
type Action = filter.Action

// The actions of --seccomp.
const (
	Kill = filter.ActionKillProcess
	Log  = filter.ActionLog // it is allowed, and stands in the kernel's log
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

// allowed are calls whatever their arguments are.
var allowed = []string{
	// Go's runtime: memory, threads, signals, time, the poller.
	"munmap", "madvise", "mincore", "futex", "exit", "exit_group", "getpid", "gettid", "sched_yield", "sched_getaffinity", "sched_setaffinity", "getcpu",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall",
	"nanosleep", "clock_nanosleep", "clock_gettime", "gettimeofday", "getrandom", "uname",
	"epoll_create1", "epoll_ctl", "epoll_pwait", "poll", "ppoll", "eventfd2", "pipe2",
	// Descriptors, and the files of state, log and process number.
	"read", "write", "readv", "writev", "pread64", "pwrite64", "close", "fcntl", "openat", "fstat", "newfstatat", "lseek", "getdents64",
	"fsync", "fdatasync", "ftruncate", "renameat", "renameat2", "unlinkat", "flock",
	// Connections that come in, and descriptors that come over them.
	"accept4", "recvmsg", "getsockname", "getpeername", "getsockopt", "shutdown",
}

// conditions are calls that only some arguments are allowed for.
func conditions() []filter.NameWithConditions {
	is := func(name string, args ...filter.Condition) filter.NameWithConditions {
		return filter.NameWithConditions{Name: name, Conditions: args}
	}
	equal := func(arg uint32, v uint64) filter.Condition {
		return filter.Condition{Argument: arg, Operation: filter.Equal, Value: v}
	}
	with := func(arg uint32, bit uint64) filter.Condition {
		return filter.Condition{Argument: arg, Operation: filter.BitsSet, Value: bit}
	}
	without := func(arg uint32, bits uint64) filter.Condition {
		return filter.Condition{Argument: arg, Operation: filter.BitsNotSet, Value: bits}
	}
	list := []filter.NameWithConditions{
		// A thread of this process: never a process, never in another namespace.
		is("clone", with(0, unix.CLONE_THREAD), without(0, ^uint64(threadFlags))),
		is("tgkill", equal(0, uint64(os.Getpid()))), // the runtime's preemption
		is("prctl", equal(0, unix.PR_SET_VMA)),      // the runtime's names for its memory
		is("mmap", with(3, unix.MAP_ANONYMOUS), without(2, unix.PROT_EXEC)),
		is("mprotect", without(2, unix.PROT_EXEC)),
	}
	// What package net sets for a connection that it has accepted.
	for _, o := range [][2]uint64{{unix.SOL_SOCKET, unix.SO_KEEPALIVE}, {unix.IPPROTO_TCP, unix.TCP_NODELAY}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}, {unix.IPPROTO_TCP, unix.TCP_KEEPCNT}} {
		list = append(list, is("setsockopt", equal(1, o[0]), equal(2, o[1])))
	}
	return list
}

// threadFlags are those of clone(2) that a runtime may make threads with.
const threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM |
	unix.CLONE_SETTLS | unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_SETTID | unix.CLONE_CHILD_CLEARTID

// ErrUnsupported says that the machine has no filter of ours; nothing is set.
var ErrUnsupported = errors.New("seccomp: no filter for this architecture; run with --seccomp action=none")

func policy(action Action) filter.Policy {
	return filter.Policy{DefaultAction: action, Syscalls: append([]filter.SyscallGroup{
		{Action: filter.ActionAllow, Names: allowed, NamesWithCondtions: conditions()},
	}, cThreads()...)}
}

// syncOrFail makes the kernel report a thread that cannot get the filter as an error
// (SECCOMP_FILTER_FLAG_TSYNC_ESRCH, Linux 5.7). Without it the call returns the
// thread's number, which is easily taken for success.
const syncOrFail = filter.FilterFlagTSync | 1<<4

// Install sets the filter for all threads of the process. It can't be undone.
func Install(action Action) error {
	if runtime.GOARCH != "amd64" {
		return ErrUnsupported
	}
	// "No new privileges" and the filter are set by one and the same thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f := filter.Filter{NoNewPrivs: true, Flag: syncOrFail, Policy: policy(action)}
	err := filter.LoadFilter(f)
	if errors.Is(err, unix.EINVAL) { // an older kernel
		f.Flag = filter.FilterFlagTSync
		err = filter.LoadFilter(f)
	}
	if err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return nil
}
