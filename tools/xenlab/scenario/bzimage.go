package scenario

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Fields of the Linux/x86 boot protocol, which puts a header into each bzImage.
const (
	setupSects    = 0x1f1
	headerMagic   = 0x202
	payloadOffset = 0x248 // from the end of the setup sectors
	payloadLength = 0x24c
)

// payload returns the compressed kernel inside a bzImage.
func payload(image []byte) ([]byte, error) {
	if len(image) < 0x250 || string(image[headerMagic:headerMagic+4]) != "HdrS" {
		return nil, errors.New("not a bzImage: it has no boot protocol header")
	}
	sects := uint64(image[setupSects])
	if sects == 0 {
		sects = 4
	}
	start := (sects+1)*512 + uint64(binary.LittleEndian.Uint32(image[payloadOffset:]))
	end := start + uint64(binary.LittleEndian.Uint32(image[payloadLength:]))
	if end > uint64(len(image)) || end-start < 10 {
		return nil, fmt.Errorf("its payload at %d to %d is outside of its %d bytes", start, end, len(image))
	}
	return image[start:end], nil
}

// unpackers are the programs for the kernel's compression formats, by magic number. The kernel
// appends the unpacked size, which they would complain about, so it is cut off.
var unpackers = []struct{ magic, program string }{
	{"\xfd7zXZ\x00", "xz"}, {"\x28\xb5\x2f\xfd", "zstd"}, {"\x1f\x8b", "gzip"},
}

// guestKernel unpacks the distribution's kernel once on the host, because libxl
// would do it at each start of a guest, at the speed of the emulation.
func (w *Workshop) guestKernel(ctx context.Context) error {
	name, ok := w.made("vmlinux")
	w.GuestKernel = name
	if ok {
		return nil
	}
	image, err := os.ReadFile(w.Kernel)
	if err != nil {
		return fmt.Errorf("xenlab: %w", err)
	}
	packed, err := payload(image)
	if err != nil {
		return fmt.Errorf("xenlab: %s: %w", w.Kernel, err)
	}
	for _, u := range unpackers {
		if bytes.HasPrefix(packed, []byte(u.magic)) {
			return unpack(ctx, name, u.program, packed[:len(packed)-4])
		}
	}
	w.Logf("%s has an unknown compression: guests unpack it themselves", filepath.Base(w.Kernel))
	w.GuestKernel = w.Kernel
	return nil
}

func unpack(ctx context.Context, name, program string, packed []byte) error {
	cmd := exec.CommandContext(ctx, program, "-dc")
	cmd.Stdin = bytes.NewReader(packed)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || !bytes.HasPrefix(out, []byte("\x7fELF")) {
		return fmt.Errorf("xenlab: unpacking the kernel with %s: %w %s", program, err, stderr.Bytes())
	}
	if err := os.WriteFile(name+".tmp", out, 0o644); err != nil {
		return fmt.Errorf("xenlab: %w", err)
	}
	return os.Rename(name+".tmp", name)
}
