//go:build tamago

// Blk reads and writes the first disk that it is given: all of it, so give it
// one that holds nothing.
package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"xenvtpm/board/xenpvh"
	"xenvtpm/board/xenpvh/selftest"
	"xenvtpm/drivers/blkfront"
)

func main() { selftest.Run("blk", test) }

const (
	sector = 512
	chunk  = 64 << 10 // more than one request holds
)

func test(p *xenpvh.Platform) error {
	disk, err := blkfront.Open(blkfront.Config{
		Store: p.Store, Channels: p.Channels, Grants: p.Grants, Logf: xenpvh.Logf,
	})
	if err != nil {
		return err
	}
	fmt.Printf("disk of %d KB\n", disk.Size()>>10)
	if disk.Size() < 2*chunk {
		return errors.New("the disk is too small for this test")
	}
	size := disk.Size() / chunk * chunk
	return errors.Join(fill(p, disk, size), check(p, disk, size), small(disk), outside(disk), flushes(p, disk), disk.Close())
}

// pattern is what the chunk at off holds: every sector names its own place.
func pattern(off int64) []byte {
	b := make([]byte, chunk)
	for at := 0; at < chunk; at += sector {
		for i := 0; i < sector; i += 8 {
			binary.LittleEndian.PutUint64(b[at+i:], uint64(off+int64(at))<<8|uint64(i/8))
		}
	}
	return b
}

func rate(what string, bytes, ns int64) {
	fmt.Printf("%s: %d KB in %d ms\n", what, bytes>>10, ns/1e6)
}

func fill(p *xenpvh.Platform, disk *blkfront.Disk, size int64) error {
	start := p.Channels.Now()
	for off := int64(0); off < size; off += chunk {
		if _, err := disk.WriteAt(pattern(off), off); err != nil {
			return err
		}
	}
	err := disk.Flush()
	rate("write and flush", size, p.Channels.Now()-start)
	return err
}

func check(p *xenpvh.Platform, disk *blkfront.Disk, size int64) error {
	start := p.Channels.Now()
	got := make([]byte, chunk)
	for off := int64(0); off < size; off += chunk {
		if _, err := disk.ReadAt(got, off); err != nil {
			return err
		}
		if !bytes.Equal(got, pattern(off)) {
			return fmt.Errorf("what was written at %d reads differently", off)
		}
	}
	rate("read", size, p.Channels.Now()-start)
	return nil
}

// small writes one sector and expects its neighbours untouched.
func small(disk *blkfront.Disk) error {
	one := bytes.Repeat([]byte{0xA5}, sector)
	if _, err := disk.WriteAt(one, 3*sector); err != nil {
		return err
	}
	got := make([]byte, chunk)
	if _, err := disk.ReadAt(got, 0); err != nil {
		return err
	}
	want := pattern(0)
	copy(want[3*sector:], one)
	if !bytes.Equal(got, want) {
		return errors.New("a write of one sector changed another")
	}
	return nil
}

func outside(disk *blkfront.Disk) error {
	b := make([]byte, sector)
	for _, off := range []int64{disk.Size(), disk.Size() - 100, -sector, 1<<62 - sector, 17} {
		if _, err := disk.ReadAt(b, off); !errors.Is(err, blkfront.ErrRange) {
			return fmt.Errorf("reading at %d gives %v", off, err)
		}
	}
	return nil
}

// flushes measures what a committed write costs.
func flushes(p *xenpvh.Platform, disk *blkfront.Disk) error {
	const n = 50
	start := p.Channels.Now()
	for i := range n {
		if _, err := disk.WriteAt(pattern(0)[:8*sector], int64(i)*8*sector); err != nil {
			return err
		}
		if err := disk.Flush(); err != nil {
			return err
		}
	}
	fmt.Printf("write of 4 KB and flush: %d us\n", (p.Channels.Now()-start)/n/1e3)
	return nil
}
