//go:build linux

package afxdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// pass is what Options.Pass asks for.
type pass struct {
	arp, ndp, nonIP bool
	hosts4          [][4]byte
	hosts6          [][16]byte
	ports           []passPort
}

type passPort struct {
	proto uint8
	port  uint16
}

// parsePass reads the list, and reports every entry that it does not understand.
func parsePass(list []string) (pass, error) {
	var p pass
	var errs []error
	for _, entry := range list {
		if err := p.add(entry); err != nil {
			errs = append(errs, fmt.Errorf("%q: %w", entry, err))
		}
	}
	return p, errors.Join(errs...)
}

func (p *pass) add(entry string) error {
	kind, arg, _ := strings.Cut(entry, "/")
	switch {
	case entry == "arp":
		p.arp = true
	case entry == "ndp":
		p.ndp = true
	case entry == "non-ip":
		p.nonIP = true
	case kind == "host":
		a, err := netip.ParseAddr(arg)
		if err != nil || a.Zone() != "" {
			return errors.New("host/ is followed by one address")
		}
		if a = a.Unmap(); a.Is4() {
			p.hosts4 = append(p.hosts4, a.As4())
		} else {
			p.hosts6 = append(p.hosts6, a.As16())
		}
	case kind == "tcp" || kind == "udp":
		n, err := strconv.ParseUint(arg, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("%s/ is followed by a port, 1 to 65535", kind)
		}
		proto := uint8(unix.IPPROTO_TCP)
		if kind == "udp" {
			proto = unix.IPPROTO_UDP
		}
		p.ports = append(p.ports, passPort{proto, uint16(n)})
	default:
		return errors.New("is not arp, ndp, non-ip, host/ADDRESS, tcp/PORT or udp/PORT")
	}
	return nil
}

// empty reports whether nothing is passed.
func (p *pass) empty() bool {
	return !p.arp && !p.ndp && !p.nonIP && len(p.hosts4)+len(p.hosts6)+len(p.ports) == 0
}

// The layout of struct xdp_md (linux/bpf.h).
const (
	mdData    = 0
	mdDataEnd = 4
	mdQueue   = 16
)

// xdpPass is the action XDP_PASS: the kernel's stack gets the frame.
const xdpPass = 2

// Registers of the program. R1 to R5 do not survive a call, of which there is only the last.
const (
	ctx   = asm.R6 // struct xdp_md
	l3    = asm.R7 // the network header
	start = asm.R2 // the frame
	end   = asm.R3 // behind its last byte
	try   = asm.R4 // a pointer whose bounds are being checked
	etype = asm.R5 // the innermost ethertype, as on the wire
	tmp   = asm.R1
	tmp2  = asm.R0
	l4    = asm.R8 // the transport header
	proto = asm.R9
)

// The program's labels.
const (
	toSocket = "socket"
	toKernel = "kernel"
)

// instructions are the XDP program: leave to the kernel what p says, redirect the rest to the socket of the frame's
// queue, and do orElse with frames of a queue without a socket (xdpPass but in tests).
//
// A frame that is too short to be judged is redirected, so that it is counted.
func (p *pass) instructions(socketsFD int, orElse int32) asm.Instructions {
	insns := asm.Instructions{asm.Mov.Reg(ctx, asm.R1)}
	if !p.empty() {
		insns = append(insns, p.link()...)
		insns = append(insns, p.ipv4()...)
		insns = append(insns, p.ipv6()...)
		insns = append(insns, p.transport()...)
	}
	insns = append(insns,
		asm.LoadMapPtr(asm.R1, socketsFD).WithSymbol(toSocket),
		asm.LoadMem(asm.R2, ctx, mdQueue, asm.Word),
		asm.Mov.Imm(asm.R3, orElse),
		asm.FnRedirectMap.Call(),
		asm.Return(),
	)
	if !p.empty() {
		insns = append(insns, asm.Mov.Imm(asm.R0, xdpPass).WithSymbol(toKernel), asm.Return())
	}
	return insns
}

// need checks that n bytes behind from are inside the frame, else the frame goes to the socket.
func need(from asm.Register, n int32) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(try, from), asm.Add.Imm(try, n), asm.JGT.Reg(try, end, toSocket),
	}
}

// link finds the network header behind up to two VLAN tags.
func (p *pass) link() asm.Instructions {
	insns := asm.Instructions{
		asm.LoadMem(start, ctx, mdData, asm.Word),
		asm.LoadMem(end, ctx, mdDataEnd, asm.Word),
	}
	insns = append(insns, need(start, 14)...)
	insns = append(insns,
		asm.LoadMem(etype, start, 12, asm.Half),
		asm.Mov.Reg(l3, start), asm.Add.Imm(l3, 14))
	for depth := range 2 {
		tag, done := fmt.Sprint("tag", depth), "untagged"
		insns = append(insns,
			asm.JEq.Imm(etype, net16(unix.ETH_P_8021Q), tag),
			asm.JNE.Imm(etype, net16(unix.ETH_P_8021AD), done))
		body := need(l3, 4)
		body[0] = body[0].WithSymbol(tag)
		insns = append(insns, body...)
		insns = append(insns, asm.LoadMem(etype, l3, 2, asm.Half), asm.Add.Imm(l3, 4))
	}
	insns = append(insns,
		asm.JEq.Imm(etype, net16(unix.ETH_P_IP), "ipv4").WithSymbol("untagged"),
		asm.JEq.Imm(etype, net16(unix.ETH_P_IPV6), "ipv6"))
	switch {
	case p.nonIP:
		return append(insns, asm.Ja.Label(toKernel))
	case p.arp:
		insns = append(insns, asm.JEq.Imm(etype, net16(unix.ETH_P_ARP), toKernel))
	}
	return append(insns, asm.Ja.Label(toSocket))
}

func (p *pass) ipv4() asm.Instructions {
	insns := need(l3, 20)
	insns[0] = insns[0].WithSymbol("ipv4")
	if len(p.hosts4) > 0 {
		insns = append(insns, asm.LoadMem(tmp, l3, 16, asm.Word))
		for _, h := range p.hosts4 {
			insns = append(insns, asm.JEq.Imm32(tmp, int32(binary.NativeEndian.Uint32(h[:])), toKernel))
		}
	}
	return append(insns,
		asm.LoadMem(tmp, l3, 6, asm.Half), // later fragments have no ports
		asm.And.Imm(tmp, net16(0x1fff)),
		asm.JNE.Imm(tmp, 0, toSocket),
		asm.LoadMem(proto, l3, 9, asm.Byte),
		asm.LoadMem(l4, l3, 0, asm.Byte), // header length in words
		asm.And.Imm(l4, 0x0f),
		asm.LSh.Imm(l4, 2),
		asm.Add.Reg(l4, l3),
		asm.Ja.Label("transport"))
}

// ipv6 does not look behind extension headers: what the host itself speaks has none.
func (p *pass) ipv6() asm.Instructions {
	insns := need(l3, 40)
	insns[0] = insns[0].WithSymbol("ipv6")
	for i, h := range p.hosts6 {
		next := fmt.Sprint("host", i)
		insns = append(insns,
			asm.LoadMem(tmp, l3, 24, asm.DWord),
			asm.LoadImm(tmp2, int64(binary.NativeEndian.Uint64(h[:8])), asm.DWord),
			asm.JNE.Reg(tmp, tmp2, next),
			asm.LoadMem(tmp, l3, 32, asm.DWord),
			asm.LoadImm(tmp2, int64(binary.NativeEndian.Uint64(h[8:])), asm.DWord),
			asm.JEq.Reg(tmp, tmp2, toKernel),
			asm.Mov.Reg(tmp, l3).WithSymbol(next)) // a place for the label
	}
	insns = append(insns,
		asm.LoadMem(proto, l3, 6, asm.Byte),
		asm.Mov.Reg(l4, l3), asm.Add.Imm(l4, 40))
	if !p.ndp {
		return insns
	}
	insns = append(insns, asm.JNE.Imm(proto, unix.IPPROTO_ICMPV6, "transport"))
	insns = append(insns, need(l4, 1)...)
	return append(insns,
		asm.LoadMem(tmp, l4, 0, asm.Byte),
		asm.JLT.Imm(tmp, 133, toSocket), // RFC 4861: router solicitation 133 to redirect 137
		asm.JLE.Imm(tmp, 137, toKernel),
		asm.Ja.Label(toSocket))
}

func (p *pass) transport() asm.Instructions {
	if len(p.ports) == 0 {
		return asm.Instructions{asm.Ja.Label(toSocket).WithSymbol("transport")}
	}
	insns := need(l4, 4)
	insns[0] = insns[0].WithSymbol("transport")
	insns = append(insns,
		asm.LoadMem(tmp, l4, 0, asm.Half),
		asm.LoadMem(tmp2, l4, 2, asm.Half))
	for i, port := range p.ports {
		next := fmt.Sprint("port", i)
		insns = append(insns,
			asm.JNE.Imm(proto, int32(port.proto), next),
			asm.JEq.Imm(tmp, net16(port.port), toKernel),
			asm.JEq.Imm(tmp2, net16(port.port), toKernel),
			asm.Mov.Reg(l4, l4).WithSymbol(next))
	}
	return append(insns, asm.Ja.Label(toSocket))
}

// net16 is how a 16-bit load in host order sees v on the wire.
func net16(v uint16) int32 {
	return int32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)))
}

// load gives the program to the kernel.
func (p *pass) load(sockets *ebpf.Map, orElse int32) (*ebpf.Program, error) {
	return loadProgram(&ebpf.ProgramSpec{Name: "weir_afxdp", Instructions: p.instructions(sockets.FD(), orElse)})
}

// loadProgram gives a program to the kernel, which verifies it.
func loadProgram(spec *ebpf.ProgramSpec) (*ebpf.Program, error) {
	spec.Type, spec.License = ebpf.XDP, "Apache-2.0"
	prog, err := ebpf.NewProgram(spec)
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("load XDP program: %w (CAP_BPF and CAP_NET_ADMIN are needed)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("load XDP program: %w", err)
	}
	return prog, nil
}
