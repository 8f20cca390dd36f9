package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// large certifies ever more of an NV index with ML-DSA-65, whose signature has 3,309 octets, until the
// TPM says that the answer does not fit. The largest answer went through the kernel and QEMU whole.
func large() error {
	fd, err := unix.Open("/dev/tpm0", unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	const (
		password = "00000009" + "400000090000000000"
		twice    = "00000012" + "400000090000000000" + "400000090000000000"
		index    = "01500002"
		define   = "80020000002d0000012a40000001" + password + "0000" + "000e" + index + "000b" + "00040004" + "0000" + "0400" // AUTHWRITE, AUTHREAD; 1,024 octets
		create   = "80020000003b00000131" + "40000007" + password + "000400000000" + "000f00a1000b000400720000" + "0002" + "00" + "0000" + "0000" + "00000000"
	)
	if _, err := on(fd, define); err != nil {
		return err
	}
	write := hex.EncodeToString(bytes.Repeat([]byte{7}, 1024))
	if _, err := on(fd, frame("80020000000000000137"+index+index+password+"0400"+write+"0000")); err != nil {
		return err
	}
	rsp, err := on(fd, frame(create))
	if err != nil {
		return err
	}
	key := hex.EncodeToString(rsp[10:14])
	largest := 0
	for n := 1; n <= 1024; n++ {
		rsp, err := raw(fd, frame("80020000000000000184"+key+index+index+twice+"0000"+"0010"+fmt.Sprintf("%04x", n)+"0000"))
		if err != nil {
			return err
		}
		if code := binary.BigEndian.Uint32(rsp[6:]); code != 0 {
			fmt.Printf("vtpmd: largest answer %d, then code 0x%x\n", largest, code)
			return errors.Join(alive(fd), unix.Close(fd))
		}
		largest = len(rsp)
	}
	return errors.New("every size fits")
}

func alive(fd int) error {
	_, err := on(fd, "80010000000c0000017b0010")
	return err
}

// frame sets the size of a command.
func frame(cmd string) string {
	return cmd[:4] + fmt.Sprintf("%08x", len(cmd)/2) + cmd[12:]
}
