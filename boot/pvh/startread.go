//go:build tamago

package pvh

// StartAddr is where Xen put hvm_start_info.
func StartAddr() uint64 { return uint64(startInfoAddr) }

// ReadStart reads guest memory at addr as it was at the entry, from the copies
// that Capture made. It reports false for memory that was not copied.
func ReadStart(b []byte, addr uint64) bool {
	le := func(off int) uint64 {
		v := uint64(0)
		for i := 7; i >= 0; i-- {
			v = v<<8 | uint64(startInfo[off+i])
		}
		return v
	}
	return readCopy(b, addr, uint64(startInfoAddr), startInfo[:]) ||
		readCopy(b, addr, le(offCmdline), cmdline[:min(cmdlineLen+1, maxCmdline)]) ||
		readCopy(b, addr, le(offMemmap), memmap[:memmapLen])
}

// readCopy reads from a copy of the memory that was at start.
func readCopy(b []byte, addr, start uint64, mem []byte) bool {
	if addr < start || addr-start > uint64(len(mem)) || uint64(len(b)) > uint64(len(mem))-(addr-start) {
		return false
	}
	copy(b, mem[addr-start:])
	return true
}
