//go:build tamago

package pvh

import (
	"runtime"
	"runtime/goos"
)

// withErrorCode has a bit for each vector that pushes an error code
// (APM vol. 2, 8.2): DF, TS, NP, SS, GP, PF, AC, CP, HV, VC, SX.
const withErrorCode = 1<<8 | 1<<10 | 1<<11 | 1<<12 | 1<<13 | 1<<14 | 1<<17 | 1<<21 | 1<<28 | 1<<29 | 1<<30

// Vectors that leave nothing to go back to.
const fatalVectors = 1<<2 | 1<<8 | 1<<18 // NMI, double fault, machine check

// frame is the state that an exception interrupted. The fields' order is
// known to traps.s by name only.
type frame struct {
	ax, bx, cx, dx, si, di, bp, sp    uint64
	r8, r9, r10, r11, r12, r13, r14   uint64
	r15, ip, flags, cr2, vector, code uint64
}

// State of the one exception that an image can have. There is one processor,
// and a second exception ends everything.
var (
	regs     frame
	resumeSP uintptr // stack on which the report goes on
	depth    int
	stack    [32]uintptr // return addresses, innermost first
	depthOf  int         // number of them
	atSP     uintptr     // word at the top of the stack, if it points into code
)

var vectorNames = [trapVectors]string{
	0: "divide error", 1: "debug", 2: "NMI", 3: "breakpoint", 4: "overflow", 5: "bound range",
	6: "invalid opcode", 7: "device not available", 8: "double fault", 10: "invalid TSS",
	11: "segment not present", 12: "stack fault", 13: "general protection", 14: "page fault",
	16: "x87 error", 17: "alignment check", 18: "machine check", 19: "SIMD error",
	21: "control protection",
}

// report prints what happened and ends the domain, or names in resumeSP the
// stack on which symbolise can add function names.
//
// It runs on the exception stack while the processor's notion of the current
// goroutine is the interrupted one: nothing called from here may check the
// stack bound, so all of it is nosplit, including what goos.Exit points at.
//
//go:nosplit
func report() {
	depth++
	if depth > 1 {
		puts("\nexception while reporting an exception: vector ")
		putHex(regs.vector)
		puts(" ip ")
		putHex(regs.ip)
		puts("\n")
		goos.Exit(exceptionExit)
	}
	printFrame()
	collect()
	puts("return addresses:")
	for i := 0; i < depthOf; i++ {
		puts(" ")
		putHex(uint64(stack[i]))
	}
	if atSP != 0 {
		puts("; perhaps first ") // where the function had no frame yet
		putHex(uint64(atSP))
	}
	puts("\n")
	if !onGoroutine() {
		goos.Exit(exceptionExit)
	}
	resumeSP = uintptr(regs.sp) - 8
	store64(resumeSP, uint64(stack[0]))
}

// exceptionExit is the exit code of a domain that took an exception.
const exceptionExit = 3

//go:nosplit
func printFrame() {
	puts("\nexception ")
	putHex(regs.vector)
	puts(" (")
	if regs.vector < trapVectors {
		puts(vectorNames[regs.vector])
	}
	if regs.vector == 14 && regs.cr2 < pageSize {
		puts(", nil pointer")
	}
	puts(") error code ")
	putHex(regs.code)
	puts(" cr2 ")
	putHex(regs.cr2)
	puts("\n")
	putReg("rip", regs.ip)
	putReg("rsp", regs.sp)
	putReg("rbp", regs.bp)
	putReg("rfl", regs.flags)
	puts("\n")
	putReg("rax", regs.ax)
	putReg("rbx", regs.bx)
	putReg("rcx", regs.cx)
	putReg("rdx", regs.dx)
	puts("\n")
	putReg("rsi", regs.si)
	putReg("rdi", regs.di)
	putReg("r8 ", regs.r8)
	putReg("r9 ", regs.r9)
	puts("\n")
	putReg("r10", regs.r10)
	putReg("r11", regs.r11)
	putReg("r12", regs.r12)
	putReg("r13", regs.r13)
	puts("\n")
	putReg("r14", regs.r14)
	putReg("r15", regs.r15)
	puts("\n")
}

// collect fills stack from the interrupted instruction and the chain of frame
// pointers that Go keeps in RBP. It follows only links that go up in memory
// that exists, and stops at the first that does not.
//
//go:nosplit
func collect() {
	ip := uintptr(regs.ip)
	top := uintptr(0)
	if inRAM(uintptr(regs.sp)) {
		top = uintptr(load64(uintptr(regs.sp)))
	}
	switch {
	case !inText(ip):
		ip = top // a call to nowhere: blame the caller
	case inText(top):
		atSP = top
	}
	push(ip)
	for bp := uintptr(regs.bp); depthOf < len(stack) && inRAM(bp) && inRAM(bp+8); {
		ret := uintptr(load64(bp + 8))
		if !inText(ret) {
			return
		}
		push(ret)
		up := uintptr(load64(bp))
		if up <= bp {
			return
		}
		bp = up
	}
}

//go:nosplit
func push(pc uintptr) {
	stack[depthOf] = pc
	depthOf++
}

// onGoroutine reports whether the exception came from ordinary Go code on a
// goroutine's stack, where it is safe to run a little more of it. The runtime's
// own stack (g0) may hold the runtime's locks.
//
//go:nosplit
func onGoroutine() bool {
	sp := uintptr(regs.sp)
	return fatalVectors>>regs.vector&1 == 0 &&
		sp > ImageBase && sp < stackGuard && sp%8 == 0 && inText(stack[0])
}

// symbolise prints the names of the functions in stack and ends the domain.
// It runs on the interrupted goroutine's stack, and must not return. An
// exception in here is reported as such and ends the domain too.
func symbolise() {
	puts("goroutine stack at the exception:\n")
	for i, pc := range stack[:depthOf] {
		if i > 0 {
			pc-- // the call, not the instruction after it
		}
		putFunc(pc)
		if i == 0 && atSP != 0 && frameless(pc) {
			putFunc(atSP - 1)
		}
	}
	goos.Exit(exceptionExit)
}

func putFunc(pc uintptr) {
	f := runtime.FuncForPC(pc)
	if f == nil {
		return
	}
	file, line := f.FileLine(pc)
	puts(f.Name())
	puts("\n\t")
	puts(file)
	puts(":")
	putDec(line)
	puts("\n")
}

// frameless reports whether the function at pc has not saved its caller's frame
// pointer, because it is a leaf or because it has only begun: then the return
// address is at the top of the stack and the chain of frames lacks it.
func frameless(pc uintptr) bool {
	f := runtime.FuncForPC(pc)
	if f == nil {
		return false
	}
	const save = 0xE5894855 // PUSHQ BP; MOVQ SP, BP
	for a := f.Entry(); a+4 <= pc; a++ {
		if load32(a) == save {
			return false
		}
	}
	return true
}
