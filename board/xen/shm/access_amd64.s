#include "textflag.h"

// func load8(p *uint8) uint8
TEXT ·load8(SB), NOSPLIT, $0-9
	MOVQ	p+0(FP), AX
	MOVB	(AX), CX
	MOVB	CX, ret+8(FP)
	RET

// func load16(p *uint16) uint16
TEXT ·load16(SB), NOSPLIT, $0-10
	MOVQ	p+0(FP), AX
	MOVW	(AX), CX
	MOVW	CX, ret+8(FP)
	RET

// func store8(p *uint8, v uint8)
TEXT ·store8(SB), NOSPLIT, $0-9
	MOVQ	p+0(FP), AX
	MOVB	v+8(FP), CX
	XCHGB	CX, (AX)
	RET

// func store16(p *uint16, v uint16)
TEXT ·store16(SB), NOSPLIT, $0-10
	MOVQ	p+0(FP), AX
	MOVW	v+8(FP), CX
	XCHGW	CX, (AX)
	RET

// func move(dst, src *uint8, n int)
TEXT ·move(SB), NOSPLIT, $0-24
	MOVQ	dst+0(FP), DI
	MOVQ	src+8(FP), SI
	MOVQ	n+16(FP), DX
	CLD
	MOVQ	DX, CX
	SHRQ	$3, CX
	REP; MOVSQ
	MOVQ	DX, CX
	ANDQ	$7, CX
	REP; MOVSB
	RET

// func cas16(p *uint16, old, new uint16) bool
TEXT ·cas16(SB), NOSPLIT, $0-17
	MOVQ	p+0(FP), BX
	MOVW	old+8(FP), AX
	MOVW	new+10(FP), CX
	LOCK
	CMPXCHGW	CX, (BX)
	SETEQ	ret+16(FP)
	RET

// func mfence()
TEXT ·mfence(SB), NOSPLIT, $0-0
	MFENCE
	RET
