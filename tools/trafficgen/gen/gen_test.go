package gen

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/pcapfile"
)

func builtin(t testing.TB, name string) Scenario {
	t.Helper()
	s, err := Builtin(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDeterminism(t *testing.T) {
	t.Parallel()
	digest := func(s Scenario) (string, Result) {
		h := sha256.New()
		r, err := WritePcap(h, s, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", h.Sum(nil)), r
	}
	s := builtin(t, "all-cases")
	a, ra := digest(s)
	b, rb := digest(s)
	if a != b || !reflect.DeepEqual(ra, rb) {
		t.Error("the same scenario gave two captures")
	}
	s.Seed++
	if c, _ := digest(s); c == a {
		t.Error("another seed gave the same capture")
	}
}

// TestTruthByHand checks every number of a scenario small enough to count by hand.
func TestTruthByHand(t *testing.T) {
	t.Parallel()
	s := Scenario{Name: "hand", Seed: 3, Streams: []Stream{
		{Kind: "syn", Target: "10.0.0.1", PPS: 10, Duration: seconds(2)},                                                // 20 of 60 bytes, padded from 54
		{Kind: "udp", Target: "2001:db8::1", PPS: 5, Duration: seconds(2), Outgoing: true, Flows: 1, Sizes: []int{100}}, // 10 of 162, the same flow in 2 seconds
		{Kind: "frag_tiny", Target: "10.0.0.1", PPS: 4, Duration: seconds(1)},                                           // 4 of 60
		{Kind: "icmp", Target: "10.0.0.2", Peer: "10.0.0.1", PPS: 3, Duration: seconds(1)},                              // 3 internal of 98
		{Kind: "sctp", Target: "192.0.2.1", PPS: 2, Duration: seconds(1), Benign: true},                                 // 2 other of 66
		{Kind: "arp", PPS: 1, Duration: seconds(2)},                                                                     // 2 of 60
	}}
	r := run(t, s, Options{})
	c := func(n, size uint64) C { return C{n, n * size} }
	in := D{Total: C{24, 24 * 60}, TCP: c(20, 60), TCPSYN: c(20, 60), UDP: c(4, 60), Fragments: c(4, 60), Flows: 20}
	out := D{Total: c(10, 162), UDP: c(10, 162), Flows: 2}
	internal := D{Total: c(3, 98), ICMP: c(3, 98)}
	want := Totals{Incoming: in, Outgoing: out, Internal: internal, Other: D{Total: c(2, 66), Other: c(2, 66), Flows: 2}}
	if !reflect.DeepEqual(r.Totals, want) {
		t.Errorf("totals\n%+v, want\n%+v", r.Totals, want)
	}
	hosts := []Host{{netip.MustParseAddr("10.0.0.1"), in, internal}, {netip.MustParseAddr("10.0.0.2"), internal, D{}}, {netip.MustParseAddr("2001:db8::1"), D{}, out}}
	if !reflect.DeepEqual(r.Hosts, hosts) {
		t.Errorf("hosts\n%+v, want\n%+v", r.Hosts, hosts)
	}
	if want := map[string]uint64{"ok": 39, "arp": 2}; !reflect.DeepEqual(r.Codes, want) || r.Packets != 41 || r.Bytes != 24*60+10*162+3*98+2*66+2*60 {
		t.Errorf("codes %v, packets %d, bytes %d", r.Codes, r.Packets, r.Bytes)
	}
	if len(r.Attacks) != 5 {
		t.Fatalf("%d attacks", len(r.Attacks))
	}
	a := r.Attacks[1]
	if a.Direction != "outgoing" || a.Vector != "udp_flood" || a.Packets != 10 || a.Bytes != 1620 || a.Target != "2001:db8::1" || a.PPS != 5 {
		t.Errorf("label %+v", a)
	}
	if d := a.End.Sub(a.Start); d < 1600*time.Millisecond || d > 2*time.Second {
		t.Errorf("the attack lasts %v", d)
	}
}

func TestTruthCharge(t *testing.T) {
	t.Parallel()
	s := Scenario{Streams: []Stream{
		{Kind: "syn", Via: []string{"6in4"}, Target: "2001:db8::5", TunnelTarget: "10.0.0.9", PPS: 10, Duration: seconds(1)},
		{Kind: "udp", Via: []string{"l2tp2"}, Target: "10.0.0.7", PPS: 10, Duration: seconds(1)},
	}}
	type row struct{ udp, syn, other uint64 }
	for charge, want := range map[Charge]map[string]row{
		ChargeOuter: {"10.0.0.9": {0, 0, 10}, "10.0.0.7": {10, 0, 0}},
		ChargeInner: {"2001:db8::5": {0, 10, 0}, "10.0.0.7": {10, 0, 0}},
		ChargeBoth:  {"10.0.0.9": {0, 0, 10}, "2001:db8::5": {0, 10, 0}, "10.0.0.7": {10, 0, 0}},
	} {
		r := run(t, s, Options{Charge: charge})
		got := map[string]row{}
		for _, h := range r.Hosts {
			got[h.Addr.String()] = row{h.Incoming.UDP.Packets, h.Incoming.TCPSYN.Packets, h.Incoming.Other.Packets}
		}
		if !reflect.DeepEqual(got, want) || r.Totals.Incoming.Total.Packets != 20 {
			t.Errorf("%s: %v, total %d, want %v", charge, got, r.Totals.Incoming.Total.Packets, want)
		}
	}
	ip := run(t, s, Options{CountIP: true}).Totals.Incoming.Total.Bytes
	if want := uint64(10*(20+40+20) + 10*(20+8+18)); ip != want {
		t.Errorf("IP bytes %d, want %d", ip, want)
	}
}

func run(t testing.TB, s Scenario, opt Options) Result {
	t.Helper()
	r, err := WritePcap(io.Discard, s, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSums holds the truth against itself, for every kind and encapsulation and each way of charging.
func TestSums(t *testing.T) {
	t.Parallel()
	for _, charge := range []Charge{ChargeOuter, ChargeInner, ChargeBoth} {
		r := run(t, builtin(t, "all-cases"), Options{Charge: charge})
		var codes, labelled uint64
		for _, n := range r.Codes {
			codes += n
		}
		for _, a := range r.Attacks {
			labelled += a.Packets
		}
		if codes != r.Packets {
			t.Errorf("%s: codes %d, packets %d", charge, codes, r.Packets)
		}
		if labelled == 0 || labelled >= r.Packets {
			t.Errorf("%s: %d of %d packets are attacks", charge, labelled, r.Packets)
		}
		var addressed uint64
		for name, n := range r.Codes {
			if name != "arp" && name != "lldp" && name != "stp" {
				addressed += n
			}
		}
		var totals uint64
		for _, d := range []D{r.Totals.Incoming, r.Totals.Outgoing, r.Totals.Internal, r.Totals.Other} {
			checkD(t, d)
			totals += d.Total.Packets
		}
		if totals != addressed {
			t.Errorf("%s: totals %d, addressed %d", charge, totals, addressed)
		}
		var in, out uint64
		for _, h := range r.Hosts {
			checkD(t, h.Incoming)
			checkD(t, h.Outgoing)
			in, out = in+h.Incoming.Total.Packets, out+h.Outgoing.Total.Packets
		}
		internal := r.Totals.Internal.Total.Packets
		if internal == 0 || r.Totals.Other.Total.Packets == 0 {
			t.Errorf("%s: no internal or other traffic", charge)
		}
		if charge != ChargeBoth && (in != r.Totals.Incoming.Total.Packets+internal || out != r.Totals.Outgoing.Total.Packets+internal) {
			t.Errorf("%s: hosts have %d in, %d out; totals %+v", charge, in, out, r.Totals)
		}
	}
}

func checkD(t *testing.T, d D) {
	t.Helper()
	if d.Total.Packets != d.TCP.Packets+d.UDP.Packets+d.ICMP.Packets+d.Other.Packets || d.Total.Bytes != d.TCP.Bytes+d.UDP.Bytes+d.ICMP.Bytes+d.Other.Bytes ||
		d.TCPSYN.Packets > d.TCP.Packets || d.Fragments.Packets > d.Total.Packets || d.Flows > d.Total.Packets {
		t.Errorf("inconsistent %+v", d)
	}
}

// TestPcap reads a capture back: times in order, lengths as in the truth, rates as asked for.
func TestPcap(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	s := builtin(t, "quiet-then-syn6")
	s.Streams[0].PPS = 3000
	r, err := WritePcap(&b, s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	in, err := pcapfile.NewReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	var n, size uint64
	last := int64(0)
	for {
		rec, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.Time < last {
			t.Fatalf("packet %d goes back in time", n+1)
		}
		last = rec.Time
		n, size = n+1, size+uint64(rec.WireLen)
	}
	if n != r.Packets || size != r.Bytes {
		t.Errorf("read %d packets, %d bytes; truth has %d, %d", n, size, r.Packets, r.Bytes)
	}
	if a := r.Attacks[0]; len(r.Attacks) != 1 || a.Packets != 30_000 || a.Vector != "syn_flood" || a.Target != victim6 {
		t.Errorf("attacks %+v", r.Attacks)
	}
	if bg := r.Packets - 30_000; bg < 39_000 || bg > 41_000 {
		t.Errorf("background of %d packets, want about 40,000", bg)
	}
	var back Result
	var text, again bytes.Buffer
	if err := r.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if err := back.WriteJSON(&again); err != nil || text.String() != again.String() {
		t.Errorf("JSON does not come back: %v", err)
	}
}

func TestCarpetIsEven(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"10.0.77.0/24", "2001:db8::7700/120"} {
		r := run(t, Scenario{Streams: []Stream{{Kind: "udp", Target: target, PPS: 5120, Duration: seconds(1)}}}, Options{})
		if len(r.Hosts) != 256 {
			t.Errorf("%s: %d hosts", target, len(r.Hosts))
		}
		for _, h := range r.Hosts {
			if h.Incoming.Total.Packets != 20 {
				t.Errorf("%s: %s got %d packets", target, h.Addr, h.Incoming.Total.Packets)
			}
		}
	}
}

func TestBuiltins(t *testing.T) {
	t.Parallel()
	names := []string{"quiet-then-udp/vlan/mpls", "quiet-then-frag_tiny6", "quiet-then-udp/6in4", "quiet-then-no_next", "quiet-then-syn/gre6", "quiet-then-gre"}
	for _, b := range Builtins() {
		if !strings.Contains(b[0], "KIND") {
			names = append(names, b[0])
		}
	}
	for _, name := range names {
		g, err := New(builtin(t, name))
		if err != nil || g.Packets() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", "nonsense", "quiet-then-", "quiet-then-nonsense"} {
		if _, err := Builtin(name); err == nil {
			t.Errorf("%q is a scenario", name)
		}
	}
}

func TestCases(t *testing.T) {
	t.Parallel()
	seen, names := map[netip.Addr]bool{}, map[string]bool{}
	for _, c := range Cases(time.Second, 0.001) {
		if seen[c.Victim] || names[c.Name] {
			t.Errorf("%s: name or victim used twice", c.Name)
		}
		seen[c.Victim], names[c.Name] = true, true
		r := run(t, Scenario{Streams: []Stream{c.Stream}}, Options{})
		i := slices.IndexFunc(r.Hosts, func(h Host) bool { return h.Addr == c.Victim })
		if i < 0 || r.Hosts[i].Incoming.Total.Packets+r.Hosts[i].Outgoing.Total.Packets != r.Packets {
			t.Errorf("%s: %s has not all of %d packets: %+v", c.Name, c.Victim, r.Packets, r.Hosts)
		}
	}
	for _, want := range []string{
		"udp-v4", "udp-v6", "syn_10k-v6", "icmp_4k-v6", "frag_tiny-v4", "udp_mpls2-v4", "udp_hbh-v6", "esp-v6", "outgoing-v6", "internal-v4", "bad_ihl-v4",
		"udp_erspan2-v4", "udp_teredo-v6", "tcp_trunc-v6",
	} {
		if !names[want] {
			t.Errorf("no case %s", want)
		}
	}
}

func TestBadScenarios(t *testing.T) {
	t.Parallel()
	ok := Stream{Kind: "udp", Target: "10.0.0.1", PPS: 1, Duration: seconds(1)}
	for name, c := range map[string]struct {
		change func(*Scenario)
		want   string
	}{
		"kind":          {func(s *Scenario) { s.Streams[0].Kind = "udpp" }, `kind "udpp" is unknown`},
		"target":        {func(s *Scenario) { s.Streams[0].Target = "10.0.0" }, "neither an address nor a prefix"},
		"host bits":     {func(s *Scenario) { s.Streams[0].Target = "10.0.0.1/24" }, "host bits"},
		"mapped":        {func(s *Scenario) { s.Streams[0].Target = "::ffff:10.0.0.1" }, "v4-mapped"},
		"rate":          {func(s *Scenario) { s.Streams[0].PPS = 0 }, "pps"},
		"no length":     {func(s *Scenario) { s.Streams[0].Duration = 0 }, "duration"},
		"negative":      {func(s *Scenario) { s.Streams[0].Start = -1 }, "negative"},
		"too many":      {func(s *Scenario) { s.Streams[0].PPS, s.Streams[0].Duration = 1e9, seconds(100_000) }, "the limit"},
		"size":          {func(s *Scenario) { s.Streams[0].Sizes = []int{70_000} }, "sizes"},
		"encapsulation": {func(s *Scenario) { s.Streams[0].Via = []string{"vxlan7"} }, `encapsulation "vxlan7" is unknown`},
		"family":        {func(s *Scenario) { s.Streams[0].Via = []string{"6in4"} }, "cannot hold IPv4"},
		"header":        {func(s *Scenario) { s.Streams[0].Via = []string{"hbh"} }, "does not fit"},
		"peer":          {func(s *Scenario) { s.Streams[0].Peer = "2001:db8::/32" }, "address family"},
		"v6 only":       {func(s *Scenario) { s.Streams[0].Kind = "no_next" }, "IPv6 only"},
		"link":          {func(s *Scenario) { s.Streams[0] = Stream{Kind: "arp", Via: []string{"gre"}, PPS: 1, Duration: 1e9} }, "needs an IP packet"},
		"network":       {func(s *Scenario) { s.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")} }, "host bits"},
	} {
		s := Scenario{Streams: []Stream{ok}}
		c.change(&s)
		if _, err := New(s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	g, err := New(Scenario{Streams: []Stream{ok}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewTruth(g, Options{Charge: "all"}); err == nil {
		t.Error("an unknown charge is accepted")
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	s, err := Parse([]byte("name: x\nnetworks: [10.0.0.0/8]\nlength: 2s\nstreams:\n- {kind: syn, via: [vlan, mpls], target: 10.0.0.1, pps: 100, start: 1s}\n"))
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, s, Options{})
	if r.Packets != 100 || r.Scenario != "x" || r.Networks[0].String() != "10.0.0.0/8" {
		t.Errorf("%+v", r)
	}
	for _, bad := range []string{"speed: 1", "length: soon", "networks: [a]", "streams: 3"} {
		if _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// BenchmarkNext is the cost of a frame; a live sender needs it well below the kernel's 3 µs.
func BenchmarkNext(b *testing.B) {
	for _, name := range []string{"quiet", "quiet-then-syn", "quiet-then-udp/vxlan6"} {
		b.Run(name, func(b *testing.B) {
			s := builtin(b, name)
			if name != "quiet" {
				s.Background, s.Streams[0].PPS, s.Streams[0].Start = 0, 1e6, 0
			}
			g, err := New(s)
			if err != nil {
				b.Fatal(err)
			}
			var f Frame
			for b.Loop() {
				if !g.Next(&f) {
					g, _ = New(s)
				}
			}
		})
	}
}

// TestFitsEthernet holds the plain kinds and the background to an MTU of 1,500, so that they can be sent live.
func TestFitsEthernet(t *testing.T) {
	t.Parallel()
	s := Scenario{Background: 500, Length: seconds(5)}
	for _, kind := range Kinds() {
		for _, target := range []string{"10.0.0.1", "2001:db8::1"} {
			if kinds[kind].link == "" && fits(kind, nil, strings.Contains(target, ":")) {
				s.Streams = append(s.Streams, Stream{Kind: kind, Target: target, PPS: 10})
			}
		}
	}
	g, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	var f Frame
	for g.Next(&f) {
		if len(f.Data) > 1514 || len(f.Data) < 60 {
			t.Fatalf("%s: a frame of %d bytes", g.Streams()[f.Stream].Name, len(f.Data))
		}
	}
}
