//go:build tamago

#include "go_asm.h"
#include "textflag.h"

#define EFER	0xC0000080
#define FS_BASE	0xC0000100

// The first descriptor table; replaced by one in writable memory below.
DATA	·bootGDT+0x00(SB)/8, $0
DATA	·bootGDT+0x08(SB)/8, $0x00209b0000000000	// code: long, accessed
DATA	·bootGDT+0x10(SB)/8, $0x0000930000000000	// data: writable, accessed
GLOBL	·bootGDT(SB),RODATA|NOPTR,$24

DATA	·bootGDTDesc+0x00(SB)/2, $23
DATA	·bootGDTDesc+0x02(SB)/8, $·bootGDT(SB)
GLOBL	·bootGDTDesc(SB),RODATA|NOPTR,$10

// cpuinit is the first instruction of the image (goos.CPUInit jumps here).
//
// It runs in 32-bit mode although it is assembled for 64-bit mode: every
// instruction up to the far return has the same encoding and meaning in both.
// In particular no register above DI, no 64-bit operand, and addresses of
// symbols only through ·here (an address operand is relative to the
// instruction in 64-bit mode, and the same bits are absolute in 32-bit mode).
//
// BX = hvm_start_info.
TEXT cpuinit(SB),NOSPLIT|NOFRAME,$0
	CLI
	CLD
	MOVL	$const_bootStackTop, SP
	MOVL	BX, BP			// survives CPUID

	// Clear all tables (AMD64 APM vol. 2, 5.3 Long-Mode Page Translation).
	XORL	AX, AX
	MOVL	$const_pml4, DI
	MOVL	$((const_tablesEnd-const_pml4)/4), CX
	REP; STOSL

	MOVL	$const_pml4, DI
	MOVL	$(const_pdpt+3), (DI)		// present, writable
	MOVL	$const_pdpt, DI
	MOVL	$(const_pd0+3), (DI)
	MOVL	$(const_pd0+0x1003), 8(DI)
	MOVL	$(const_pd0+0x2003), 16(DI)
	MOVL	$(const_pd0+0x3003), 24(DI)

	// 0 to 4 GB in 2 MB pages; Protect narrows this down later.
	MOVL	$const_pd0, DI
	MOVL	$0x83, AX			// large, writable, present
large:
	MOVL	AX, (DI)
	ADDL	$8, DI
	ADDL	$const_largePage, AX
	JCC	large				// until it wraps at 4 GB

	// The first 2 MB in 4 KB pages, without page 0 and the stack guards.
	MOVL	$const_pt0, DI
	MOVL	$3, AX
small:
	MOVL	AX, (DI)
	ADDL	$8, DI
	ADDL	$const_pageSize, AX
	CMPL	DI, $(const_pt0+const_pageSize)
	JNE	small
	MOVL	$const_pt0, DI
	MOVL	$0, (DI)
	MOVL	$0, (const_trapGuard/const_pageSize*8)(DI)
	MOVL	$0, (const_bootGuard/const_pageSize*8)(DI)
	MOVL	$const_pd0, DI
	MOVL	$(const_pt0+3), (DI)

	// CR4: PAE, and SSE with its exceptions (OSFXSR, OSXMMEXCPT).
	MOVL	CR4, AX
	ORL	$(1<<5 | 1<<9 | 1<<10), AX
	MOVL	AX, CR4
	MOVL	$const_pml4, AX
	MOVL	AX, CR3

	// EFER: long mode, and no-execute if the processor has it.
	MOVL	$0x80000001, AX
	CPUID
	MOVL	DX, SI
	ANDL	$(1<<20), SI			// NX
	SHRL	$9, SI				// is bit 11 in EFER
	MOVL	$EFER, CX
	RDMSR
	ORL	$(1<<8), AX
	ORL	SI, AX
	WRMSR

	// CR0: no x87 emulation; paging, write protection, native FPU errors.
	MOVL	CR0, AX
	ANDL	$~(1<<3 | 1<<2), AX
	ORL	$(1<<31 | 1<<16 | 1<<5 | 1<<1 | 1<<0), AX
	MOVL	AX, CR0

	CALL	·here(SB)
	MOVL	$·bootGDTDesc(SB), BX		// 6 bytes, offset from their end
	ADDL	$6, AX
	ADDL	BX, AX
	LGDT	(AX)

	CALL	·here(SB)
	MOVL	$·start64(SB), BX
	ADDL	$6, AX
	ADDL	BX, AX
	PUSHQ	$const_codeSel
	PUSHQ	AX
	RETFQ					// in 32-bit mode: DEC AX; RETF

// here returns in AX the address after the CALL to it, in either mode.
TEXT ·here(SB),NOSPLIT|NOFRAME,$0
	MOVL	(SP), AX
	RET

// start64 goes on in 64-bit mode. BP = hvm_start_info, SI = NX flag.
TEXT ·start64(SB),NOSPLIT|NOFRAME,$0
	MOVL	$const_dataSel, AX
	MOVW	AX, DS
	MOVW	AX, ES
	MOVW	AX, SS
	MOVQ	$const_bootStackTop, SP

	MOVL	BP, BX				// clears the upper half
	MOVQ	BX, ·startInfoAddr(SB)
	MOVL	SI, SI
	MOVQ	SI, ·noExecute(SB)

	// Descriptor tables in writable memory. TSS: IST1 only.
	MOVQ	$const_gdt, DI
	MOVQ	$0, 0(DI)
	MOVQ	$0x00209b0000000000, AX
	MOVQ	AX, 8(DI)
	MOVQ	$0x0000930000000000, AX
	MOVQ	AX, 16(DI)
	MOVQ	$(0x0000890000000067 + const_tss<<16), AX
	MOVQ	AX, 24(DI)
	MOVQ	$0, 32(DI)
	MOVQ	$const_tss, DI
	MOVQ	$const_trapStackTop, AX
	MOVQ	AX, 0x24(DI)			// IST1
	MOVW	$104, 0x66(DI)			// no I/O bitmap
	MOVQ	$const_gdtDesc, DI
	MOVW	$39, (DI)
	MOVQ	$const_gdt, AX
	MOVQ	AX, 2(DI)
	LGDT	(DI)
	MOVL	$const_tssSel, AX
	BYTE	$0x0F; BYTE $0x00; BYTE $0xD8	// LTR AX

	// One interrupt gate a vector, all on IST1 (APM vol. 2, 8.9.3). The stubs
	// are CALL instructions, 5 bytes each.
	MOVQ	$·vectors(SB), AX
	MOVQ	$const_idt, DI
	MOVL	$const_trapVectors, CX
gate:
	MOVQ	AX, BX
	ANDQ	$0xFFFF, BX
	MOVQ	$(0x00008E0100000000 + const_codeSel<<16), DX
	ORQ	DX, BX
	MOVQ	AX, DX
	SHRQ	$16, DX
	SHLQ	$48, DX
	ORQ	DX, BX
	MOVQ	BX, (DI)
	MOVQ	AX, BX
	SHRQ	$32, BX
	MOVQ	BX, 8(DI)
	ADDQ	$5, AX
	ADDQ	$16, DI
	DECL	CX
	JNE	gate
	MOVQ	$const_gdtDesc, DI
	MOVW	$(const_trapVectors*16-1), (DI)
	MOVQ	$const_idt, AX
	MOVQ	AX, 2(DI)
	LIDT	(DI)

	// A place for TLS accesses before the runtime has set up its own, so
	// that an early exception can still call Go.
	MOVL	$FS_BASE, CX
	MOVL	$const_earlyTLS, AX
	XORL	DX, DX
	WRMSR

	// Hypercall page: find Xen's CPUID leaves ("XenVMMXenVMM"), leaf +2 has
	// the MSR in EBX (arch-x86/cpuid.h).
	MOVL	$0x40000000, R8
find:
	MOVL	R8, AX
	CPUID
	CMPL	BX, $0x566E6558			// "XenV"
	JNE	next
	CMPL	CX, $0x65584D4D			// "MMXe"
	JNE	next
	CMPL	DX, $0x4D4D566E			// "nVMM"
	JEQ	found
next:
	ADDL	$0x100, R8
	CMPL	R8, $0x40010000
	JNE	find
	INT	$3				// not Xen; nobody can be told
found:
	LEAL	2(R8), AX
	CPUID
	MOVL	BX, CX
	MOVL	$const_hypercallPage, AX
	XORL	DX, DX
	WRMSR

	// The runtime takes the bounds of its stack from SP.
	CALL	·measure(SB)
	MOVQ	·firstStack(SB), SP
	XORL	BP, BP
	JMP	_rt0_tamago_start(SB)

// func loadCR3()
TEXT ·loadCR3(SB),NOSPLIT,$0-0
	MOVQ	$const_pml4, AX
	MOVQ	AX, CR3
	RET

// func debugOut(c byte)
//
// Port 0xE9 reaches Xen's own console (xl dmesg) from any HVM or PVH guest,
// where guest_loglvl lets it.
TEXT ·DebugOut(SB),NOSPLIT,$0-1
	MOVB	c+0(FP), AX
	MOVW	$0xE9, DX
	OUTB
	RET
