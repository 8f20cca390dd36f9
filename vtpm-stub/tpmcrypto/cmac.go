package tpmcrypto

import (
	"crypto/cipher"
	"crypto/subtle"
)

// CMAC is a running CMAC (NIST SP 800-38B) over a block cipher with blocks of 8
// or 16 bytes.
type CMAC struct {
	b   cipher.Block
	bs  int
	x   [16]byte // chaining value, of bs bytes
	buf [16]byte // last block, not yet processed
	n   int      // bytes in buf
}

// NewCMAC starts a CMAC. A cipher with another block size gives ErrMode.
func NewCMAC(b cipher.Block) (*CMAC, error) {
	if bs := b.BlockSize(); bs == 8 || bs == 16 {
		return &CMAC{b: b, bs: bs}, nil
	}
	return nil, ErrMode
}

// Write adds data. It never fails.
func (c *CMAC) Write(p []byte) (int, error) {
	total := len(p)
	x, buf := c.x[:c.bs], c.buf[:c.bs]
	for len(p) > 0 {
		// The last block is held back, as it is processed differently.
		if c.n == c.bs {
			subtle.XORBytes(x, x, buf)
			c.b.Encrypt(x, x)
			c.n = 0
		}
		m := copy(buf[c.n:], p)
		c.n += m
		p = p[m:]
	}
	return total, nil
}

// Sum appends the MAC of all data so far and leaves the state as it is.
func (c *CMAC) Sum(dst []byte) []byte {
	var kBuf, lastBuf [16]byte
	k, last := kBuf[:c.bs], lastBuf[:c.bs]
	c.b.Encrypt(k, k)
	double(k)
	copy(last, c.buf[:c.n])
	if c.n < c.bs {
		last[c.n] = 0x80
		double(k)
	}
	subtle.XORBytes(last, last, k)
	subtle.XORBytes(last, last, c.x[:c.bs])
	c.b.Encrypt(last, last)
	return append(dst, last...)
}

// State returns what a saved sequence needs beside the key: chaining value,
// held back bytes and their count, 33 bytes.
func (c *CMAC) State() []byte {
	return append(append(append([]byte(nil), c.x[:]...), c.buf[:]...), byte(c.n))
}

// RestoreCMAC continues from what State gave.
func RestoreCMAC(b cipher.Block, state []byte) (*CMAC, error) {
	c, err := NewCMAC(b)
	if err != nil {
		return nil, err
	}
	if len(state) != 33 || int(state[32]) > c.bs {
		return nil, ErrSize
	}
	copy(c.x[:], state)
	copy(c.buf[:], state[16:])
	c.n = int(state[32])
	return c, nil
}

// double multiplies by x in GF(2^128) or GF(2^64) with the polynomial of 38B, without a
// branch on the value.
func double(k []byte) {
	carry, poly := byte(0), byte(0x87)
	if len(k) == 8 {
		poly = 0x1B
	}
	for i := len(k) - 1; i >= 0; i-- {
		next := k[i] >> 7
		k[i] = k[i]<<1 | carry
		carry = next
	}
	k[len(k)-1] ^= poly & -carry
}
