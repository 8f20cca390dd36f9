package dom0

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// newDisk makes a raw disk image of zeros, with all its blocks allocated and
// durable, so that later writes change no file system metadata.
func newDisk(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	_, err = io.CopyN(f, zeros{}, size)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("lab: making the disk %s: %w", name, err)
	}
	return nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
