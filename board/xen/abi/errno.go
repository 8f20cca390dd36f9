package abi

import "strconv"

// Errno is one of Xen's error numbers (errno.h). Hypercalls return it
// negated; xenstore sends its name.
type Errno int

// Error numbers that occur.
const (
	EPERM     Errno = 1
	ENOENT    Errno = 2
	EIO       Errno = 5
	E2BIG     Errno = 7
	ENOEXEC   Errno = 8
	EBADF     Errno = 9
	EAGAIN    Errno = 11
	ENOMEM    Errno = 12
	EACCES    Errno = 13
	EFAULT    Errno = 14
	EBUSY     Errno = 16
	EEXIST    Errno = 17
	EXDEV     Errno = 18
	ENODEV    Errno = 19
	ENOTDIR   Errno = 20
	EISDIR    Errno = 21
	EINVAL    Errno = 22
	EMFILE    Errno = 24
	ENOSPC    Errno = 28
	EROFS     Errno = 30
	ERANGE    Errno = 34
	ENOSYS    Errno = 38
	ENOTEMPTY Errno = 39
	ENODATA   Errno = 61
	EISCONN   Errno = 106
	ENOTCONN  Errno = 107
	ETIMEDOUT Errno = 110
	EOPNOTSUP Errno = 95
	EDQUOT    Errno = 122
	ESRCH     Errno = 3
)

var errnoNames = map[Errno]string{
	EPERM: "EPERM", ENOENT: "ENOENT", ESRCH: "ESRCH", EIO: "EIO",
	E2BIG: "E2BIG", ENOEXEC: "ENOEXEC", EBADF: "EBADF", EAGAIN: "EAGAIN",
	ENOMEM: "ENOMEM", EACCES: "EACCES", EFAULT: "EFAULT", EBUSY: "EBUSY",
	EEXIST: "EEXIST", EXDEV: "EXDEV", ENODEV: "ENODEV", ENOTDIR: "ENOTDIR",
	EISDIR: "EISDIR", EINVAL: "EINVAL", EMFILE: "EMFILE", ENOSPC: "ENOSPC",
	EROFS: "EROFS", ERANGE: "ERANGE", ENOSYS: "ENOSYS",
	ENOTEMPTY: "ENOTEMPTY", ENODATA: "ENODATA", EISCONN: "EISCONN",
	ENOTCONN: "ENOTCONN", ETIMEDOUT: "ETIMEDOUT", EOPNOTSUP: "EOPNOTSUPP",
	EDQUOT: "EDQUOT",
}

// Error returns the name, "EINVAL" for example.
func (e Errno) Error() string {
	if s, ok := errnoNames[e]; ok {
		return s
	}
	return "errno " + strconv.Itoa(int(e))
}

// ErrnoByName is the inverse of Errno.Error for the names that xenstore sends.
func ErrnoByName(name string) (Errno, bool) {
	for e, s := range errnoNames {
		if s == name {
			return e, true
		}
	}
	return 0, false
}

// HypercallError turns a hypercall's result into an error: nil unless rc < 0.
func HypercallError(rc int) error {
	if rc >= 0 {
		return nil
	}
	return Errno(-rc)
}
