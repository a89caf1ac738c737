#include "textflag.h"

// func self() uintptr
TEXT ·self(SB), NOSPLIT, $0-8
	MOVD g, R0
	MOVD R0, ret+0(FP)
	RET

// func load(at uintptr) uintptr
TEXT ·load(SB), NOSPLIT, $0-16
	MOVD at+0(FP), R0
	MOVD (R0), R0
	MOVD R0, ret+8(FP)
	RET

// func load32(at uintptr) uint32
TEXT ·load32(SB), NOSPLIT, $0-12
	MOVD at+0(FP), R0
	MOVWU (R0), R0
	MOVW R0, ret+8(FP)
	RET

// func keep(m, p uintptr)
// Nothing is preempted inside of assembly: the P that is found is the caller's until the counter is written, and only its holder
// writes it.
TEXT ·keep(SB), NOSPLIT, $0-16
	MOVD m+0(FP), R1
	ADD  g, R1
	MOVD (R1), R0
	MOVD p+8(FP), R1
	ADD  R0, R1
	MOVD (R1), R0
	CBZ  R0, none
	MOVWU 16(R0), R1
	ADDW $1, R1
	MOVW R1, 16(R0)
none:
	RET
