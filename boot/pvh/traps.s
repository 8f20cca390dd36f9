//go:build tamago

#include "go_asm.h"
#include "textflag.h"

#define STUB CALL ·trap(SB)
#define STUB8 STUB; STUB; STUB; STUB; STUB; STUB; STUB; STUB

// vectors has one 5-byte CALL for each exception; the return address that it
// pushes tells which one it was.
TEXT ·vectors(SB),NOSPLIT|NOFRAME,$0
	STUB8
	STUB8
	STUB8
	STUB8

// trap saves the interrupted state in ·regs and reports it. It does not come
// back: either the domain is shut down in ·report, or the report goes on, on
// the interrupted goroutine's stack, in ·resume.
//
// Stack: return address of the stub, error code (some vectors), RIP, CS,
// RFLAGS, RSP, SS.
TEXT ·trap(SB),NOSPLIT|NOFRAME,$0
	MOVQ	AX, ·regs+frame_ax(SB)
	MOVQ	BX, ·regs+frame_bx(SB)
	MOVQ	CX, ·regs+frame_cx(SB)
	MOVQ	DX, ·regs+frame_dx(SB)
	MOVQ	SI, ·regs+frame_si(SB)
	MOVQ	DI, ·regs+frame_di(SB)
	MOVQ	BP, ·regs+frame_bp(SB)
	MOVQ	R8, ·regs+frame_r8(SB)
	MOVQ	R9, ·regs+frame_r9(SB)
	MOVQ	R10, ·regs+frame_r10(SB)
	MOVQ	R11, ·regs+frame_r11(SB)
	MOVQ	R12, ·regs+frame_r12(SB)
	MOVQ	R13, ·regs+frame_r13(SB)
	MOVQ	R14, ·regs+frame_r14(SB)
	MOVQ	R15, ·regs+frame_r15(SB)
	MOVQ	CR2, AX
	MOVQ	AX, ·regs+frame_cr2(SB)

	POPQ	AX
	MOVQ	$·vectors(SB), BX
	SUBQ	BX, AX
	SUBQ	$5, AX
	XORL	DX, DX
	MOVL	$5, BX
	DIVQ	BX
	MOVQ	AX, ·regs+frame_vector(SB)

	XORL	DX, DX
	MOVL	$const_withErrorCode, BX
	BTL	AX, BX
	JCC	noerror
	POPQ	DX
noerror:
	MOVQ	DX, ·regs+frame_code(SB)
	MOVQ	0(SP), AX
	MOVQ	AX, ·regs+frame_ip(SB)
	MOVQ	16(SP), AX
	MOVQ	AX, ·regs+frame_flags(SB)
	MOVQ	24(SP), AX
	MOVQ	AX, ·regs+frame_sp(SB)

	CLD
	CALL	·report(SB)
	MOVQ	·resumeSP(SB), SP
	JMP	·resume(SB)

// resume runs as if the faulting instruction had called it.
TEXT ·resume(SB),NOSPLIT|NOFRAME,$0-0
	CALL	·symbolise(SB)
	INT	$3
