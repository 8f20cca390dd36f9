//go:build tamago

// Tis talks to the hardware TPM: GetRandom and GetCapability through the FIFO
// registers. The domain needs iomem=["fed40,5"]. It uses locality 0, which
// firmware leaves active, unless the option locality says otherwise.
package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"xenvtpm/board/xenpvh"
	"xenvtpm/board/xenpvh/selftest"
	"xenvtpm/drivers/tis"
)

func main() { selftest.Run("tis", test) }

func test(p *xenpvh.Platform) error {
	regs := p.TPMRegisters()
	fmt.Printf("ACCESS %#02x, DID_VID %#08x\n", regs.Read8(0), regs.Read32(0xF00))
	locality := uint64(0)
	if s, ok := p.Option("locality"); ok {
		var err error
		if locality, err = strconv.ParseUint(s, 10, 8); err != nil {
			return err
		}
	}
	dev, err := tis.New(regs, tis.Config{
		Locality: uint8(locality),
		Now:      p.Channels.Now,
		Sleep:    func(d time.Duration) { p.Channels.Wait(p.Channels.Now() + int64(d)) },
		Logf:     xenpvh.Logf,
	})
	if err != nil {
		return err
	}
	fmt.Printf("TPM %#08x, %v\n", dev.ID(), dev.Family())
	return errors.Join(random(dev), manufacturer(dev), dev.Close())
}

// Commands of TPM 2.0 Part 3: GetRandom (16.1) of 16 bytes, and GetCapability
// (30.2) of TPM_PT_MANUFACTURER.
var (
	getRandom     = []byte{0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7B, 0, 16}
	getCapability = []byte{0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7A, 0, 0, 0, 6, 0, 0, 1, 5, 0, 0, 0, 1}
)

// send runs a command that must succeed and returns what follows the header.
func send(dev *tis.Device, cmd []byte) ([]byte, error) {
	rsp, err := dev.Send(cmd)
	if err != nil {
		return nil, err
	}
	if len(rsp) < 10 || !bytes.Equal(rsp[6:10], []byte{0, 0, 0, 0}) {
		return nil, fmt.Errorf("the TPM answers %x to %x", rsp, cmd)
	}
	return rsp[10:], nil
}

func random(dev *tis.Device) error {
	a, err := send(dev, getRandom)
	if err != nil {
		return err
	}
	b, err := send(dev, getRandom)
	if err != nil {
		return err
	}
	fmt.Println("random", hex.EncodeToString(a), hex.EncodeToString(b))
	if len(a) != 18 || len(b) != 18 || bytes.Equal(a, b) {
		return errors.New("that is not 16 random bytes twice")
	}
	return nil
}

func manufacturer(dev *tis.Device) error {
	rsp, err := send(dev, getCapability)
	if err != nil {
		return err
	}
	if len(rsp) != 17 {
		return fmt.Errorf("GetCapability answers %x", rsp)
	}
	fmt.Printf("manufacturer %q\n", rsp[13:])
	return nil
}
