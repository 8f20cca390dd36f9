package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"xenvtpm/tools/xenlab/pid1"
)

const tpmClass = "/sys/class/tpm/tpm0/"

// measured tells what firmware measured: PCR 0 to 9 of each bank, and the event log, which goes to the
// second serial line.
func measured() error {
	if err := tellPCRs(); err != nil {
		return err
	}
	if err := pid1.MountOne(pid1.FS{Type: "securityfs", Source: "securityfs", Target: "/sys/kernel/security"}); err != nil {
		return err
	}
	log, err := os.ReadFile("/sys/kernel/security/tpm0/binary_bios_measurements")
	if err != nil {
		return err
	}
	if err := writeSerial("/dev/ttyS1", "vtpmd: log="+base64.StdEncoding.EncodeToString(log)+"\n"); err != nil {
		return err
	}
	fmt.Printf("vtpmd: event log of %d octets\n", len(log))
	return nil
}

// tellPCRs prints PCR 0 to 9 of each bank that the kernel found.
func tellPCRs() error {
	banks, err := filepath.Glob(tpmClass + "pcr-*")
	if err != nil || len(banks) == 0 {
		return fmt.Errorf("banks %v, %w", banks, err)
	}
	for _, bank := range banks {
		alg := strings.TrimPrefix(filepath.Base(bank), "pcr-")
		for n := range 10 {
			v, err := os.ReadFile(fmt.Sprintf("%s/%d", bank, n))
			if err != nil {
				return err
			}
			fmt.Printf("vtpmd: pcr %s %d %s\n", alg, n, strings.ToLower(strings.TrimSpace(string(v))))
		}
	}
	return nil
}

func writeSerial(dev, text string) error {
	f, err := os.OpenFile(dev, os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// sleep suspends the machine to memory, between two looks at its PCRs. PCR 8 is extended before: a
// Resume keeps it, a Restart does not.
func sleep() error {
	const extend8 = "8002000000410000018200000008" + "00000009400000090000000000" + "00000001000b" +
		"0101010101010101010101010101010101010101010101010101010101010101"
	if _, err := send("/dev/tpm0", extend8); err != nil {
		return err
	}
	if err := tellPCRs(); err != nil {
		return err
	}
	fmt.Println("vtpmd: going to sleep")
	time.Sleep(300 * time.Millisecond) // the serial console is slow
	if err := os.WriteFile("/sys/power/state", []byte("mem"), 0); err != nil {
		return err
	}
	fmt.Println("vtpmd: awake")
	if err := tellPCRs(); err != nil {
		return err
	}
	if err := manage(); err != nil {
		return err
	}
	fmt.Println("vtpmd: slept well")
	select {} // the machine is switched off from outside
}

// presence asks firmware by the physical presence interface for a TPM2_Clear, restarts the machine, and
// tells what firmware answered. An NV index of the owner's shows whether the TPM was cleared.
func presence() error {
	const (
		define = "80020000002d0000012a40000001" + "00000009400000090000000000" + "0000" + "000e" + "01500001" + "000b" + "00020002" + "0000" + "0008"
		look   = "80010000000e00000169" + "01500001" // TPM2_NV_ReadPublic
	)
	response, err := os.ReadFile(tpmClass + "ppi/response")
	if err != nil {
		return err
	}
	fmt.Printf("vtpmd: ppi response %s\n", strings.TrimSpace(string(response)))
	if !strings.Contains(string(response), "No Recent Request") {
		_, err := send("/dev/tpm0", look)
		fmt.Printf("vtpmd: the index is there: %v\n", err == nil)
		return nil
	}
	if _, err := send("/dev/tpm0", define); err != nil {
		return err
	}
	if err := os.WriteFile(tpmClass+"ppi/request", []byte("5"), 0); err != nil {
		possible, _ := os.ReadFile(tpmClass + "ppi/tcg_operations") // for the message
		return fmt.Errorf("%w; the firmware's operations are\n%s", err, possible)
	}
	fmt.Println("vtpmd: asked for a clear")
	time.Sleep(300 * time.Millisecond) // the serial console is slow
	return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}
