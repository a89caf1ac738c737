//go:build !race

#include "go_asm.h"
#include "textflag.h"

// func prepareLines(t *Table, charges *Charge, n int)
TEXT ·prepareLines(SB), NOSPLIT, $0-24
	MOVQ t+0(FP), DI
	MOVQ charges+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ (Table_seed+0)(DI), R8
	MOVQ (Table_seed+8)(DI), R9
	MOVQ (Table_seed+16)(DI), R10
	MOVQ (Table_seed+24)(DI), R11
	MOVQ Table_homes(DI), R12
	MOVQ Table_index(DI), R13
	TESTQ CX, CX
	JLE  done

loop:
	MOVL       (Charge_control+4)(SI), BX // the direction
	MOVQ       BX, DX
	SHLQ       $32, DX
	MOVQ       Charge_k1(SI), AX
	XORQ       R9, AX
	ADDQ       DX, AX
	MOVQ       Charge_k0(SI), DX
	XORQ       R8, DX
	MULQ       DX
	XORQ       R10, DX
	XORQ       DX, AX
	LEAQ       (R11)(BX*1), DX
	MULQ       DX
	XORQ       DX, AX
	MOVQ       AX, Charge_hash(SI)
	MULQ       R12
	SHLQ       $6, DX
	PREFETCHT0 (R13)(DX*1)
	ADDQ       $Charge__size, SI
	DECQ       CX
	JNZ        loop

done:
	RET

// func hashFlows(s *Seed, packets *wire.IP, n int, hashes *uint64) int
TEXT ·hashFlows(SB), NOSPLIT, $0-40
	MOVQ s+0(FP), DI
	MOVQ packets+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ hashes+24(FP), R8
	MOVQ 0(DI), R9
	MOVQ 8(DI), R10
	MOVQ 16(DI), R11
	MOVQ 24(DI), R12
	TESTQ CX, CX
	JLE  done

loop:
	CMPB  const_hasPortsAt(SI), $0
	JEQ   next
	MOVQ  (const_srcAt+0)(SI), AX
	XORQ  R10, AX
	MOVQ  (const_srcAt+8)(SI), DX
	XORQ  R11, DX
	MULQ  DX
	MOVQ  AX, BX
	XORQ  DX, BX
	ADDQ  R12, BX
	MOVL  const_srcPortAt(SI), R13 // the destination's is behind it
	ROLL  $16, R13
	SHLQ  $8, R13
	MOVBQZX const_protoAt(SI), R15
	ORQ   R15, R13
	XORQ  R13, BX
	MOVQ  (const_dstAt+0)(SI), AX
	XORQ  R11, AX
	MOVQ  (const_dstAt+8)(SI), DX
	XORQ  R12, DX
	MULQ  DX
	XORQ  DX, AX
	ROLQ  $32, AX
	XORQ  R9, AX
	MULQ  BX
	XORQ  R10, DX
	XORQ  DX, AX
	MULQ  R9
	XORQ  DX, AX
	MOVQ  AX, (R8)
	ADDQ  $8, R8

next:
	ADDQ $const_packetSize, SI
	DECQ CX
	JNZ  loop

done:
	SUBQ hashes+24(FP), R8
	SHRQ $3, R8
	MOVQ R8, ret+32(FP)
	RET
