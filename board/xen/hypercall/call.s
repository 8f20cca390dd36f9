//go:build tamago

#include "go_asm.h"
#include "textflag.h"

// func call(nr, a1, a2, a3 uintptr) int64
//
// xen/include/public/arch-x86/xen-x86_64.h: arguments in RDI, RSI, RDX; Xen may
// clobber these and changes nothing else but RAX.
TEXT ·call(SB),NOSPLIT,$0-40
	MOVQ	nr+0(FP), AX
	SHLQ	$5, AX			// 32 bytes an entry
	ADDQ	$const_Page, AX
	MOVQ	a1+8(FP), DI
	MOVQ	a2+16(FP), SI
	MOVQ	a3+24(FP), DX
	CALL	AX
	MOVQ	AX, ret+32(FP)
	RET
