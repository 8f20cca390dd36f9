//go:build tamago

package runtime

import (
	hooks "runtime/goos"
	"unsafe"
)

// tamagoInitBloc puts the heap between the end of the image (or Bloc, where
// the board set it) and the stack that cpuinit made, or the end of RAM where
// that stack is elsewhere.
func tamagoInitBloc() {
	bloc = firstmoduledata.end
	if hooks.Bloc != 0 {
		bloc = hooks.Bloc
	}
	bloc = memRound(bloc)
	start := uintptr(hooks.RamStart)
	blocMax = start + uintptr(hooks.RamSize)
	if lo := getg().m.g0.stack.lo; start <= lo && lo < blocMax {
		blocMax = lo
	}
	blocMax = alignDown(blocMax, physPageSize)
	if bloc < start || bloc > blocMax {
		print("runtime: heap start ", hex(bloc), " is outside RAM ", hex(start), "-", hex(blocMax), "\n")
		throw("runtime/goos: bad RamStart, RamSize or Bloc")
	}
}

// sbrk hands out the next n bytes of RAM, cleared: a loader, or whoever had
// the RAM before, may have left something in it.
func sbrk(n uintptr) unsafe.Pointer {
	n = memRound(n)
	if n > blocMax-bloc {
		return nil
	}
	p := unsafe.Pointer(bloc)
	bloc += n
	memclrNoHeapPointers(p, n)
	return p
}
