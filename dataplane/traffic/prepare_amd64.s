//go:build !race

#include "go_asm.h"
#include "textflag.h"

// The seed is two keys: A in X8 and B in X9.

// func aesHash(s *Seed, k0, k1, side uint64) uint64
TEXT ·aesHash(SB), NOSPLIT, $0-40
	MOVQ    s+0(FP), AX
	VMOVDQU 0(AX), X8
	VMOVDQU 16(AX), X9
	VMOVQ   k0+8(FP), X0 // each as it was stored: a wide load would wait for both
	VPINSRQ $1, k1+16(FP), X0, X0
	VMOVQ   side+24(FP), X1
	VPXOR   X8, X0, X0
	VPXOR   X9, X1, X1
	VAESENC X1, X0, X0
	VAESENC X8, X0, X0
	VAESENC X9, X0, X0
	VAESENC X8, X0, X0
	VMOVQ   X0, ret+32(FP)
	RET

// func aesHashFlow(s *Seed, src, dst *[16]byte, ports, proto uint64) uint64
// The ports and the protocol lie as in a wire.IP behind its addresses.
TEXT ·aesHashFlow(SB), NOSPLIT, $0-48
	MOVQ        s+0(FP), AX
	VMOVDQU     0(AX), X8
	VMOVDQU     16(AX), X9
	MOVQ        src+8(FP), SI
	MOVQ        dst+16(FP), DI
	MOVQ        ports+24(FP), BX
	MOVQ        proto+32(FP), CX
	SHLQ        $8, CX
	VMOVQ       BX, X2
	VPINSRQ     $1, CX, X2, X2
	VPXOR       (SI), X8, X0
	VPXOR       (DI), X9, X1
	VAESENC     X9, X0, X0
	VAESENC     X8, X1, X1
	VAESENC     X8, X0, X0
	VAESENC     X9, X1, X1
	VPXOR       X2, X0, X0
	VPXOR       X1, X0, X0
	VAESENC     X8, X0, X0
	VAESENC     X9, X0, X0
	VAESENC     X8, X0, X0
	VMOVQ       X0, ret+40(FP)
	RET

// func prepareLines(t *Table, charges *Charge, n int)
TEXT ·prepareLines(SB), NOSPLIT, $0-24
	MOVQ    t+0(FP), DI
	MOVQ    charges+8(FP), SI
	MOVQ    n+16(FP), CX
	VMOVDQU (Table_seed+0)(DI), X8
	VMOVDQU (Table_seed+16)(DI), X9
	MOVQ    Table_homes(DI), R8
	MOVQ    Table_index(DI), R9

prepareLoop:
	MOVL       (Charge_control+4)(SI), BX // the direction
	SHLQ       $const_placeBits, BX
	VMOVQ      BX, X1
	VPXOR      Charge_k0(SI), X8, X0
	VPXOR      X9, X1, X1
	VAESENC    X1, X0, X0
	VAESENC    X8, X0, X0
	VAESENC    X9, X0, X0
	VAESENC    X8, X0, X0
	VMOVQ      X0, DX
	MOVQ       DX, Charge_hash(SI)
	MULXQ      R8, AX, DX
	SHLQ       $6, DX
	PREFETCHT0 (R9)(DX*1)
	ADDQ       $Charge__size, SI
	DECQ       CX
	JNZ        prepareLoop
	RET

// Of the 16 bytes of a wire.IP from its ports on: ports and protocol.
DATA portsAndProto<>+0(SB)/8, $0x00000000ffffffff
DATA portsAndProto<>+8(SB)/8, $0x000000000000ff00
GLOBL portsAndProto<>(SB), RODATA|NOPTR, $16

// func chargeLines(t *Table, totals *Totals, r *Rules, c *Chunk, all *Charges, flows bool)
// SI is the packet, R9 its ends, R11 its length; DI the next charge and R10 its number; R14 the next flow's hash and R15 its note.
TEXT ·chargeLines(SB), NOSPLIT, $32-41
	MOVQ    t+0(FP), AX
	VMOVDQU (Table_seed+0)(AX), X8
	VMOVDQU (Table_seed+16)(AX), X9
	VMOVDQU portsAndProto<>(SB), X10
	MOVQ    Table_homes(AX), DX
	MOVQ    DX, homes-8(SP)
	MOVQ    Table_index(AX), DX
	MOVQ    DX, index-16(SP)
	MOVQ    totals+8(FP), R13
	MOVQ    r+16(FP), R8
	MOVQ    c+24(FP), AX
	LEAQ    Chunk_Packets(AX), SI
	LEAQ    Chunk_Ends(AX), R9
	LEAQ    Chunk_Lengths(AX), R11
	MOVQ    Chunk_N(AX), DX
	LEAQ    (R11)(DX*4), DX
	MOVQ    DX, end-24(SP)
	MOVQ    all+32(FP), AX
	MOVQ    Charges_n(AX), R10
	IMUL3Q  $Charge__size, R10, DX
	LEAQ    Charges_charges(AX)(DX*1), DI
	MOVQ    Charges_nflows(AX), DX
	LEAQ    Charges_hashes(AX)(DX*8), R14
	LEAQ    Charges_flows(AX)(DX*4), R15

loop:
	// the rule: 2 * (the source is ours) + (the destination is)
	MOVQ (R9), AX
	XORL BX, BX
	XORL CX, CX
	CMPL CX, AX
	ADCL BX, BX
	SHRQ $32, AX
	CMPL CX, AX
	ADCL BX, BX
	SHLL $const_ruleShift, BX
	ADDQ R8, BX

	// the class
	MOVBLZX const_protoAt(SI), CX
	MOVBLZX Rules_classes(R8)(CX*1), CX
	MOVBLZX const_flagsAt(SI), AX
	SHRL    $1, AX // SYN
	ANDL    $1, AX
	ADDL    AX, CX
	MOVBLZX const_fragmentAt(SI), AX
	IMUL3L  $const_FragmentOffset, AX, AX
	ADDL    AX, CX

	// the totals
	MOVL    (R11), R12
	MOVBLZX const_versionAt(SI), DX
	SHRL    $1, DX
	ANDL    $1, DX // 0 of 4, 1 of 6
	IMUL3L  $const_familySize, DX, AX
	SHLL    $const_flowFamily, DX
	ADDL    rule_total(BX), AX
	ADDQ    R13, AX
	SHLL    $4, CX
	INCQ    (AX)(CX*1)
	ADDQ    R12, 8(AX)(CX*1)
	SHRL    $4, CX
	BTSQ    $const_byteBits, R12

	// the flow
	CMPB    flows+40(FP), $0
	JEQ     charge
	ORL     rule_flow(BX), DX
	ORL     R10, DX
	MOVL    DX, (R15)
	VPXOR   const_srcAt(SI), X8, X0
	VPXOR   const_dstAt(SI), X9, X1
	VPAND   const_srcPortAt(SI), X10, X2
	VAESENC X9, X0, X0
	VAESENC X8, X1, X1
	VAESENC X8, X0, X0
	VAESENC X9, X1, X1
	VPXOR   X2, X0, X0
	VPXOR   X1, X0, X0
	VAESENC X8, X0, X0
	VAESENC X9, X0, X0
	VAESENC X8, X0, X0
	VMOVQ   X0, (R14)
	MOVBLZX const_hasPortsAt(SI), AX
	LEAQ    (R14)(AX*8), R14
	LEAQ    (R15)(AX*4), R15

charge:
	CMPL       rule_rows(BX), $0
	JEQ        next
	MOVL       rule_addr(BX), AX
	VMOVDQU    (SI)(AX*1), X0
	VMOVDQU    X0, Charge_k0(DI)
	MOVL       rule_end(BX), AX
	MOVL       (R9)(AX*1), AX
	MOVQ       rule_side(BX), DX
	VMOVQ      DX, X1
	ORQ        DX, AX
	MOVQ       AX, Charge_control(DI)
	MOVQ       R12, Charge_Word(DI)
	MOVW       CX, Charge_Class(DI)
	VPXOR      X8, X0, X0
	VPXOR      X9, X1, X1
	VAESENC    X1, X0, X0
	VAESENC    X8, X0, X0
	VAESENC    X9, X0, X0
	VAESENC    X8, X0, X0
	VMOVQ      X0, DX
	MOVQ       DX, Charge_hash(DI)
	MULXQ      homes-8(SP), AX, DX
	SHLQ       $6, DX
	MOVQ       index-16(SP), AX
	PREFETCHT0 (AX)(DX*1)
	INCQ       R10
	ADDQ       $Charge__size, DI
	CMPL       rule_rows(BX), $2
	JEQ        both

next:
	ADDQ $const_packetSize, SI
	ADDQ $const_endsSize, R9
	ADDQ $4, R11
	CMPQ R11, end-24(SP)
	JNE  loop

	MOVQ all+32(FP), AX
	MOVQ R10, Charges_n(AX)
	LEAQ Charges_hashes(AX), DX
	SUBQ DX, R14
	SHRQ $3, R14
	MOVQ R14, Charges_nflows(AX)
	RET

both:
	LEAQ (const_outgoingRule*rule__size)(R8), BX
	JMP  charge
