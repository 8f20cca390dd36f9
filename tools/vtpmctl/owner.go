package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// unchangeable checks that nobody but root and the caller can change a file
// between its verification and its use: by the owners and modes of the file and
// of all folders above it. What is in a sticky folder such as /tmp can be
// replaced by its owner only.
func unchangeable(name string) error {
	path, err := filepath.Abs(name)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return err
	}
	for {
		st, err := os.Lstat(path)
		if err != nil {
			return err
		}
		if err := onlyOurs(path, st); err != nil {
			return err
		}
		parent := filepath.Dir(path)
		if parent == path {
			return nil
		}
		path = parent
	}
}

func onlyOurs(path string, st fs.FileInfo) error {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: cannot tell who owns it", path)
	}
	if sys.Uid != 0 && int(sys.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, who could change it after it was verified: chown it to root", path, sys.Uid)
	}
	if st.Mode().Perm()&0o022 != 0 && st.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("%s may be written by others (mode %04o), who could change it after it was verified: chmod go-w it", path, st.Mode().Perm())
	}
	return nil
}
