package dom0

import (
	"bytes"
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
	if err = errors.Join(err, f.Sync(), f.Close(), syncFolder(DataDir)); err != nil {
		return fmt.Errorf("lab: making the disk %s: %w", name, err)
	}
	return nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// copyDisk copies an image durably. The source may be in use: the copy is what a
// backup at this moment would have.
func copyDisk(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Sync(), out.Close(), syncFolder(DataDir)); err != nil {
		return fmt.Errorf("lab: copying the disk %s: %w", from, err)
	}
	return nil
}

func syncFolder(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

const sectorSize = 512

// changed returns the sectors in which two images differ, in rising order.
func changed(a, b string) ([]int64, error) {
	x, err := os.ReadFile(a)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	return changedSectors(x, y)
}

func changedSectors(x, y []byte) ([]int64, error) {
	if len(x) != len(y) {
		return nil, fmt.Errorf("lab: images of %d and %d bytes", len(x), len(y))
	}
	var list []int64
	for i := 0; i < len(x); i += sectorSize {
		end := min(i+sectorSize, len(x))
		if !bytes.Equal(x[i:end], y[i:end]) {
			list = append(list, int64(i/sectorSize))
		}
	}
	return list, nil
}

// flip changes one byte in the middle of a sector, durably.
func flip(name string, sector int64) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	defer f.Close()
	at := sector*sectorSize + sectorSize/2
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	b[0] ^= randomByte()
	if _, err := f.WriteAt(b[:], at); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return f.Sync()
}
