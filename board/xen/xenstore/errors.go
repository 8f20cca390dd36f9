package xenstore

import (
	"errors"

	"xenvtpm/board/xen/abi"
)

// Errors. What the server answers is an *Error, for which errors.Is also
// matches the sentinel that its number belongs to.
var (
	ErrNotExist    = errors.New("no such node")         // ENOENT
	ErrPermission  = errors.New("permission denied")    // EACCES, EPERM
	ErrQuota       = errors.New("quota exceeded")       // ENOSPC, EDQUOT, E2BIG, ENOMEM
	ErrExist       = errors.New("node exists")          // EEXIST
	ErrConflict    = errors.New("transaction conflict") // EAGAIN; from Transaction: too often
	ErrTimeout     = errors.New("no answer in time")
	ErrCorrupt     = errors.New("malformed message") // the server's bytes make no sense
	ErrInvalidPath = errors.New("invalid path")      // found here, nothing was sent
	ErrTooLong     = errors.New("request too long")  // found here, nothing was sent
)

// An Error is an error that the server answered.
type Error struct {
	Op    string
	Path  string
	Errno abi.Errno // 0 if the server sent a name that we do not know
	Name  string    // what it sent, cut to a sane length
}

func (e *Error) Error() string { return "xenstore: " + e.Op + " " + e.Path + ": " + e.Name }

// Unwrap makes errors.Is work with abi's numbers.
func (e *Error) Unwrap() error { return e.Errno }

// Is matches the sentinel of the error's number.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrNotExist:
		return e.Errno == abi.ENOENT
	case ErrPermission:
		return e.Errno == abi.EACCES || e.Errno == abi.EPERM
	case ErrQuota:
		return e.Errno == abi.ENOSPC || e.Errno == abi.EDQUOT || e.Errno == abi.E2BIG || e.Errno == abi.ENOMEM
	case ErrExist:
		return e.Errno == abi.EEXIST
	case ErrConflict:
		return e.Errno == abi.EAGAIN
	}
	return false
}

// serverError makes an Error of the payload of XS_ERROR.
func serverError(op, path string, payload []byte) *Error {
	name := cutNUL(payload)
	if len(name) > 32 {
		name = name[:32]
	}
	for i := range len(name) {
		if c := name[i]; c < 'A' || c > 'Z' {
			if c < '0' || c > '9' {
				name = "unprintable error"
				break
			}
		}
	}
	errno, _ := abi.ErrnoByName(name)
	if name == "EQUOTA" { // oxenstored's own
		errno = abi.EDQUOT
	}
	return &Error{Op: op, Path: path, Errno: errno, Name: name}
}
