//go:build !race

#include "go_asm.h"
#include "textflag.h"

// func plainLines(s *shapes, carries *uint8, frames *[]byte, stride, n int, packets *IP) uint64
// Three loops, so that none waits for what it has just done: which shape each frame has; the packets; and, if there is one that is not
// plain after all, which.
TEXT ·plainLines(SB), NOSPLIT, $512-56
	MOVQ  s+0(FP), R8
	MOVQ  carries+8(FP), R9
	MOVQ  frames+16(FP), SI
	MOVQ  stride+24(FP), R10
	MOVQ  n+32(FP), R11
	MOVQ  packets+40(FP), DI
	MOVQ  $-1, R12
	BZHIQ R11, R12, R14 // a bit for each frame
	XORL  BX, BX
	VMOVDQU64 shapes_heads(R8), Z16
	VMOVDQU64 shapes_masks(R8), Z17

shapeLoop:
	MOVQ 0(SI), AX
	MOVQ 8(SI), CX
	CMPQ CX, $const_plainMin
	JLT  shapeless

	// the lowest head that the first eight bytes of the view match
	VPXORQ.BCST const_viewAt(AX), Z16, Z0
	VPTESTNMQ   Z17, Z0, K1
	KMOVB       K1, DX
	TZCNTL      DX, DX
	MOVQ        shapes_protoAt(R8)(DX*8), R15
	MOVBLZX     const_viewAt(AX)(R15*1), AX
	MOVBLZX     (R9)(AX*1), AX
	LEAQ        (AX)(DX*const_numCarried), AX
	SHLQ        $const_shapeShift, AX
	ADDQ        R8, AX
	CMPQ        CX, shape_min(AX)
	JLT         shapeless
	MOVQ        AX, of-512(SP)(BX*8)

shapeNext:
	ADDQ R10, SI
	INCQ BX
	CMPQ BX, R11
	JLT  shapeLoop

	// the packets, and of all of them together: bits of a fragment in X5, a length below the least as a sign in X6, the least
	// difference of a port from L2TP's in X7; all where an IP has its ports to its padding
	MOVQ     frames+16(FP), SI
	XORL     BX, BX
	MOVL     $const_view, R13
	VPXOR    X5, X5, X5
	VPXOR    X6, X6, X6
	VPCMPEQD X7, X7, X7
	VMOVDQU  shapes_ports(R8), X8

packetLoop:
	MOVQ       of-512(SP)(BX*8), DX
	TESTQ      DX, DX
	JEQ        packetNext
	MOVQ       0(SI), AX
	MOVQ       8(SI), CX
	SUBQ       $const_viewAt, CX // the view ends with the frame
	CMPQ       CX, R13
	CMOVQGT    R13, CX
	BZHIQ      CX, R12, CX
	KMOVQ      CX, K1
	VMOVDQU8.Z const_viewAt(AX), K1, Z0
	VMOVDQU64  shape_from(DX), Z1
	VPERMB     Z0, Z1, Z0
	VPANDQ     shape_keep(DX), Z0, Z0
	VPADDD     shape_add(DX), Z0, Z0
	VEXTRACTI32X4 $2, Z0, X2
	VMOVDQU    Y0, 0(DI)
	VMOVDQU    X2, 32(DI)

	VPORD       X2, X5, X5
	VPSUBD.BCST shape_low(DX), X2, X3
	VPORD       X3, X6, X6
	VPXOR       X8, X2, X4
	VPMINUW     X4, X7, X7

packetNext:
	ADDQ R10, SI
	ADDQ $const_ipSize, DI
	INCQ BX
	CMPQ BX, R11
	JLT  packetLoop

	VZEROUPPER
	VPEXTRW $((const_spareAt-32)/2), X5, AX
	TESTL   $const_fragmentBits, AX
	JNE     check
	VPEXTRD $((const_lengthAt-32)/4), X6, AX
	TESTL   AX, AX
	JLT     check
	VMOVD   X7, AX // both ports
	TESTW   AX, AX
	JEQ     check
	SHRL    $16, AX
	JEQ     check
	MOVQ    R14, ret+48(FP)
	RET

check:
	MOVQ packets+40(FP), DI
	XORL BX, BX

checkLoop:
	MOVQ  of-512(SP)(BX*8), DX
	TESTQ DX, DX
	JEQ   checkNext
	TESTW $const_fragmentBits, const_spareAt(DI)
	JNE   odd
	MOVL  const_lengthAt(DI), AX
	CMPL  AX, shape_low(DX)
	JLT   odd
	CMPW  const_srcPortAt(DI), $const_portL2TP
	JEQ   odd
	CMPW  const_dstPortAt(DI), $const_portL2TP
	JEQ   odd

checkNext:
	ADDQ $const_ipSize, DI
	INCQ BX
	CMPQ BX, R11
	JLT  checkLoop
	MOVQ R14, ret+48(FP)
	RET

odd:
	BTRQ BX, R14
	JMP  checkNext

shapeless:
	BTRQ BX, R14
	MOVQ $0, of-512(SP)(BX*8)
	JMP  shapeNext
