//go:build tamago && amd64

#include "textflag.h"

// func mmioRead8(addr uintptr) uint8
TEXT ·mmioRead8(SB), NOSPLIT, $0-9
	MOVQ	addr+0(FP), AX
	MOVB	(AX), CX	// one 8-bit load from the device
	MOVB	CX, ret+8(FP)
	RET

// func mmioWrite8(addr uintptr, v uint8)
TEXT ·mmioWrite8(SB), NOSPLIT, $0-9
	MOVQ	addr+0(FP), AX
	MOVB	v+8(FP), CX
	MOVB	CX, (AX)	// one 8-bit store to the device
	RET

// func mmioRead32(addr uintptr) uint32
TEXT ·mmioRead32(SB), NOSPLIT, $0-12
	MOVQ	addr+0(FP), AX
	MOVL	(AX), CX	// one 32-bit load from the device
	MOVL	CX, ret+8(FP)
	RET

// func mmioWrite32(addr uintptr, v uint32)
TEXT ·mmioWrite32(SB), NOSPLIT, $0-12
	MOVQ	addr+0(FP), AX
	MOVL	v+8(FP), CX
	MOVL	CX, (AX)	// one 32-bit store to the device
	RET
