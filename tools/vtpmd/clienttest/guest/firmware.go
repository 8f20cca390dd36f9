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
