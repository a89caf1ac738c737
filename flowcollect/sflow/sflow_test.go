package sflow

import (
	"testing"

	"github.com/weir-ddos/weir/dataplane/packetbuild"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/record"
)

// expanded is an expanded flow sample with these interfaces (format, value).
func expanded(in, out [2]uint32, items ...x) x {
	b := xdr(9, 0, 329380, 1023, 1<<20, 0, in[0], in[1], out[0], out[1], len(items))
	for _, it := range items {
		b = append(b, it...)
	}
	return item(3, b)
}

func discard(reason int, items ...x) x {
	b := xdr(2, 0, 1, 256, 1, 2, reason, len(items))
	for _, it := range items {
		b = append(b, it...)
	}
	return item(5, b)
}

func TestPackets(t *testing.T) {
	t.Parallel()
	v4, v6 := udp4(100), tcp6(1000)
	ip4, ip6 := v4[14:], v6[14:128]
	vlanMPLS := packetbuild.Ether().VLAN(7).MPLS(16000, 99).IPv4("10.0.0.1", "192.168.1.9").UDP(1234, 53).Payload(900).Bytes()
	arp := packetbuild.Ether().ARP().Bytes()
	fields4 := item(3, fields4(84, 17, "10.0.0.1", "192.168.1.9", 1234, 53, 0, 0x48))
	fields6 := item(4, 100, 6, bare("2001:db8::1"), bare("2001:db8::2"), 2222, 443, 2, 0x48)
	ethernet := item(2, 146, x{2, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0}, 0x0800)
	type want struct {
		bytes uint64
		l2    uint64
		kind  record.Kind
		addr  string // 4, 6 or none
		vlan  uint16
		label uint32
		tos   uint8
		code  record.Code
	}
	for _, c := range []struct {
		name  string
		cfg   Config
		items []x
		want  want
	}{
		{"ethernet ipv4", Config{}, []x{raw(v4)}, want{bytes: 146, l2: 146, kind: record.Section, addr: "4"}},
		{"ethernet ipv6, cut", Config{}, []x{raw(v6)}, want{bytes: 1078, l2: 1078, kind: record.Section, addr: "6"}},
		{"without fcs", Config{Bytes: FrameWithoutFCS}, []x{raw(v6)}, want{bytes: 1074, l2: 1078, kind: record.Section, addr: "6"}},
		{"no fcs stripped", Config{Bytes: FrameWithoutFCS}, []x{item(1, 1, 142, 0, v4)}, want{bytes: 142, l2: 142, kind: record.Section, addr: "4"}},
		{"ip length 4", Config{Bytes: IPLength}, []x{raw(v4)}, want{bytes: 128, l2: 146, kind: record.Section, addr: "4"}},
		{"ip length 6 with a wrong frame length", Config{Bytes: IPLength}, []x{item(1, 1, 64, 4, v6[:128])}, want{bytes: 1060, l2: 64, kind: record.Section, addr: "6"}},
		{"header protocol 11", Config{}, []x{item(1, 11, 128, 0, ip4)}, want{bytes: 128, kind: record.Section, addr: "4"}},
		{"header protocol 12", Config{}, []x{item(1, 12, 1060, 0, ip6)}, want{bytes: 1060, kind: record.Section, addr: "6"}},
		{"header protocol 7, ipv4", Config{}, []x{item(1, 7, 132, 0, append([]byte{0xff, 3, 0, 0x21}, ip4...))}, want{bytes: 132, l2: 132, kind: record.Section, addr: "4"}},
		{"header protocol 7, ipv6", Config{}, []x{item(1, 7, 1062, 0, append([]byte{0, 0x57}, ip6...))}, want{bytes: 1062, l2: 1062, kind: record.Section, addr: "6"}},
		{"header protocol 14", Config{}, []x{item(1, 14, 132, 0, append([]byte{0xff, 3, 0, 0x21}, ip4...))}, want{bytes: 132, l2: 132, kind: record.Section, addr: "4"}},
		{"header protocol 13", Config{}, []x{item(1, 13, 136, 0, append([]byte{0, 1, 0, 0, 0, 2, 1, 9}, ip4...))}, want{bytes: 136, l2: 136, kind: record.Section, addr: "4"}},
		{"header protocol 13, ipv6", Config{}, []x{item(1, 13, 1064, 0, append([]byte{0, 2, 1, 9}, ip6...))}, want{bytes: 1064, l2: 1064, kind: record.Section, addr: "6"}},
		{"header protocol 0, ethernet", Config{}, []x{item(1, 0, 142, 0, v4)}, want{bytes: 142, l2: 142, kind: record.Section, addr: "4"}},
		{"header protocol 0, ipv4", Config{}, []x{item(1, 0, 128, 0, ip4)}, want{bytes: 128, l2: 128, kind: record.Section, addr: "4"}},
		{"header protocol 0, ipv6", Config{}, []x{item(1, 0, 1060, 0, ip6)}, want{bytes: 1060, l2: 1060, kind: record.Section, addr: "6"}},
		{"header protocol 2", Config{}, []x{item(1, 2, 142, 0, v4)}, want{bytes: 142, l2: 142, kind: record.Section, code: record.UnknownHeaderProtocol}},
		{"vlan and mpls", Config{}, []x{raw(vlanMPLS)}, want{bytes: uint64(len(vlanMPLS)) + 4, l2: uint64(len(vlanMPLS)) + 4, kind: record.Section, addr: "4", vlan: 7, label: 16000}},
		{"switch item beats the tag", Config{}, []x{raw(vlanMPLS), item(1001, 5, 0, 6, 0)}, want{bytes: uint64(len(vlanMPLS)) + 4, l2: uint64(len(vlanMPLS)) + 4, kind: record.Section, addr: "4", vlan: 5, label: 16000}},
		{"arp", Config{}, []x{raw(arp)}, want{bytes: uint64(len(arp)) + 4, l2: uint64(len(arp)) + 4, kind: record.Section}},
		{"bogus ethertype", Config{}, []x{item(1, 1, 142, 0, append(append(make([]byte, 12), 0x12, 0x34), v4[14:]...))}, want{bytes: 142, l2: 142, kind: record.Section, code: record.SectionUnreadable}},
		{"header cut in the ip header", Config{}, []x{item(1, 1, 142, 0, v4[:30])}, want{bytes: 142, l2: 142, kind: record.Section, code: record.SectionUnreadable}},
		{"empty header", Config{}, []x{item(1, 1, 142, 0, []byte{})}, want{bytes: 142, l2: 142, kind: record.Section, code: record.SectionUnreadable}},
		{"empty header, protocol 0", Config{}, []x{item(1, 0, 142, 0, []byte{})}, want{bytes: 142, l2: 142, kind: record.Section, code: record.SectionUnreadable}},
		{"header longer than its item", Config{}, []x{item(1, 1, 142, 4, 200, x(v4[:100]))}, want{bytes: 142, l2: 142, kind: record.Section, addr: "4", code: record.TruncatedItem}},
		{"sampled ipv4", Config{}, []x{fields4}, want{bytes: 84, addr: "4", tos: 0x48}},
		{"sampled ipv6", Config{}, []x{fields6}, want{bytes: 100, addr: "6", tos: 0x48}},
		{"sampled ipv4 with ip length", Config{Bytes: IPLength}, []x{ethernet, fields4}, want{bytes: 84, l2: 146, addr: "4", tos: 0x48}},
		{"sampled ipv4 cut", Config{}, []x{fields4[:len(fields4)-4]}, want{kind: record.Section, code: record.TruncatedItem}},
		{"ethernet only", Config{}, []x{ethernet}, want{bytes: 146, l2: 146, kind: record.Section}},
		{"nothing about the packet", Config{}, []x{item(1001, 5, 0, 6, 0)}, want{kind: record.Section, vlan: 5}},
		{"raw, ethernet and ipv4 together are one packet", Config{}, []x{ethernet, fields4, raw(v4)}, want{bytes: 146, l2: 146, kind: record.Section, addr: "4"}},
		{"unreadable header, fields beside it", Config{}, []x{item(1, 1, 142, 0, v4[:30]), fields4}, want{bytes: 142, l2: 142, addr: "4", tos: 0x48, code: record.SectionUnreadable}},
		{"unknown items around it", Config{}, []x{item(5<<12|1, 1, 2, 3), raw(v4), item(999), item(1036, 4), item(2100, 0)}, want{bytes: 146, l2: 146, kind: record.Section, addr: "4"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := decode(c.cfg, v5(flow(c.items...)))
			r := one(t, got)
			w := c.want
			if got.code != w.code || r.Bytes != w.bytes || r.L2Bytes != w.l2 || r.Kind != w.kind || r.SrcVLAN != w.vlan || r.MPLSLabel != w.label || r.TOS != w.tos {
				t.Errorf("code %v, %+v\nwant %+v", got.code, r, w)
			}
			if r.Packets != 1 || r.SamplingRate != 512 || r.Protocol != record.SFlow5 || r.Domain != 7 || r.Agent != addr("192.0.2.1") || got.st.Records != 1 {
				t.Errorf("%+v", r)
			}
			checkAddresses(t, &r, w.addr)
		})
	}
}

// checkAddresses expects udp4's or tcp6's packet, or none.
func checkAddresses(t *testing.T, r *record.Record, which string) {
	t.Helper()
	const all = record.HasSrc | record.HasDst | record.HasProto | record.HasPorts
	var want record.Record
	switch which {
	case "4":
		want = record.Record{Src: addr("10.0.0.1"), Dst: addr("192.168.1.9"), SrcPort: 1234, DstPort: 53, Proto: 17, Has: all}
	case "6":
		want = record.Record{Src: addr("2001:db8::1"), Dst: addr("2001:db8::2"), SrcPort: 2222, DstPort: 443, Proto: 6, TCPFlags: wire.FlagSYN, Has: all | record.HasFlags}
	}
	got := record.Record{Src: r.Src, Dst: r.Dst, SrcPort: r.SrcPort, DstPort: r.DstPort, Proto: r.Proto, TCPFlags: r.TCPFlags, Has: r.Has & (all | record.HasFlags)}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if which == "6" && r.Class() != traffic.ClassTCPSYN {
		t.Errorf("class %v", r.Class())
	}
}

// TestTunnels: raw headers go through wire's settings, and so does a tunnel that the exporter ended before it sampled.
func TestTunnels(t *testing.T) {
	t.Parallel()
	inHeader4 := raw(packetbuild.Ether().IPv4("203.0.113.1", "203.0.113.2").UDP(4000, 4789).VXLAN(5).Ether().IPv6("2001:db8::1", "2001:db8::2").TCP(2222, 443, 2).Payload(9).Bytes())
	inHeader6 := raw(packetbuild.Ether().IPv6("2001:db8:f::1", "2001:db8:f::2").GRE().IPv4("10.0.0.1", "192.168.1.9").UDP(1234, 53).Payload(9).Bytes())
	tunnel4 := item(1024, fields4(150, 17, "203.0.113.1", "203.0.113.2", 4000, 4789, 0, 0))
	tunnel6 := item(1026, 150, 47, bare("2001:db8:f::1"), bare("2001:db8:f::2"), 0, 0, 0, 0)
	toCome := item(1023, fields4(150, 17, "203.0.113.1", "203.0.113.2", 4000, 4789, 0, 0))
	outer := map[bool]string{false: "203.0.113.2", true: "2001:db8:f::2"}
	inner := map[bool]string{false: "2001:db8::2", true: "192.168.1.9"}
	for _, c := range []struct {
		name  string
		items []x
		six   bool // the outer header
	}{
		{"in the header, vxlan over ipv4", []x{inHeader4}, false},
		{"in the header, gre over ipv6", []x{inHeader6}, true},
		{"ended before, vxlan over ipv4", []x{tunnel4, raw(tcp6(9))}, false},
		{"ended before, gre over ipv6", []x{raw(udp4(9)), tunnel6}, true},
	} {
		for charge, want := range map[wire.Charge][]string{wire.ChargeOuter: {outer[c.six]}, wire.ChargeInner: {inner[c.six]}, wire.ChargeBoth: {outer[c.six], inner[c.six]}} {
			var cfg Config
			cfg.Wire.Charge[wire.TunnelVXLAN], cfg.Wire.Charge[wire.TunnelGRE] = charge, charge
			got := decode(cfg, v5(flow(c.items...)))
			if len(got.records) != len(want) || got.st.Records != 1 || got.code != record.OK {
				t.Fatalf("%s, charge %d: code %v, %d records", c.name, charge, got.code, len(got.records))
			}
			for i, r := range got.records {
				if r.Dst != addr(want[i]) || r.Kind != []record.Kind{record.Section, record.SectionTunnel}[i] || r.Bytes != got.records[0].Bytes || r.SamplingRate != 512 {
					t.Errorf("%s, charge %d: record %d is %+v", c.name, charge, i, r)
				}
			}
		}
	}
	if r := one(t, decode(Config{}, v5(flow(toCome, raw(tcp6(9)))))); r.Dst != addr("2001:db8::2") {
		t.Errorf("a tunnel that begins behind the sampler counts: %+v", r)
	}
	if r := one(t, decode(Config{}, v5(flow(tunnel4)))); r.Dst != addr("203.0.113.2") {
		t.Errorf("only the tunnel is known: %+v", r)
	}
}

func TestTunnelKind(t *testing.T) {
	t.Parallel()
	four := func(proto, port int) x { return fields4(0, proto, "10.0.0.1", "10.0.0.2", 1, port, 0, 0) }
	six := func(proto, port int) x { return xdr(0, proto, bare("::1"), bare("::2"), 1, port, 0, 0) }
	for _, c := range []struct {
		b    x
		want wire.Tunnel
		ok   bool
	}{
		{four(47, 0), wire.TunnelGRE, true},
		{six(47, 0), wire.TunnelGRE, true},
		{four(4, 0), wire.TunnelIPIP, true},
		{four(41, 0), wire.TunnelSIT, true},
		{six(4, 0), wire.Tunnel4in6, true},
		{six(41, 0), wire.Tunnel4in6, true},
		{four(17, 4789), wire.TunnelVXLAN, true},
		{six(17, 4789), wire.TunnelVXLAN, true},
		{four(17, 6081), wire.TunnelGeneve, true},
		{six(17, 2152), wire.TunnelGTPU, true},
		{four(17, 6635), wire.TunnelMPLSUDP, true},
		{four(17, 3544), wire.TunnelTeredo, true},
		{four(17, 53), 0, false},
		{six(6, 4789), 0, false},
	} {
		if got, ok := tunnelKind(c.b); got != c.want || ok != c.ok {
			t.Errorf("%x: %v, %v, want %v, %v", c.b, got, ok, c.want, c.ok)
		}
	}
}

func TestInterfacesAndDiscards(t *testing.T) {
	t.Parallel()
	p := raw(udp4(100))
	compactOut := func(out uint32) x { return item(1, 1, 2<<24|3, 512, 1, 0, 3, out, 1, p) }
	for _, c := range []struct {
		name      string
		sample    x
		in, out   uint32
		sampleOut Interface
		dropped   bool
		status    uint8
		direction record.Direction
		sampler   uint64
	}{
		{"ifIndex", compactOut(7), 3, 7, Interface{Index, 7}, false, 0, 0, 2<<32 | 3},
		{"unknown", compactOut(0), 3, 0, Interface{Index, 0}, false, 0, 0, 2<<32 | 3},
		{"internal", compactOut(Internal), 3, 0, Interface{Index, Internal}, false, 0, 0, 2<<32 | 3},
		{"discarded, unknown reason", compactOut(1<<30 | 256), 3, 0, Interface{Discarded, 256}, true, 128, 0, 2<<32 | 3},
		{"discarded by ACL", compactOut(1<<30 | 258), 3, 0, Interface{Discarded, 258}, true, 129, 0, 2<<32 | 3},
		{"multiple", compactOut(2<<30 | 5), 3, 0, Interface{Multiple, 5}, false, 0, 0, 2<<32 | 3},
		{"expanded ingress", expanded([2]uint32{0, 329380}, [2]uint32{0, 329387}, p), 329380, 329387, Interface{Index, 329387}, false, 0, record.Ingress, 329380},
		{"expanded egress", expanded([2]uint32{0, 5}, [2]uint32{0, 329380}, p), 5, 329380, Interface{Index, 329380}, false, 0, record.Egress, 329380},
		{"expanded elsewhere", expanded([2]uint32{0, 5}, [2]uint32{0, 6}, p), 5, 6, Interface{Index, 6}, false, 0, 0, 329380},
		{"expanded discarded", expanded([2]uint32{0, 5}, [2]uint32{1, 261}, p), 5, 0, Interface{Discarded, 261}, true, 138, 0, 329380},
		{"expanded multiple", expanded([2]uint32{0, 5}, [2]uint32{2, 4}, p), 5, 0, Interface{Multiple, 4}, false, 0, 0, 329380},
		{"expanded internal", expanded([2]uint32{0, 5}, [2]uint32{0, InternalExpanded}, p), 5, 0, Interface{Index, InternalExpanded}, false, 0, 0, 329380},
		{"expanded internal, as in compact samples", expanded([2]uint32{0, 5}, [2]uint32{0, Internal}, p), 5, 0, Interface{Index, Internal}, false, 0, 0, 329380},
		{"input of no format", expanded([2]uint32{1, 5}, [2]uint32{0, 7}, p), 0, 7, Interface{Index, 7}, false, 0, 0, 329380},
		{"expanded of no known format", expanded([2]uint32{0, 5}, [2]uint32{1 << 20, 4}, p), 5, 0, Interface{255, 4}, false, 0, 0, 329380},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := decode(Config{}, v5(c.sample))
			r := one(t, got)
			if r.Input != c.in || r.Output != c.out || r.Dropped != c.dropped || r.ForwardingStatus != c.status || r.Direction != c.direction ||
				r.SamplerID != c.sampler || got.samples[0].Output != c.sampleOut {
				t.Errorf("%+v\n%+v", r, got.samples[0])
			}
			if (r.Has&record.HasInput != 0) != (c.in != 0) || (r.Has&record.HasOutput != 0) != (c.out != 0) || (r.Has&record.HasForwarding != 0) != c.dropped {
				t.Errorf("has %b", r.Has)
			}
		})
	}
	for _, p := range []x{raw(udp4(100)), raw(tcp6(100))} {
		got := decode(Config{}, v5(discard(257, p, item(1037, 42, []byte("acl!"))), flow(p)))
		if len(got.records) != 2 || got.st.Records != 1 || got.st.DiscardSamples != 1 || got.code != record.OK {
			t.Fatalf("code %v, %+v", got.code, got.st)
		}
		r := got.records[0]
		if r.Kind != record.Discard || !r.Dropped || r.ForwardingStatus != 137 || r.Packets != 1 || r.SamplingRate != 1 || r.Input != 1 || r.Output != 2 || !r.Traffic() || r.Bytes == 0 {
			t.Errorf("%+v", r)
		}
		if s := got.samples[0]; s.Reason != 257 || s.Drops != 256 || s.Rate != 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestForwardingStatus(t *testing.T) {
	t.Parallel()
	for reason, want := range map[uint32]uint8{0: 131, 1: 131, 4: 133, 13: 129, 255: 128, 256: 128, 257: 137, 258: 129, 259: 128, 260: 139, 261: 138, 262: 133, 1 << 31: 128} {
		if got := forwardingStatus(reason); got != want {
			t.Errorf("reason %d: %d, want %d", reason, got, want)
		}
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	p := raw(udp4(9))
	for _, c := range []struct {
		name     string
		items    []x
		hop      string
		masks    [2]uint8
		src, dst uint32
		code     record.Code
	}{
		{"router 4", []x{item(1002, "172.16.0.1", 24, 16)}, "172.16.0.1", [2]uint8{24, 16}, 0, 0, record.OK},
		{"router 6", []x{item(1002, "2001:db8:1::1", 64, 48)}, "2001:db8:1::1", [2]uint8{64, 48}, 0, 0, record.OK},
		{"router with unknown masks", []x{item(1002, "172.16.0.1", -1, -1)}, "172.16.0.1", [2]uint8{}, 0, 0, record.OK},
		{"router without address", []x{item(1002, 0, 24, 16)}, "", [2]uint8{24, 16}, 0, 0, record.OK},
		{"router with an address of no type", []x{item(1002, 7, 24, 16), p}, "", [2]uint8{}, 0, 0, record.BadAddressType},
		{"router cut", []x{item(1002, "172.16.0.1", 24)}, "", [2]uint8{}, 0, 0, record.TruncatedItem},
		{"gateway 4", []x{item(1003, "172.16.0.2", 65000, 65001, 65002, 2, 2, 2, 65010, 65011, 1, 1, 65012, 1, 7, 100)}, "172.16.0.2", [2]uint8{}, 65001, 65012, record.OK},
		{"gateway 6, empty path", []x{item(1003, "2001:db8:1::2", 65000, 65001, 65002, 0, 0, 100)}, "2001:db8:1::2", [2]uint8{}, 65001, 65000, record.OK},
		{"router and gateway", []x{item(1003, "172.16.0.2", 1, 2, 3, 0, 0, 100), item(1002, "172.16.0.1", 24, 16)}, "172.16.0.1", [2]uint8{24, 16}, 2, 1, record.OK},
		{"gateway with an endless path", []x{item(1003, "172.16.0.2", 1, 2, 3, -1, 2, 0)}, "172.16.0.2", [2]uint8{}, 0, 0, record.TruncatedItem},
		{"gateway cut in its address", []x{item(1003, 2, 5)}, "", [2]uint8{}, 0, 0, record.TruncatedItem},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := decode(Config{}, v5(flow(append(c.items, p)...)))
			r := one(t, got)
			var hop [16]byte
			if c.hop != "" {
				hop = addr(c.hop)
			}
			if got.code != c.code || r.NextHop != hop || r.SrcMask != c.masks[0] || r.DstMask != c.masks[1] || r.SrcAS != c.src || r.DstAS != c.dst || !r.Traffic() {
				t.Errorf("code %v, %+v", got.code, r)
			}
		})
	}
}

func TestDatagrams(t *testing.T) {
	t.Parallel()
	good := flow(raw(udp4(100)))
	lying := append(x{}, good...)
	lying[6]++ // its length reaches behind the datagram
	huge := append(x{}, good...)
	copy(huge[4:8], []byte{0xff, 0xff, 0xff, 0xff})
	header := func(n int) x { return xdr(5, "192.0.2.1", 7, 100, 123456, n) }
	for _, c := range []struct {
		name     string
		b        x
		code     record.Code
		counted  record.Code
		records  int
		counters uint64
	}{
		{"empty", nil, record.ShortDatagram, record.ShortDatagram, 0, 0},
		{"version 3", xdr(3, "192.0.2.1"), record.BadVersion, record.BadVersion, 0, 0},
		{"netflow", xdr(9<<16|1, 0, 0, 0, 0), record.BadVersion, record.BadVersion, 0, 0},
		{"agent of no type", xdr(5, 3, 1, 2, 3, 4), record.BadAddressType, record.BadAddressType, 0, 0},
		{"unknown agent", xdr(5, 0, 7, 100, 1, 1, good), record.OK, record.OK, 1, 0},
		{"agent 6", xdr(5, "2001:db8::9", 7, 100, 1, 1, good), record.OK, record.OK, 1, 0},
		{"cut agent", xdr(5, 2, 1, 2, 3), record.ShortDatagram, record.ShortDatagram, 0, 0},
		{"cut header", header(1)[:20], record.ShortDatagram, record.ShortDatagram, 0, 0},
		{"no samples", header(0), record.OK, record.OK, 0, 0},
		{"all kinds", xdr(header(5), good, item(2, 1, 3, 1, item(1, generic)), item(4, 1, 0, 3, 2, item(2, ints(13)), item(1, generic)), discard(0), good), record.OK, record.OK, 3, 2},
		{"enterprise sample", xdr(header(2), item(8800<<12|1, 1, 2, 3), good), record.OK, record.UnknownSample, 1, 0},
		{"unknown sample", xdr(header(2), item(6), good), record.OK, record.UnknownSample, 1, 0},
		{"counts more than there are", xdr(header(3), good), record.CountLies, record.CountLies, 1, 0},
		{"counts fewer", xdr(header(1), good, good), record.OK, record.TrailingBytes, 1, 0},
		{"sample behind the end", xdr(header(2), good, lying), record.TruncatedSample, record.TruncatedSample, 2, 0},
		{"sample of 4 GB", xdr(header(1), huge), record.TruncatedSample, record.TruncatedSample, 1, 0},
		{"cut in the sample's own fields", xdr(header(1), item(1, 1, 3, 512), good), record.TruncatedItem, record.TruncatedItem, 0, 0},
		{"cut expanded", xdr(header(2), item(3, 1, 0, 3, 512), good), record.TruncatedItem, record.TruncatedItem, 1, 0},
		{"cut discard", xdr(header(2), item(5, 1, 0, 3), good), record.TruncatedItem, record.TruncatedItem, 1, 0},
		{"cut counters", xdr(header(2), item(2, 1, 3), good), record.TruncatedItem, record.TruncatedItem, 1, 0},
		{"short counter block", xdr(header(2), item(2, 1, 3, 2, item(1, generic[:84]), item(1, generic)), good), record.TruncatedItem, record.TruncatedItem, 1, 1},
		{"counter item behind its sample", xdr(header(2), item(4, 1, 0, 3, 1, 1, 200, generic), good), record.TruncatedItem, record.TruncatedItem, 1, 1},
		{"items without end", xdr(header(2), item(1, 1, 3, 512, 0, 0, 3, 7, -1, raw(udp4(9))), good), record.TruncatedItem, record.TruncatedItem, 2, 0},
		{"item behind its sample", xdr(header(2), item(1, 1, 3, 512, 0, 0, 3, 7, 1, 1, 5000, 1, 142, 4, udp4(9)), good), record.TruncatedItem, record.TruncatedItem, 2, 0},
		{"sample without items", xdr(header(1), flow()), record.OK, record.OK, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sink counterSink
			got := decodeWith(New(Config{}, &sink), c.b)
			if got.code != c.code || got.st.Codes[c.counted] == 0 || len(got.records) != c.records || got.st.CounterSamples != c.counters {
				t.Errorf("code %v, %d records, %d counter samples, %v", got.code, len(got.records), got.st.CounterSamples, codes(&got.st))
			}
			if got.st.Datagrams != 1 {
				t.Errorf("%d datagrams", got.st.Datagrams)
			}
		})
	}
}

func TestUnknownRate(t *testing.T) {
	t.Parallel()
	got := decode(Config{}, v5(item(1, 1, 3, 0, 0, 0, 3, 7, 1, raw(tcp6(9)))))
	if r := one(t, got); r.SamplingRate != 0 || r.RateFrom != record.RateUnknown || got.st.UnknownRate != 1 {
		t.Errorf("%+v", r)
	}
}

func TestHeaderCodes(t *testing.T) {
	t.Parallel()
	d := New(Config{}, nil)
	decodeWith(d, v5(flow(raw(udp4(9))), flow(raw(tcp6(1000))), flow(raw(packetbuild.Ether().ARP().Bytes()))))
	if c := d.HeaderCodes(); c[wire.OK] != 2 || c[wire.ARP] != 1 {
		t.Errorf("%v", c)
	}
	if d.Agent() != addr("192.0.2.1") {
		t.Errorf("agent %v", d.Agent())
	}
}

// Type of service and ICMP type of a sampled header, when somebody asks.
func TestHeads(t *testing.T) {
	t.Parallel()
	v4 := packetbuild.Ether().IPv4("10.0.0.1", "192.168.1.9").ICMP(8, 0).Payload(20).Bytes()
	v6 := packetbuild.Ether().VLAN(7).IPv6("2001:db8::1", "2001:db8::2").ICMPv6(128, 1).Payload(20).Bytes()
	v4[15], v6[18], v6[19] = 0xb8, 0x6b, 0x80
	for i, frame := range [][]byte{v4, v6} {
		r := one(t, decode(Config{Heads: true}, v5(flow(raw(frame)))))
		if r.TOS != 0xb8 || r.Has&record.HasICMP == 0 || r.ICMPType != []uint8{8, 128}[i] || r.ICMPCode != uint8(i) || r.TTL != 64 {
			t.Errorf("%+v", r)
		}
		if r := one(t, decode(Config{}, v5(flow(raw(frame))))); r.TOS != 0 || r.Has&record.HasICMP != 0 || r.TTL != 64 {
			t.Errorf("nobody asked: %+v", r)
		}
	}
}
