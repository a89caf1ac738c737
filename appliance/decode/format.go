package decode

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/weir-ddos/weir/dataplane/pcapfile"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// packet is the JSON form. Every field is always there: without an IP header outer and inner are null, without ports these are 0.
type packet struct {
	// File is the capture's path, when several are decoded.
	File string `json:"file,omitempty"`
	// N counts the packets of one file from 1.
	N       int      `json:"n"`
	TS      string   `json:"ts"`
	WireLen uint32   `json:"wire_len"`
	CapLen  int      `json:"cap_len"`
	Code    string   `json:"code"`
	Layers  []string `json:"layers"`
	Outer   *address `json:"outer"`
	Inner   *address `json:"inner"`
	SrcPort uint16   `json:"src_port"`
	DstPort uint16   `json:"dst_port"`
	// TCPFlags is a letter for each flag that is set, in the order FSRPAUEC.
	TCPFlags string `json:"tcp_flags"`
	Fragment bool   `json:"fragment"`
}

// address is one IP header.
type address struct {
	Src   netip.Addr `json:"src"`
	Dst   netip.Addr `json:"dst"`
	Proto uint8      `json:"proto"`
	TTL   uint8      `json:"ttl"`
	// Length is the datagram's, as its header says.
	Length uint32 `json:"length"`
}

func (p *printer) object(path string, n int, rec pcapfile.Record, code wire.Code) error {
	o := packet{
		N: n, TS: time.Unix(0, rec.Time).UTC().Format(time.RFC3339Nano), WireLen: rec.WireLen, CapLen: len(rec.Data),
		Code: code.String(), Layers: layerNames(&p.headers),
	}
	if p.many {
		o.File = path
	}
	if code.Addressed() {
		in := p.headers.Inner()
		o.Outer, o.Inner = newAddress(&p.headers.Outer), newAddress(in)
		o.SrcPort, o.DstPort = in.SrcPort, in.DstPort
		o.TCPFlags = flagLetters(in.TCPFlags)
		o.Fragment = in.Fragment
	}
	b, err := json.Marshal(&o)
	if err != nil {
		return err
	}
	_, err = p.out.Write(append(b, '\n'))
	return err
}

func newAddress(ip *wire.IP) *address {
	return &address{Src: addr(ip, ip.Src), Dst: addr(ip, ip.Dst), Proto: ip.Proto, TTL: ip.TTL, Length: ip.Length}
}

// addr unmaps what the header's version says was IPv4; a mapped address in an IPv6 header stays what it is.
func addr(ip *wire.IP, a [16]byte) netip.Addr {
	if ip.Version == 4 {
		return netip.AddrFrom16(a).Unmap()
	}
	return netip.AddrFrom16(a)
}

func layerNames(h *wire.Headers) []string {
	names := make([]string, 0, 8)
	for _, l := range h.Layers() {
		names = append(names, l.String())
	}
	return names
}

const letters = "FSRPAUEC"

func flagLetters(f uint8) string {
	var b [8]byte
	n := 0
	for i := range len(letters) {
		if f>>i&1 != 0 {
			b[n] = letters[i]
			n++
		}
	}
	return string(b[:n])
}

// line prints the human form. Times have a fixed width; columns are as wide as IPv4 needs, longer ones push the rest.
func (p *printer) line(n int, rec pcapfile.Record, code wire.Code) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%6d %s %-19s %5d/%-5d ", n, time.Unix(0, rec.Time).UTC().Format("2006-01-02T15:04:05.000000000Z"), code,
		rec.WireLen, len(rec.Data))
	if code.Addressed() {
		in := p.headers.Inner()
		fmt.Fprintf(&b, "%21s > %-21s %-6s %-4s", endpoint(in, in.Src, in.SrcPort), endpoint(in, in.Dst, in.DstPort),
			protoName(in.Proto), flagLetters(in.TCPFlags))
		if in.Fragment {
			b.WriteString(" frag")
		} else {
			b.WriteString("     ")
		}
	} else {
		fmt.Fprintf(&b, "%21s   %-21s %-6s %-4s     ", "-", "-", "-", "")
	}
	b.WriteByte(' ')
	b.WriteString(strings.Join(layerNames(&p.headers), "/"))
	if code.Addressed() && p.headers.Depth() > 1 {
		out := &p.headers.Outer
		fmt.Fprintf(&b, " outer %s > %s", addr(out, out.Src), addr(out, out.Dst))
	}
	_, err := p.out.WriteString(strings.TrimRight(b.String(), " ") + "\n")
	return err
}

func endpoint(ip *wire.IP, a [16]byte, port uint16) string {
	if ip.HasPorts {
		return netip.AddrPortFrom(addr(ip, a), port).String()
	}
	return addr(ip, a).String()
}

func protoName(p uint8) string {
	switch p {
	case wire.ProtoICMP:
		return "icmp"
	case wire.ProtoTCP:
		return "tcp"
	case wire.ProtoUDP:
		return "udp"
	case wire.ProtoGRE:
		return "gre"
	case wire.ProtoESP:
		return "esp"
	case wire.ProtoICMPv6:
		return "icmpv6"
	case wire.ProtoSCTP:
		return "sctp"
	}
	return strconv.Itoa(int(p))
}
