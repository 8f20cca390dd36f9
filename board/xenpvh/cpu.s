//go:build tamago

#include "textflag.h"

// func cpuid(leaf, sub uint32) (ax, bx, cx, dx uint32)
TEXT ·cpuid(SB),NOSPLIT,$0-24
	MOVL	leaf+0(FP), AX
	MOVL	sub+4(FP), CX
	CPUID
	MOVL	AX, ax+8(FP)
	MOVL	BX, bx+12(FP)
	MOVL	CX, cx+16(FP)
	MOVL	DX, dx+20(FP)
	RET

// func rdtsc() uint64
TEXT ·rdtsc(SB),NOSPLIT,$0-8
	LFENCE
	RDTSC
	SHLQ	$32, DX
	ORQ	DX, AX
	MOVQ	AX, ret+0(FP)
	RET

// func rdrand() (v uint64, ok bool)
TEXT ·rdrand(SB),NOSPLIT,$0-9
	RDRANDQ	AX
	MOVQ	AX, v+0(FP)
	SETCS	ok+8(FP)
	RET

// func rdseed() (v uint64, ok bool)
TEXT ·rdseed(SB),NOSPLIT,$0-9
	RDSEEDQ	AX
	MOVQ	AX, v+0(FP)
	SETCS	ok+8(FP)
	RET

// func readReg8(addr uintptr) uint8
TEXT ·readReg8(SB),NOSPLIT,$0-9
	MOVQ	addr+0(FP), SI
	MOVB	(SI), AX
	MOVB	AX, ret+8(FP)
	RET

// func readReg32(addr uintptr) uint32
TEXT ·readReg32(SB),NOSPLIT,$0-12
	MOVQ	addr+0(FP), SI
	MOVL	(SI), AX
	MOVL	AX, ret+8(FP)
	RET

// func writeReg8(addr uintptr, v uint8)
TEXT ·writeReg8(SB),NOSPLIT,$0-9
	MOVQ	addr+0(FP), DI
	MOVB	v+8(FP), AX
	MOVB	AX, (DI)
	RET

// func writeReg32(addr uintptr, v uint32)
TEXT ·writeReg32(SB),NOSPLIT,$0-12
	MOVQ	addr+0(FP), DI
	MOVL	v+8(FP), AX
	MOVL	AX, (DI)
	RET
