//go:build tamago

#include "go_asm.h"
#include "go_tls.h"
#include "textflag.h"

#define MSR_FS_BASE	0xc0000100
#define SYS_arch_prctl	158
#define ARCH_SET_FS	0x1002

// The entry point of every image. The board's cpuinit makes the processor and
// a stack ready and comes back through _rt0_tamago_start.
TEXT _rt0_amd64_tamago(SB),NOSPLIT|NOFRAME,$0
	JMP	cpuinit(SB)

// Called with SP at the top of the first stack. There are no arguments.
TEXT _rt0_tamago_start(SB),NOSPLIT|NOFRAME,$0
	XORL	DI, DI
	XORL	SI, SI
	JMP	runtime·rt0_go(SB)

// settls points the thread-local slot of g at DI. The rings differ: ring 0
// writes the register, ring 3 (an image run as a Linux process) has to ask.
TEXT runtime·settls(SB),NOSPLIT,$0
	ADDQ	$8, DI		// the toolchain uses -8(FS)
	MOVW	CS, AX
	TESTB	$3, AX
	JNZ	user

	MOVL	DI, AX		// low half
	MOVQ	DI, DX
	SHRQ	$32, DX		// high half
	MOVL	$MSR_FS_BASE, CX
	WRMSR
	RET
user:
	MOVQ	DI, SI
	MOVQ	$ARCH_SET_FS, DI
	MOVQ	$SYS_arch_prctl, AX
	SYSCALL
	CMPQ	AX, $0xfffffffffffff001
	JLS	2(PC)
	UNDEF
	RET

// func halt()
TEXT runtime·halt(SB),NOSPLIT|NOFRAME,$0
again:
	CLI			// in ring 3 this faults, which ends the process
	HLT
	JMP	again
