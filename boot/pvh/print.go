//go:build tamago

package pvh

import "runtime/goos"

// Printing without the runtime: usable on any stack, at any time.

// DebugOut writes a byte to Xen's own console (I/O port 0xE9).
//
// defined in entry.s
//
//go:noescape
func DebugOut(c byte)

//go:nosplit
func puts(s string) {
	for i := 0; i < len(s); i++ {
		goos.Printk(s[i])
	}
}

//go:nosplit
func putHex(v uint64) {
	puts("0x")
	shift := 60
	for shift > 0 && v>>shift == 0 {
		shift -= 4
	}
	for ; shift >= 0; shift -= 4 {
		goos.Printk("0123456789abcdef"[v>>shift&15])
	}
}

//go:nosplit
func putReg(name string, v uint64) {
	puts(" ")
	puts(name)
	puts(" ")
	for shift := 60; shift >= 0; shift -= 4 {
		goos.Printk("0123456789abcdef"[v>>shift&15])
	}
}

//go:nosplit
func putDec(n int) {
	div := 1
	for n/div >= 10 {
		div *= 10
	}
	for ; div > 0; div /= 10 {
		goos.Printk(byte('0' + n/div%10))
	}
}
