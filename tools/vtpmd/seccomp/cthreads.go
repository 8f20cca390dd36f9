//go:build cgo

package seccomp

import (
	filter "github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"
)

// cThreads are for a vtpmd that was built with C: there the C library makes the
// threads. It registers each with the kernel, and takes clone(2), whose flags the
// filter sees, where clone3(2) is said not to exist. A vtpmd of a release has no C and
// needs none of this.
func cThreads() []filter.SyscallGroup {
	return []filter.SyscallGroup{
		{Action: filter.ActionAllow, Names: []string{"set_robust_list", "rseq"}},
		{Action: filter.ActionErrno | filter.Action(unix.ENOSYS), Names: []string{"clone3"}},
	}
}
