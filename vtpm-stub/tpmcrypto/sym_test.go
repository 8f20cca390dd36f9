package tpmcrypto

import (
	"bytes"
	"crypto/cipher"
	"math/rand"
	"testing"
)

var streamModes = []Alg{AlgCTR, AlgOFB, AlgCFB}
var blockModes = []Alg{AlgCBC, AlgECB}

func testBlock(t testing.TB, a Alg, bits int) cipher.Block {
	t.Helper()
	b, err := NewBlock(a, fill(0x42, bits/8))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Data encrypted in pieces of whole blocks, each with the IV that the piece
// before left, is the same as data encrypted at once: that is what ivOut is
// for.
func TestChaining(t *testing.T) {
	rnd := rand.New(rand.NewSource(7))
	for _, alg := range []Alg{AlgAES, AlgCamellia} {
		for _, bits := range []int{128, 192, 256} {
			b := testBlock(t, alg, bits)
			for _, mode := range append(streamModes, blockModes...) {
				plain, iv := make([]byte, 160), make([]byte, 16)
				rnd.Read(plain)
				rnd.Read(iv)
				iv[15] = 0xfb // carries in CTR
				if mode == AlgECB {
					iv = nil
				}
				whole, wholeIV := bytes.Clone(plain), bytes.Clone(iv)
				if err := Encrypt(b, mode, wholeIV, whole); err != nil {
					t.Fatal(err)
				}
				parts, partIV := bytes.Clone(plain), bytes.Clone(iv)
				for _, cut := range [][2]int{{0, 16}, {16, 16}, {16, 112}, {112, 160}} {
					if err := Encrypt(b, mode, partIV, parts[cut[0]:cut[1]]); err != nil {
						t.Fatal(err)
					}
				}
				if !bytes.Equal(whole, parts) || !bytes.Equal(wholeIV, partIV) {
					t.Errorf("%#x %d mode %#x: pieces differ", alg, bits, mode)
				}
				back, backIV := bytes.Clone(whole), bytes.Clone(iv)
				if err := Decrypt(b, mode, backIV, back[:48]); err != nil {
					t.Fatal(err)
				}
				if err := Decrypt(b, mode, backIV, back[48:]); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(back, plain) || !bytes.Equal(backIV, wholeIV) {
					t.Errorf("%#x %d mode %#x: decryption", alg, bits, mode)
				}
			}
		}
	}
}

// Partial blocks: stream modes take them, and agree with a longer message.
func TestPartialBlocks(t *testing.T) {
	b := testBlock(t, AlgAES, 128)
	for _, mode := range streamModes {
		long := make([]byte, 64)
		if err := Encrypt(b, mode, make([]byte, 16), long); err != nil {
			t.Fatal(err)
		}
		for n := range 64 {
			short, iv := make([]byte, n), make([]byte, 16)
			if err := Encrypt(b, mode, iv, short); err != nil || !bytes.Equal(short, long[:n]) {
				t.Fatalf("mode %#x, %d bytes: %v", mode, n, err)
			}
			if err := Decrypt(b, mode, make([]byte, 16), short); err != nil || !bytes.Equal(short, make([]byte, n)) {
				t.Fatalf("mode %#x, %d bytes: decryption %v", mode, n, err)
			}
			if mode == AlgCTR && int(iv[15]) != (n+15)/16 {
				t.Fatalf("CTR of %d bytes leaves counter %d", n, iv[15])
			}
		}
	}
}

// The counter is the whole IV, without end.
func TestCTRWraps(t *testing.T) {
	b := testBlock(t, AlgAES, 128)
	iv := fill(0xff, 16)
	if err := Encrypt(b, AlgCTR, iv, make([]byte, 40)); err != nil {
		t.Fatal(err)
	}
	if want := append(make([]byte, 15), 2); !bytes.Equal(iv, want) {
		t.Fatalf("%x", iv)
	}
}

func TestSymRefusals(t *testing.T) {
	b := testBlock(t, AlgAES, 128)
	for _, mode := range append(streamModes, AlgCBC) {
		for _, n := range []int{0, 15, 17} {
			if err := Encrypt(b, mode, make([]byte, n), make([]byte, 16)); err != ErrIV {
				t.Errorf("mode %#x, IV of %d: %v", mode, n, err)
			}
		}
	}
	if err := Encrypt(b, AlgECB, make([]byte, 16), make([]byte, 16)); err != ErrIV {
		t.Error("ECB with an IV:", err)
	}
	for _, n := range []int{1, 15, 17} {
		if err := Decrypt(b, AlgECB, nil, make([]byte, n)); err != ErrSize {
			t.Errorf("ECB of %d: %v", n, err)
		}
		if err := Decrypt(b, AlgCBC, make([]byte, 16), make([]byte, n)); err != ErrSize {
			t.Errorf("CBC of %d: %v", n, err)
		}
	}
	if err := Encrypt(b, AlgNull, make([]byte, 16), nil); err != ErrMode {
		t.Error("no mode:", err)
	}
	for _, n := range []int{0, 15, 17, 33, 64} {
		if _, err := NewBlock(AlgAES, make([]byte, n)); err != ErrKeySize {
			t.Errorf("key of %d: %v", n, err)
		}
	}
	if _, err := NewBlock(AlgSHA1, make([]byte, 16)); err != ErrMode {
		t.Error("no cipher:", err)
	}
}

func TestWeakKey(t *testing.T) {
	for _, n := range []int{16, 24, 32} {
		k := make([]byte, n)
		k[n/2] = 1
		if !WeakKey(AlgAES, k) {
			t.Error("upper half zero is weak")
		}
		k[n/2-1] = 1
		if WeakKey(AlgAES, k) {
			t.Error("upper half not zero is not weak")
		}
	}
}

// TestTDES: two keys are three of which the third is the first; parity and weak keys.
func TestTDES(t *testing.T) {
	two := unhex(t, "0123456789abcdef23456789abcdef01")
	a, err := NewBlock(AlgTDES, two)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewBlock(AlgTDES, append(bytes.Clone(two), two[:8]...))
	if err != nil {
		t.Fatal(err)
	}
	x, y := fill(7, 16), fill(7, 16)
	if Encrypt(a, AlgCBC, make([]byte, 8), x) != nil || Encrypt(b, AlgCBC, make([]byte, 8), y) != nil || !bytes.Equal(x, y) {
		t.Errorf("two keys: %x, three: %x", x, y)
	}
	for _, n := range []int{0, 8, 15, 32} {
		if _, err := NewBlock(AlgTDES, make([]byte, n)); err != ErrKeySize {
			t.Errorf("key of %d: %v", n, err)
		}
	}
	k := unhex(t, "0001027f80fe00ff")
	SetParity(AlgTDES, k)
	if want := unhex(t, "0101027f80fe01fe"); !bytes.Equal(k, want) {
		t.Errorf("parity: %x, want %x", k, want)
	}
	SetParity(AlgAES, x)
	if !bytes.Equal(x, y) {
		t.Error("an AES key got parity")
	}
	for k, weak := range map[string]bool{
		"0123456789abcdef23456789abcdef01": false, "0123456789abcdef0123456789abcdef": true,
		"0101010101010101" + "23456789abcdef01": true, "23456789abcdef01" + "fee0fee0fef1fef1": true,
		"0123456789abcdef23456789abcdef01456789abcdef0123": false, "0123456789abcdef23456789abcdef0123456789abcdef01": true,
	} {
		if WeakKey(AlgTDES, unhex(t, k)) != weak {
			t.Errorf("%s: weak is %v", k, !weak)
		}
	}
}

// TestCMACOfTDES: SP 800-38B, examples of three-key TDES, with the message in two pieces.
func TestCMACOfTDES(t *testing.T) {
	b, err := NewBlock(AlgTDES, unhex(t, "8aa83bf8cbda10620bc1bf19fbb6cd58bc313d4a371ca8b5"))
	if err != nil {
		t.Fatal(err)
	}
	message := unhex(t, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
	for n, want := range map[int]string{0: "b7a688e122ffaf95", 8: "8e8f293136283797", 20: "743ddbe0ce2dc2ed", 32: "33e6b1092400eae5"} {
		c, err := NewCMAC(b)
		if err != nil {
			t.Fatal(err)
		}
		c.Write(message[:n/2])
		if c, err = RestoreCMAC(b, c.State()); err != nil {
			t.Fatal(err)
		}
		c.Write(message[n/2 : n])
		if got := c.Sum(nil); !bytes.Equal(got, unhex(t, want)) {
			t.Errorf("%d octets: %x, want %s", n, got, want)
		}
	}
	state := make([]byte, 33)
	state[32] = 9
	if _, err := RestoreCMAC(b, state); err != ErrSize {
		t.Errorf("nine octets of a block of eight: %v", err)
	}
}

func FuzzSymmetric(f *testing.F) {
	for _, mode := range append(streamModes, blockModes...) {
		f.Add(uint16(AlgAES), uint16(mode), fill(1, 16), fill(2, 16), fill(3, 48))
		f.Add(uint16(AlgCamellia), uint16(mode), fill(1, 32), fill(2, 16), fill(3, 17))
	}
	f.Fuzz(func(t *testing.T, alg, mode uint16, key, iv, data []byte) {
		b, err := NewBlock(Alg(alg), key)
		if err != nil {
			return
		}
		x, xiv := bytes.Clone(data), bytes.Clone(iv)
		if Encrypt(b, Alg(mode), xiv, x) != nil {
			return
		}
		yiv := bytes.Clone(iv)
		if err := Decrypt(b, Alg(mode), yiv, x); err != nil || !bytes.Equal(x, data) || !bytes.Equal(xiv, yiv) {
			t.Fatalf("%x is not restored: %v", data, err)
		}
	})
}

func BenchmarkCamellia1K(b *testing.B) {
	c := testBlock(b, AlgCamellia, 128)
	data, iv := make([]byte, 1024), make([]byte, 16)
	b.SetBytes(1024)
	for b.Loop() {
		if err := Encrypt(c, AlgCFB, iv, data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAESCFB1K(b *testing.B) {
	c := testBlock(b, AlgAES, 128)
	data, iv := make([]byte, 1024), make([]byte, 16)
	b.SetBytes(1024)
	for b.Loop() {
		if err := Encrypt(c, AlgCFB, iv, data); err != nil {
			b.Fatal(err)
		}
	}
}
