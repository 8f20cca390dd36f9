// Command guest is process 1 of the machines in which clienttest boots Linux
// with a TPM. It tells what it sees in lines that start with "vtpmd:", then
// switches the machine off.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"xenvtpm/tools/xenlab/pid1"
)

func main() {
	err := pid1.Mount()
	if err == nil {
		err = pid1.LoadModules()
	}
	if err == nil {
		err = work()
	}
	if err != nil {
		fmt.Println("vtpmd: error", err)
	} else {
		fmt.Println("vtpmd: done")
	}
	time.Sleep(300 * time.Millisecond) // the serial console is slow
	fmt.Println(unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
}

func work() error {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	if strings.Contains(string(cmdline), "vtpmd.proxy") {
		return proxy()
	}
	if err := look("/dev/tpm0"); err != nil {
		return err
	}
	return manage()
}

// look tells what the kernel and a raw command say about a device.
func look(dev string) error {
	name := strings.TrimPrefix(dev, "/dev/")
	for _, f := range []string{"tpm_version_major", "pcr-sha256/0", "pcr-sha256/16"} {
		b, err := os.ReadFile("/sys/class/tpm/" + name + "/" + f)
		if err != nil {
			return err
		}
		fmt.Printf("vtpmd: %s=%s\n", f, strings.TrimSpace(string(b)))
	}
	rsp, err := send(dev, "80010000000c0000017b0010")
	if err == nil {
		fmt.Printf("vtpmd: random=%d\n", len(rsp))
	}
	return err
}

// manage makes keys through the kernel's resource manager, three in each of
// four open files, which is the most that one can have, and more than fit into the TPM.
func manage() error {
	// CreatePrimary in the null hierarchy: ECC P-256, restricted decrypt, AES-128-CFB.
	const create = "80020000004300000131" + "40000007" + "00000009400000090000000000" + "000400000000" +
		"001a0023000b000300720000000600800043001000030010" + "00000000" + "0000" + "00000000"
	for range 4 {
		fd, err := unix.Open("/dev/tpmrm0", unix.O_RDWR, 0)
		if err != nil {
			return err
		}
		for range 3 {
			rsp, err := on(fd, create)
			if err != nil {
				return err
			}
			fmt.Printf("vtpmd: key=%x\n", rsp[10:14])
		}
		// The file stays open: its keys stay the kernel's to keep.
	}
	return nil
}

func send(dev, cmd string) ([]byte, error) {
	fd, err := unix.Open(dev, unix.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	rsp, err := on(fd, cmd)
	return rsp, errors.Join(err, unix.Close(fd))
}

// on runs a command on a blocking descriptor. (os.File would make it a non-blocking
// one, for which the driver works differently.)
func on(fd int, cmd string) ([]byte, error) {
	b, err := hex.DecodeString(cmd)
	if err != nil {
		return nil, err
	}
	if _, err := unix.Write(fd, b); err != nil {
		return nil, fmt.Errorf("write %s: %w", cmd, err)
	}
	rsp := make([]byte, 4096)
	n, err := unix.Read(fd, rsp)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if n < 10 || binary.BigEndian.Uint32(rsp[6:]) != 0 {
		return nil, fmt.Errorf("command %s: response %x", cmd, rsp[:n])
	}
	return rsp[:n], nil
}

// proxy serves /dev/vtpmx twice on the same state.
func proxy() error {
	for range 2 {
		if err := serveOnce(); err != nil {
			return err
		}
	}
	return nil
}

func serveOnce() error {
	if err := os.MkdirAll("/tmp/state", 0o700); err != nil {
		return err
	}
	cmd := exec.Command("/bin/vtpmd", "proxy", "--tpm2", "--tpmstate", "dir=/tmp/state")
	cmd.Stderr = os.Stdout
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	var made struct{ Device string }
	if err == nil {
		err = json.Unmarshal([]byte(line), &made)
	}
	if err == nil {
		fmt.Println("vtpmd: device", made.Device)
		err = wait(made.Device)
	}
	if err == nil {
		err = look(made.Device)
	}
	return errors.Join(err, cmd.Process.Signal(unix.SIGTERM), cmd.Wait())
}

// wait waits until the kernel has finished with a device's first commands.
func wait(dev string) error {
	name := strings.TrimPrefix(dev, "/dev/")
	for range 300 {
		if _, err := os.Stat("/sys/class/tpm/" + name + "/pcr-sha256/0"); err == nil {
			if _, err := os.Stat(dev); err == nil {
				return nil
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("%s did not appear", dev)
}
