package gen

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// background is a benign mix of s.Background packets per second in both address families: web, QUIC, DNS, mail-like TCP, NTP, ping,
// in both directions, a little between our own hosts and a little transit, and the noise of a switch port.
func background(s Scenario) []Stream {
	type part struct {
		name, kind string
		share      float64
		sizes      []int
		flows      int
		out        bool
		sport      uint16
		dport      uint16
	}
	parts := []part{
		{"web down", "tcp", 0.30, []int{1400, 1400, 1400, 536}, 400, false, 443, 0},
		{"web up", "ack", 0.16, []int{0}, 400, true, 0, 443},
		{"web syn", "syn", 0.01, []int{0}, 200, true, 0, 443},
		{"web synack", "synack", 0.01, []int{0}, 200, false, 443, 0},
		{"web fin", "fin", 0.01, []int{0}, 200, true, 0, 443},
		{"served down", "syn", 0.01, []int{0}, 150, false, 0, 443},
		{"served up", "tcp", 0.10, []int{1400, 900}, 150, true, 443, 0},
		{"quic down", "quic", 0.16, []int{1232, 1232, 900}, 200, false, 443, 0},
		{"quic up", "quic", 0.08, []int{40, 80, 1200}, 200, true, 0, 443},
		{"dns query", "dns", 0.03, []int{32, 40, 52}, 0, true, 0, 53},
		{"dns answer", "udp", 0.03, []int{90, 140, 480}, 0, false, 53, 0},
		{"ntp", "udp", 0.01, []int{48}, 60, true, 123, 123},
		{"ping", "icmp", 0.01, []int{56}, 0, false, 0, 0},
		{"mail", "tcp", 0.04, []int{200, 1400}, 60, false, 0, 25},
		{"big datagram", "frag_first", 0.002, []int{1440}, 20, false, 0, 0},
		{"big datagram's rest", "frag_last", 0.002, []int{520}, 20, false, 0, 0},
	}
	var streams []Stream
	for _, family := range families(s) {
		peer := outside4
		if family.is6 {
			peer = outside6
		}
		add := func(name, kind string, share float64, target netip.Prefix, peer netip.Prefix, p part) {
			ipName := "v4"
			if family.is6 {
				ipName = "v6"
			}
			streams = append(streams, Stream{
				Name: name + " " + ipName, Kind: kind, Target: target.String(), Peer: peer.String(), Outgoing: p.out,
				PPS: s.Background * family.share * share, Duration: s.Length, Flows: p.flows, Sizes: p.sizes,
				SourcePort: p.sport, DestPort: p.dport, Benign: true,
			})
		}
		for _, p := range parts {
			add(p.name, p.kind, p.share, family.busy, peer, p)
		}
		add("internal", "tcp", 0.02, family.busy, family.busy, part{sizes: []int{300}, flows: 60})
		add("transit", "udp", 0.01, peer, peer, part{sizes: []int{200}, flows: 60})
	}
	for _, kind := range []string{"arp", "lldp", "stp"} {
		streams = append(streams, Stream{Name: kind, Kind: kind, PPS: max(0.5, s.Background/5000), Duration: s.Length, Benign: true})
	}
	return streams
}

// family is where the background's own hosts are: the first /24 or /120 of the first network of an address family.
type family struct {
	is6   bool
	busy  netip.Prefix
	share float64
}

func families(s Scenario) (out []family) {
	for _, is6 := range []bool{false, true} {
		i := slices.IndexFunc(s.Networks, func(p netip.Prefix) bool { return p.Addr().Is6() == is6 })
		if i < 0 {
			continue
		}
		n := s.Networks[i]
		bits := 24
		if is6 {
			bits = 120
		}
		out = append(out, family{is6: is6, busy: netip.PrefixFrom(n.Addr(), max(n.Bits(), bits)), share: 1})
	}
	if len(out) == 2 {
		out[0].share, out[1].share = 0.7, 0.3
	}
	return out
}

// Case is one line of a table of cases: a kind of flood, and whether it must be banned.
type Case struct {
	// Name is the line's name with the address family of the victim, such as "udp-v4".
	Name string
	// Stream sends it to a victim of its own in 10.0.0.0/16 or 2001:db8::/32, from second 0.
	Stream Stream
	// Victim is the host of ours that is charged by default, by the outer header of a tunnel. It is the target, or stands for it
	// where the outer header is of the other address family.
	Victim netip.Addr
	// Ban is set when the threshold that Threshold names is crossed.
	Ban bool
	// Threshold is the name without "threshold_" of one that the flood crosses at FastNetMon's values of BASELINE.md 3
	// (pps 20,000, tcp_pps 5,000, icmp_pps 1,000, ip_fragments_pps 20,000), "" when Ban is not set.
	Threshold string
}

// Cases are FastNetMon's two case tables (BASELINE.md 3) and what the issue adds to them: one flood each, with its own victim, at the
// rate that the table names (30,000 packets per second where it names none), for the given length. rate scales all rates,
// so that small machines can run the table with thresholds scaled alike.
func Cases(length time.Duration, rate float64) []Case {
	var cases []Case
	add := func(name, kind string, pps float64, threshold string, via ...string) {
		for _, v6 := range []bool{false, true} {
			if !fits(kind, via, v6) {
				continue
			}
			c := Case{Name: name + "-v4", Ban: threshold != "", Threshold: threshold}
			n := len(cases) + 10
			target := fmt.Sprintf("10.0.1.%d", n%250)
			if n >= 250 {
				target = fmt.Sprintf("10.0.2.%d", n%250)
			}
			if v6 {
				target, c.Name = fmt.Sprintf("2001:db8::1:%x", n), name+"-v6"
			}
			c.Stream = Stream{Name: c.Name, Kind: kind, Via: via, Target: target, PPS: pps * rate, Duration: Duration(length)}
			cases = append(cases, c)
		}
	}
	for _, kind := range []string{
		"udp", "ack", "rst", "esp", "sctp", "ospf", "frag_first", "frag_later", "frag_last", "frag_tiny", "tcp_trunc",
		"udp_trunc", "bad_ihl", "dns_amp", "ntp_amp", "ssdp_amp", "cldap_amp", "memcached_amp", "no_next", "igmp",
	} {
		add(kind, kind, 30_000, "pps")
	}
	add("syn", "syn", 30_000, "pps")
	add("syn_10k", "syn", 10_000, "tcp_pps")
	add("icmp_4k", "icmp", 4_000, "icmp_pps")
	for _, via := range Encapsulations() {
		add("udp_"+via, "udp", 30_000, "pps", via)
	}
	add("udp_vlan_mpls", "udp", 30_000, "pps", "vlan", "mpls")
	add("udp_hbh_dst_rh", "udp", 30_000, "pps", "hbh", "dst", "rh")
	add("frag_hbh", "frag_later", 30_000, "pps", "hbh")
	n := len(cases)
	add("outgoing", "udp", 30_000, "pps")
	add("internal", "udp", 30_000, "pps")
	for i := n; i < len(cases); i++ {
		st := &cases[i].Stream
		switch {
		case strings.HasPrefix(st.Name, "outgoing"):
			st.Outgoing = true
		case strings.HasSuffix(st.Name, "v6"):
			st.Peer = "2001:db8:ffff::/64"
		default:
			st.Peer = "10.0.200.0/24"
		}
	}
	for i := range cases {
		cases[i].Victim = victim(cases[i].Stream)
	}
	return cases
}

// victim is whom the frames of a stream charge.
func victim(st Stream) netip.Addr {
	st.Count = 1
	g, err := New(Scenario{Streams: []Stream{st}})
	if err != nil {
		panic("gen: case " + st.Name + ": " + err.Error()) // fits said that it can be made
	}
	var f Frame
	g.Next(&f)
	if st.Outgoing {
		return f.Outer.Src
	}
	return f.Outer.Dst
}

// fits tells whether a kind exists in a family and in an encapsulation.
func fits(kind string, via []string, v6 bool) bool {
	k := kinds[kind]
	if k.only != 0 && (k.only == 6) != v6 {
		return false
	}
	if k.via != "" {
		via = append(append([]string(nil), via...), k.via)
	}
	_, err := makeTemplate(k, via, v6, k.sizes[0])
	return err == nil
}

// Builtins are the names that Builtin knows, each with what it is. The last one is a pattern.
func Builtins() [][2]string {
	return [][2]string{
		{"quiet", "20 s of the benign background alone"},
		{"all-cases", "every kind and every encapsulation, IPv4 and IPv6, a few packets each"},
		{"case-table", "FastNetMon's case tables: each flood for 3 s at its rate, one after the other"},
		{"carpet", "5 s quiet, then 10 s of 100,000 packets per second over a /24"},
		{"carpet6", "the same over a /120"},
		{"multi-vector", "5 s quiet, then SYN, DNS answers and fragments together on one host"},
		{"pulse", "four floods of 2 s with pauses of 4 s on one host"},
		{"outgoing", "5 s quiet, then 10 s of a host of ours attacking"},
		{"quiet-then-KIND[/VIA...]", "5 s quiet, then 10 s of 30,000 packets per second of KIND, such as quiet-then-syn or quiet-then-udp/vlan/mpls;\n" +
			"KIND ending in a 6, as in quiet-then-syn6, attacks an IPv6 host"},
	}
}

const (
	victim4 = "10.0.0.66"
	victim6 = "2001:db8::66"
)

// Builtin returns the scenario of that name.
func Builtin(name string) (Scenario, error) {
	s := Scenario{Name: name, Seed: 1, Background: 2000, Length: Duration(20 * time.Second)}
	flood := func(kind, target string, pps float64, start, length int, via ...string) Stream {
		return Stream{Kind: kind, Via: via, Target: target, PPS: pps, Start: seconds(start), Duration: seconds(length)}
	}
	switch name {
	case "quiet":
	case "all-cases":
		return allCases(s), nil
	case "case-table":
		return caseTable(s), nil
	case "carpet":
		s.Streams = []Stream{flood("udp", "10.0.77.0/24", 100_000, 5, 10)}
	case "carpet6":
		s.Streams = []Stream{flood("udp", "2001:db8::7700/120", 100_000, 5, 10)}
	case "multi-vector":
		s.Streams = []Stream{flood("syn", victim4, 20_000, 5, 10), flood("dns_amp", victim4, 15_000, 6, 9), flood("frag_later", victim4, 10_000, 7, 8)}
	case "pulse":
		for i := range 4 {
			s.Streams = append(s.Streams, flood("udp", victim4, 40_000, 2+6*i, 2))
		}
		s.Length = seconds(26)
	case "outgoing":
		st := flood("udp", victim4, 30_000, 5, 10)
		st.Outgoing = true
		s.Streams = []Stream{st}
	default:
		rest, ok := strings.CutPrefix(name, "quiet-then-")
		if !ok {
			return s, fmt.Errorf("scenario %q is neither built in nor a file; see --list", name)
		}
		parts := strings.Split(rest, "/")
		kind, target := parts[0], victim4
		if base, is6 := strings.CutSuffix(kind, "6"); is6 {
			kind, target = base, victim6
		}
		if k, ok := kinds[kind]; ok && k.only == 6 {
			target = victim6
		}
		for _, via := range parts[1:] {
			if e, _, err := lookupEncap(via); err == nil && e.inner == 6 {
				target = victim6 // what can hold IPv6 only needs no 6 in the name
			}
		}
		s.Streams = []Stream{flood(kind, target, 30_000, 5, 10, parts[1:]...)}
	}
	_, err := s.filled()
	return s, err
}

func seconds(n int) Duration { return Duration(n) * Duration(time.Second) }

// allCases plays every kind, and UDP in every encapsulation, in both families: 20 packets each, each to its own host,
// spread over the length of the scenario.
func allCases(s Scenario) Scenario {
	s.Background, s.Length = 200, seconds(5)
	add := func(kind string, via ...string) {
		for _, v6 := range []bool{false, true} {
			if !fits(kind, via, v6) {
				continue
			}
			n := len(s.Streams)
			target := fmt.Sprintf("10.0.%d.%d", 10+n/200, 10+n%200)
			if v6 {
				target = fmt.Sprintf("2001:db8::%x", 0x1000+n)
			}
			st := Stream{
				Name: strings.Join(append([]string{kind}, via...), "/") + " " + target, Kind: kind, Via: via, Target: target, PPS: 20,
				Start: Duration(n%40) * Duration(100*time.Millisecond), Duration: seconds(1), Outgoing: n%5 == 4,
			}
			if kinds[kind].link != "" {
				st.Target = ""
			}
			s.Streams = append(s.Streams, st)
		}
	}
	for _, kind := range Kinds() {
		add(kind)
		add(kind, "vlan")
	}
	for _, via := range Encapsulations() {
		for _, kind := range []string{"udp", "syn", "icmp", "frag_later"} {
			add(kind, via)
		}
		add("udp", "qinq", via)
	}
	add("udp", "vlan", "mpls")
	add("udp", "vlan", "mpls2")
	add("udp", "qinq", "pppoe")
	add("udp", "hbh", "dst", "rh", "ah")
	add("udp", "vxlan", "vlan")
	return s
}

func caseTable(s Scenario) Scenario {
	s.Background = 1000
	cases := Cases(3*time.Second, 1)
	for i, c := range cases {
		c.Stream.Start = seconds(3 * i)
		s.Streams = append(s.Streams, c.Stream)
	}
	s.Length = seconds(3 * len(cases))
	return s
}
