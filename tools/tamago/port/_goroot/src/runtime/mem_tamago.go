//go:build tamago

package runtime

import (
	hooks "runtime/goos"
	"unsafe"
)

// tamagoInitBloc puts the heap between the end of the image (or Bloc, where
// the board set it) and the low end of the stack on which the board entered
// the runtime. The contract has that stack in RAM, RamStackOffset below its end.
// A board that puts it elsewhere is refused: with another implementation of the
// contract it would have no heap.
func tamagoInitBloc() {
	bloc = firstmoduledata.end
	if hooks.Bloc != 0 {
		bloc = hooks.Bloc
	}
	bloc = memRound(bloc)
	start, end := uintptr(hooks.RamStart), uintptr(hooks.RamStart+hooks.RamSize)
	stack := getg().m.g0.stack
	if top := end - uintptr(hooks.RamStackOffset); stack.hi > top || top-stack.hi > tamagoEntryFrame {
		print("runtime: first stack at ", hex(stack.hi), ", RamStart, RamSize and RamStackOffset have it at ", hex(top), "\n")
		throw("runtime/goos: first stack is not where the contract has it")
	}
	blocMax = alignDown(stack.lo, physPageSize)
	if bloc < start || bloc > blocMax {
		print("runtime: heap start ", hex(bloc), " is outside RAM ", hex(start), "-", hex(blocMax), "\n")
		throw("runtime/goos: bad RamStart, RamSize or Bloc")
	}
}

// tamagoEntryFrame is the most that rt0_go takes off the stack before it notes
// its upper end.
const tamagoEntryFrame = 128

// sbrk hands out the next n bytes of RAM. That they are zero is the board's
// concern: the contract has nobody else to clear them.
func sbrk(n uintptr) unsafe.Pointer {
	n = memRound(n)
	if n > blocMax-bloc {
		return nil
	}
	p := unsafe.Pointer(bloc)
	bloc += n
	return p
}
