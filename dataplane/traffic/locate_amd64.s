//go:build !race

#include "go_asm.h"
#include "textflag.h"

// func locateLines(t *Table, charges *Charge, n int) int
// A line's 16 entries are compared at once with SSE2, which every amd64 has; rows are started here only with AVX-512. locateOne is the same in Go.
TEXT ·locateLines(SB), NOSPLIT, $0-32
	MOVQ t+0(FP), DI
	MOVQ charges+8(FP), SI
	MOVQ Table_homes(DI), R9
	MOVQ Table_index(DI), R10
	MOVQ Table_rowsAt(DI), R11
	MOVL Table_rowOf(DI), R12
	MOVL Table_tag(DI), R13
	SHLL $const_tagShift, R13

	// what a row does not take of an entry, four times; and of a hash, without the tag
	MOVL R12, R15
	NOTL R15
	MOVL R15, X8
	PSHUFL $0, X8, X8
	ANDL $((1<<const_tagShift)-1), R15
	XORL BX, BX
	CMPB Table_avx512(DI), $0
	JNE  wide
	JMP  next

loop:
	MOVQ Charge_hash(SI), CX
	MOVQ CX, AX
	MULQ R9
	SHLQ $6, DX
	ADDQ R10, DX
	ANDL R15, CX
	ORL  R13, CX
	MOVL CX, X0
	PSHUFL $0, X0, X0

	MOVOU    (DX), X1
	MOVOU    16(DX), X2
	MOVOU    32(DX), X3
	MOVOU    48(DX), X4
	PAND     X8, X1
	PAND     X8, X2
	PAND     X8, X3
	PAND     X8, X4
	PCMPEQL  X0, X1
	PCMPEQL  X0, X2
	PCMPEQL  X0, X3
	PCMPEQL  X0, X4
	PACKSSLW X2, X1
	PACKSSLW X4, X3
	PACKSSWB X3, X1
	PMOVMSKB X1, AX

	// exactly one entry
	LEAL  -1(AX), CX
	TESTL CX, AX
	JNZ   done
	BSFL  AX, AX
	JZ    done
	MOVL  (DX)(AX*4), AX
	ANDL  R12, AX
	MOVL  AX, Charge_row(SI)
	SHLQ  $const_rowShift, AX
	PREFETCHT0 (R11)(AX*1)
	ADDQ  $Charge__size, SI
	INCQ  BX

next:
	CMPQ BX, n+16(FP)
	JLT  loop

done:
	MOVQ BX, ret+24(FP)
	RET

wide:
	// the same with half as many instructions (AVX-512 on 256 bits, which slows no processor down)
	NOTL         R12
	VPBROADCASTD R12, Y8
	NOTL         R12
	MOVL         $const_tagMask, AX
	VPBROADCASTD AX, Y9
	VPXOR        Y5, Y5, Y5
	MOVQ         Table_count(DI), R8
	JMP          wideNext

wideLoop:
	MOVQ         Charge_hash(SI), CX
	MOVQ         CX, AX
	MULQ         R9
	SHLQ         $6, DX
	ADDQ         R10, DX
	ANDL         R15, CX
	ORL          R13, CX
	VPBROADCASTD CX, Y0
	VPXOR        (DX), Y0, Y1
	VPXOR        32(DX), Y0, Y2
	VPTESTNMD    Y8, Y1, K1
	VPTESTNMD    Y8, Y2, K2
	KUNPCKBW     K1, K2, K1
	KMOVW        K1, AX
	TESTL        AX, AX
	JZ           wideStart

	LEAL       -1(AX), CX
	TESTL      CX, AX
	JNZ        wideDone
	BSFL       AX, AX
	MOVL       (DX)(AX*4), AX
	ANDL       R12, AX
	MOVL       AX, Charge_row(SI)
	SHLQ       $const_rowShift, AX
	PREFETCHT0 (R11)(AX*1)
	ADDQ       $Charge__size, SI
	INCQ       BX

wideNext:
	CMPQ BX, n+16(FP)
	JLT  wideLoop

wideDone:
	VZEROUPPER
	MOVQ R8, Table_count(DI)
	MOVQ BX, ret+24(FP)
	RET

wideStart:
	// no entry of this fingerprint: the first empty one, from the hash's lane on, is for the next free row
	VPTESTMD Y9, Y1, K1
	VPTESTMD Y9, Y2, K2
	KUNPCKBW K1, K2, K1
	KMOVW    K1, AX
	MOVQ     Charge_hash(SI), CX
	RORW     CX, AX
	BSFL     AX, AX
	JZ       wideDone                 // the line is full
	CMPQ     R8, (Table_rows+8)(DI)
	JGE      wideDone                 // the table is full
	ADDL     CX, AX
	ANDL     $(const_lanes-1), AX
	VMOVD    X0, CX
	ORL      R8, CX
	MOVL     CX, (DX)(AX*4)
	MOVL     R8, Charge_row(SI)

	// the row: its key, and zeros
	MOVQ    R8, AX
	SHLQ    $const_rowShift, AX
	VMOVDQU Charge_k0(SI), X3
	VMOVQ   Charge_control(SI), X4
	VMOVDQU X3, row_k0(R11)(AX*1)
	VMOVDQU X4, row_control(R11)(AX*1)
	VMOVDQU Y5, (row_first+8)(R11)(AX*1)
	INCQ    R8
	ADDQ    $Charge__size, SI
	INCQ    BX
	JMP     wideNext
