//go:build !race

#include "go_asm.h"
#include "textflag.h"

// func insertLines(s *Set, hashes *uint64, results *Result, n int) int
// A line's 16 entries are compared at once with SSE2, which every amd64 has. Insert is the same in Go.
TEXT ·insertLines(SB), NOSPLIT, $0-40
	MOVQ s+0(FP), DI
	MOVQ hashes+8(FP), SI
	MOVQ results+16(FP), R8
	MOVQ Set_lines(DI), R9
	MOVQ Set_homes(DI), R10
	MOVL Set_tag(DI), R11
	MOVQ Set_count(DI), R12
	MOVQ Set_limit(DI), R13
	XORL BX, BX
	CMPB Set_avx512(DI), $0
	JNE  wide
	PXOR X7, X7
	JMP  next

loop:
	// the line: top bits of the hash; the entry: tag and fingerprint
	MOVQ (SI)(BX*8), CX
	MOVQ CX, AX
	MULQ R10
	SHLQ $6, DX
	ADDQ R9, DX
	MOVQ CX, R15
	SHRQ $4, R15
	ANDL $0xffffff, R15
	ORL  R11, R15
	MOVL R15, X0
	PSHUFL $0, X0, X0

	// what differs between the entry and those of the line
	MOVOU (DX), X1
	MOVOU 16(DX), X2
	MOVOU 32(DX), X3
	MOVOU 48(DX), X4
	PXOR  X0, X1
	PXOR  X0, X2
	PXOR  X0, X3
	PXOR  X0, X4

	// nothing in one of them: seen
	MOVO     X1, X5
	PCMPEQL  X7, X5
	MOVO     X2, X6
	PCMPEQL  X7, X6
	POR      X6, X5
	MOVO     X3, X6
	PCMPEQL  X7, X6
	POR      X6, X5
	MOVO     X4, X6
	PCMPEQL  X7, X6
	POR      X6, X5
	PMOVMSKB X5, AX
	TESTL    AX, AX
	JZ       unseen
	MOVB     $const_Seen, (R8)(BX*1)
	INCQ     BX
	JMP      next

unseen:
	// one bit a lane whose tag is this one, then the first lane without, from the hash's on
	PSRLL    $const_tagShift, X1
	PSRLL    $const_tagShift, X2
	PSRLL    $const_tagShift, X3
	PSRLL    $const_tagShift, X4
	PCMPEQL  X7, X1
	PCMPEQL  X7, X2
	PCMPEQL  X7, X3
	PCMPEQL  X7, X4
	PACKSSLW X2, X1
	PACKSSLW X4, X3
	PACKSSWB X3, X1
	PMOVMSKB X1, AX
	XORL     $0xffff, AX
	JZ       done           // the line is full
	CMPQ     R12, R13
	JGE      full
	RORW     CX, AX
	BSFL     AX, AX
	ADDL     CX, AX
	ANDL     $15, AX
	MOVL     R15, (DX)(AX*4)
	INCQ     R12
	MOVB     $const_Added, (R8)(BX*1)
	INCQ     BX
	JMP      next

full:
	MOVB $const_Full, (R8)(BX*1)
	INCQ BX

next:
	CMPQ BX, n+24(FP)
	JLT  loop

done:
	MOVQ R12, Set_count(DI)
	MOVQ BX, ret+32(FP)
	RET

wide:
	// the same with half as many instructions (AVX-512 on 256 bits, which slows no processor down)
	MOVL         $const_tagMask, AX
	VPBROADCASTD AX, Y7
	JMP          wideNext

wideLoop:
	MOVQ         (SI)(BX*8), CX
	MOVQ         CX, AX
	MULQ         R10
	SHLQ         $6, DX
	ADDQ         R9, DX
	MOVQ         CX, R15
	SHRQ         $4, R15
	ANDL         $0xffffff, R15
	ORL          R11, R15
	VPBROADCASTD R15, Y0
	VPCMPEQD     (DX), Y0, K1
	VPCMPEQD     32(DX), Y0, K2
	KORTESTW     K1, K2
	JZ           wideUnseen
	MOVB         $const_Seen, (R8)(BX*1)
	INCQ         BX

wideNext:
	CMPQ BX, n+24(FP)
	JLT  wideLoop
	JMP  wideDone

wideUnseen:
	VPXOR     (DX), Y0, Y1
	VPXOR     32(DX), Y0, Y2
	VPTESTMD  Y7, Y1, K1
	VPTESTMD  Y7, Y2, K2
	KUNPCKBW  K1, K2, K1
	KMOVW     K1, AX
	TESTL     AX, AX
	JZ        wideDone       // the line is full
	CMPQ      R12, R13
	JGE       wideFull
	RORW      CX, AX
	BSFL      AX, AX
	ADDL      CX, AX
	ANDL      $15, AX
	MOVL      R15, (DX)(AX*4)
	INCQ      R12
	MOVB      $const_Added, (R8)(BX*1)
	INCQ      BX
	JMP       wideNext

wideFull:
	MOVB $const_Full, (R8)(BX*1)
	INCQ BX
	JMP  wideNext

wideDone:
	VZEROUPPER
	MOVQ R12, Set_count(DI)
	MOVQ BX, ret+32(FP)
	RET

// func prepareLines(s *Set, hashes *uint64, n int)
TEXT ·prepareLines(SB), NOSPLIT, $0-24
	MOVQ s+0(FP), DI
	MOVQ hashes+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ Set_lines(DI), R9
	MOVQ Set_homes(DI), R10
	TESTQ CX, CX
	JLE  done

loop:
	MOVQ       (SI), AX
	MULQ       R10
	SHLQ       $6, DX
	PREFETCHT0 (R9)(DX*1)
	ADDQ       $8, SI
	DECQ       CX
	JNZ        loop

done:
	RET
