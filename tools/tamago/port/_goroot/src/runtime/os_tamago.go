//go:build tamago

package runtime

import (
	"internal/runtime/atomic"
	hooks "runtime/goos"
	"unsafe"
)

// GOOS=tamago: one processor, one M, no signals, no system calls. Everything
// outside the runtime is reached through the hooks of runtime/goos. Hooks are
// ordinary Go functions of a board package, so those that the runtime calls
// from a nosplit path run on the system stack, which never has to grow.

type mOS struct{}

type sigset struct{}

type gsignalStack struct{}

const _NSIG = 0

const preemptMSupported = false

func osinit() {
	hooks.Hwinit0()
	physPageSize = 4096
	numCPUStartup = getCPUCount()
	getg().m.procid = 1
	if hooks.ProcID != nil {
		getg().m.procid = hooks.ProcID()
	}
	tamagoInitBloc()
}

func getCPUCount() int32 { return 1 }

// randinitBeforeMalloc does nothing: InitRNG may allocate.
func randinitBeforeMalloc() {}

func randinitAfterMalloc() {
	hooks.InitRNG()
	randinit()
}

// boardinit runs on the main goroutine before any package is initialized.
func boardinit() {
	hooks.Hwinit1()
}

func readRandom(r []byte) int {
	hooks.GetRandomData(r)
	return len(r)
}

// goenvs gives programs a name and an empty environment: nobody passes
// arguments to a freestanding image.
func goenvs() {
	argslice = []string{"tamago"}
	envs = []string{}
}

//go:nosplit
func nanotime1() (ns int64) {
	systemstack(func() { ns = hooks.Nanotime() })
	return
}

// walltime is Nanotime too: the contract has a single clock, the system time.
func walltime() (sec int64, nsec int32) {
	ns := nanotime1()
	return ns / 1e9, int32(ns % 1e9)
}

//go:linkname syscall_now syscall.now
func syscall_now() (sec int64, nsec int32) {
	sec, nsec, _ = time_now()
	return
}

//go:nosplit
func write1(fd uintptr, p unsafe.Pointer, n int32) int32 {
	systemstack(func() {
		for i := int32(0); i < n; i++ {
			hooks.Printk(*(*byte)(add(p, uintptr(i))))
		}
	})
	return n
}

// syscall_write carries os.Stdout and os.Stderr to the console.
//
//go:linkname syscall_write syscall.consoleWrite
func syscall_write(b []byte) {
	if len(b) > 0 {
		write1(2, unsafe.Pointer(&b[0]), int32(len(b)))
	}
}

//go:nosplit
func exit(code int32) {
	if hooks.Exit != nil {
		systemstack(func() { hooks.Exit(code) })
	}
	halt()
}

// halt stops the only processor for good. Defined in sys_tamago_amd64.s.
func halt()

// beforeIdle is called by the scheduler when no goroutine is runnable. It
// keeps its P while the board waits, then asks the scheduler to look again:
// the hook may return early, and an idle system without timers is no
// deadlock, because the board can make goroutines ready.
func beforeIdle(now, pollUntil int64) (gp *g, otherReady bool) {
	if hooks.Idle != nil {
		if pollUntil == 0 {
			pollUntil = maxWhen
		}
		hooks.Idle(pollUntil)
	}
	return nil, true
}

func usleep(usec uint32) {
	deadline := nanotime1() + int64(usec)*1000
	for nanotime1() < deadline {
		procyield(1)
	}
}

//go:nosplit
func usleep_no_g(usec uint32) { procyield(10) }

//go:nosplit
func osyield() { procyield(1) }

//go:nosplit
func osyield_no_g() { procyield(1) }

func newosproc(mp *m) { throw("newosproc: GOOS=tamago has one processor") }

// exitThread and the file calls below are never reached: there are no threads
// to end and no files. They exist because shared runtime code names them.
func exitThread(wait *atomic.Uint32)                 { throw("exitThread") }
func open(name *byte, mode, perm int32) int32        { return -1 }
func closefd(fd int32) int32                         { return -1 }
func read(fd int32, p unsafe.Pointer, n int32) int32 { return -1 }

func mpreinit(mp *m) {}
func minit()         {}
func unminit()       {}
func mdestroy(mp *m) {}
func preemptM(mp *m) {}

//go:nosplit
func sigsave(p *sigset) {}

//go:nosplit
func msigrestore(sigmask sigset) {}

//go:nosplit
//go:nowritebarrierrec
func clearSignalHandlers() {}

//go:nosplit
func sigblock(exiting bool) {}

func initsig(preinit bool)          {}
func signame(sig uint32) string     { return "" }
func setProcessCPUProfiler(int32)   {}
func setThreadCPUProfiler(hz int32) {}

func crash() { exit(2) }

// sigpanic is named by the traceback code; without signals nothing calls it.
func sigpanic() { throw("sigpanic") }

//go:linkname os_sigpipe os.sigpipe
func os_sigpipe() {}

// No signal ever arrives: os/signal's receiver sleeps for good, without
// keeping the scheduler busy.

//go:linkname signal_recv os/signal.signal_recv
func signal_recv() uint32 {
	gopark(nil, nil, waitReasonZero, traceBlockForever, 1)
	return 0
}

//go:linkname signal_enable os/signal.signal_enable
func signal_enable(uint32) {}

//go:linkname signal_disable os/signal.signal_disable
func signal_disable(uint32) {}

//go:linkname signal_ignore os/signal.signal_ignore
func signal_ignore(uint32) {}

//go:linkname signal_ignored os/signal.signal_ignored
func signal_ignored(uint32) bool { return false }

//go:linkname signalWaitUntilIdle os/signal.signalWaitUntilIdle
func signalWaitUntilIdle() {}
