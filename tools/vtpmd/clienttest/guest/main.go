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
	"slices"
	"strconv"
	"strings"
	"syscall"
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
	for word, do := range map[string]func() error{"vtpmd.proxy": proxy, "vtpmd.migrate": migrate, "vtpmd.measured": measured,
		"vtpmd.sleep": sleep, "vtpmd.presence": presence, "vtpmd.large": large} {
		if slices.Contains(strings.Fields(string(cmdline)), word) {
			return do()
		}
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
	rsp, err := raw(fd, cmd)
	if err == nil && binary.BigEndian.Uint32(rsp[6:]) != 0 {
		err = fmt.Errorf("command %s: response %x", cmd, rsp)
	}
	return rsp, err
}

// raw is on, whatever the response code.
func raw(fd int, cmd string) ([]byte, error) {
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
	if n < 10 {
		return nil, fmt.Errorf("command %s: response %x", cmd, rsp[:n])
	}
	return rsp[:n], nil
}

// proxy serves /dev/vtpmx three times on the same state: in the foreground, as
// a daemon, and as swtpm spells it.
func proxy() error {
	if err := os.MkdirAll("/tmp/state", 0o700); err != nil {
		return err
	}
	// The one user that --runas can name here.
	if err := os.MkdirAll("/etc", 0o755); err != nil {
		return err
	}
	if err := os.WriteFile("/etc/passwd", []byte("tss:x:107:107::/:/bin/false\n"), 0o644); err != nil {
		return err
	}
	if err := os.Chown("/tmp/state", 107, 107); err != nil {
		return err
	}
	return errors.Join(foreground(), daemon("proxy"), daemon("chardev", "--vtpm-proxy", "--ctrl", "type=unixio,path=/tmp/state/ctrl"))
}

// common are the arguments of each.
var common = []string{"--tpm2", "--tpmstate", "dir=/tmp/state", "--runas", "tss"}

func foreground() error {
	cmd := exec.Command("/bin/vtpmd", append([]string{"proxy"}, common...)...)
	cmd.Stderr = os.Stdout
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		err = use(line)
	}
	return errors.Join(err, cmd.Process.Signal(unix.SIGTERM), cmd.Wait())
}

// daemon starts one with --daemon, whose parent says which device there is, and ends.
func daemon(args ...string) error {
	const pidFile = "/tmp/state/pid"
	cmd := exec.Command("/bin/vtpmd", slices.Concat(args, common, []string{"--daemon", "--pid", "file=" + pidFile})...)
	cmd.Stderr = os.Stdout
	line, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s --daemon: %w", args[0], err)
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	st, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return err
	}
	if uid := st.Sys().(*syscall.Stat_t).Uid; uid != 107 {
		return fmt.Errorf("the daemon runs as %d", uid)
	}
	if err := errors.Join(use(string(line)), unix.Kill(pid, unix.SIGTERM)); err != nil {
		return err
	}
	// Process 1 is the parent of daemons.
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil || status != 0 {
		return fmt.Errorf("the daemon's end: status %x, %v", status, err)
	}
	if _, err := os.Stat(pidFile); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the daemon left its file: %v", err)
	}
	return nil
}

// use tries the device that a line of vtpmd tells of.
func use(line string) error {
	var made struct{ Device string }
	if rest, ok := strings.CutPrefix(line, "New TPM device: "); ok {
		made.Device, rest, _ = strings.Cut(rest, " ")
		if !strings.HasPrefix(rest, "(major/minor = ") {
			return fmt.Errorf("vtpmd said %q", line)
		}
	} else if err := json.Unmarshal([]byte(line), &made); err != nil {
		return fmt.Errorf("vtpmd said %q: %w", line, err)
	}
	fmt.Println("vtpmd: device", made.Device)
	if err := wait(made.Device); err != nil {
		return err
	}
	return look(made.Device)
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
