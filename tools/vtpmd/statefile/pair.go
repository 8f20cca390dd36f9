package statefile

import (
	"errors"
	"io/fs"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pair replaces a file quickly for NoFsync: the new content is written over a second
// file that is kept open, and then the two files exchange their names. A process that
// is killed leaves one of them whole under the name, as a rename does. No file is
// made and none deleted, which is what a rename costs on a journaling file system.
//
// A power cut is another matter: blocks that are written over in place reach the disk
// in any order, and both files may be torn. So a copy of its own, made by the file
// system's replacing rename, follows at most safeEvery later; see Dir.Load.
type pair struct {
	name, spare string
	// fd are the open files: fd[0] has the name, fd[1] the spare's; -1 when not open.
	fd   [2]int
	size [2]int
	safe time.Time // of the last safe copy
}

// safeEvery is how often a safe copy is written.
const safeEvery = time.Second

func newPair(name, spare string) *pair { return &pair{name: name, spare: spare, fd: [2]int{-1, -1}} }

// errNoPair says that there is no pair yet, errNoExchange that the file system cannot
// exchange names. A rename does it then.
var (
	errNoPair     = errors.New("no pair of files")
	errNoExchange = errors.New("names cannot be exchanged")
)

// replace writes data under the name, which must exist.
func (p *pair) replace(data []byte, mode uint32) error {
	for i, name := range []string{p.name, p.spare} {
		if p.fd[i] >= 0 {
			continue
		}
		flags := syscall.O_WRONLY | syscall.O_CLOEXEC | syscall.O_NOFOLLOW
		if i == 1 {
			flags |= syscall.O_CREAT
		}
		fd, err := ignoreEINTR(func() (int, error) { return syscall.Open(name, flags, mode) })
		if i == 0 && errors.Is(err, syscall.ENOENT) {
			return errNoPair
		}
		if err != nil {
			return &fs.PathError{Op: "open", Path: name, Err: err}
		}
		p.fd[i], p.size[i] = fd, -1 // of unknown size
	}
	if err := p.write(data); err != nil {
		return &fs.PathError{Op: "write", Path: p.spare, Err: err}
	}
	err := unix.Renameat2(unix.AT_FDCWD, p.spare, unix.AT_FDCWD, p.name, unix.RENAME_EXCHANGE)
	if errors.Is(err, syscall.ENOENT) {
		return errNoPair // somebody removed one of them
	}
	if err != nil {
		return errNoExchange
	}
	p.fd[0], p.fd[1] = p.fd[1], p.fd[0]
	p.size[0], p.size[1] = p.size[1], p.size[0]
	// Somebody may have put another file under one of the names.
	var named, ours syscall.Stat_t
	if syscall.Lstat(p.name, &named) != nil || syscall.Fstat(p.fd[0], &ours) != nil || named.Ino != ours.Ino || named.Dev != ours.Dev {
		return errNoPair
	}
	return nil
}

// write replaces the content of the spare file.
func (p *pair) write(data []byte) error {
	for done := 0; done < len(data); {
		n, err := ignoreEINTR(func() (int, error) { return syscall.Pwrite(p.fd[1], data[done:], int64(done)) })
		if err != nil {
			return err
		}
		done += n
	}
	if p.size[1] != len(data) {
		if _, err := ignoreEINTR(func() (int, error) { return 0, syscall.Ftruncate(p.fd[1], int64(len(data))) }); err != nil {
			return err
		}
		p.size[1] = len(data)
	}
	return nil
}

// close brings the named file to the disk and closes both.
func (p *pair) close() (err error) {
	if p.fd[0] >= 0 {
		_, err = ignoreEINTR(func() (int, error) { return 0, syscall.Fdatasync(p.fd[0]) })
	}
	for i, fd := range p.fd {
		if fd >= 0 {
			err = errors.Join(err, syscall.Close(fd))
		}
		p.fd[i] = -1
	}
	return err
}
