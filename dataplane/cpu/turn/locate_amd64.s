#include "textflag.h"

// func self() uintptr
TEXT ·self(SB), NOSPLIT, $0-8
	MOVQ (TLS), AX
	MOVQ AX, ret+0(FP)
	RET

// func load(at uintptr) uintptr
TEXT ·load(SB), NOSPLIT, $0-16
	MOVQ at+0(FP), AX
	MOVQ (AX), AX
	MOVQ AX, ret+8(FP)
	RET

// func load32(at uintptr) uint32
TEXT ·load32(SB), NOSPLIT, $0-12
	MOVQ at+0(FP), AX
	MOVL (AX), AX
	MOVL AX, ret+8(FP)
	RET

// func keep(m, p uintptr)
// Nothing is preempted inside of assembly: the P that is found is the caller's until the counter is written, and only its holder
// writes it.
TEXT ·keep(SB), NOSPLIT, $0-16
	MOVQ (TLS), AX
	MOVQ m+0(FP), CX
	MOVQ (AX)(CX*1), AX
	MOVQ p+8(FP), CX
	MOVQ (AX)(CX*1), AX
	TESTQ AX, AX
	JZ   none
	INCL 16(AX)
none:
	RET
