package dom0

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Block is the lab's /etc/xen/scripts/block. libxl calls it for a disk that is
// backed by a file; it does with two ioctls what the distribution's script
// does with a shell and losetup.
func Block(action, path string) error {
	switch action {
	case "add":
		return blockAdd(path)
	case "remove":
		return blockRemove(path)
	}
	return fmt.Errorf("block: unknown action %q", action)
}

func blockAdd(path string) error {
	file, err := xsRead(path + "/params")
	if err != nil {
		return err
	}
	dev, err := attachLoop(file)
	if err != nil {
		werr := xsWrite(path+"/hotplug-error", err.Error(), path+"/hotplug-status", "error")
		return errors.Join(err, werr)
	}
	var st unix.Stat_t
	if err := unix.Stat(dev, &st); err != nil {
		return fmt.Errorf("block: %s: %w", dev, err)
	}
	return xsWrite(path+"/physical-device", fmt.Sprintf("%x:%x", unix.Major(st.Rdev), unix.Minor(st.Rdev)),
		path+"/physical-device-path", dev, path+"/hotplug-status", "connected")
}

func blockRemove(path string) error {
	dev, err := xsRead(path + "/physical-device-path")
	if err != nil {
		return nil // it was never added
	}
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("block: %w", err)
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0); err != nil {
		return fmt.Errorf("block: detaching %s: %w", dev, err)
	}
	return nil
}

// attachLoop binds a file to a free loop device. The loop device keeps the file's page cache
// between the guest and the disk, so that a guest's write is durable only after its flush.
func attachLoop(file string) (string, error) {
	backing, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("block: %w", err)
	}
	defer backing.Close()
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("block: %w", err)
	}
	defer ctl.Close()
	for range 20 {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", fmt.Errorf("block: no free loop device: %w", err)
		}
		dev := fmt.Sprintf("/dev/loop%d", n)
		err = configureLoop(dev, file, backing)
		if err == nil {
			return dev, nil
		}
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		time.Sleep(20 * time.Millisecond) // another script took it, or its node is still to come
	}
	return "", fmt.Errorf("block: no loop device could be had for %s", file)
}

func configureLoop(dev, file string, backing *os.File) error {
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	conf := &unix.LoopConfig{Fd: uint32(backing.Fd())}
	copy(conf.Info.File_name[:len(conf.Info.File_name)-1], file)
	if err := unix.IoctlLoopConfigure(int(f.Fd()), conf); err != nil {
		return fmt.Errorf("block: attaching %s to %s: %w", file, dev, err)
	}
	return nil
}
