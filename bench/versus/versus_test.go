package versus

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/bench/cable"
	"github.com/weir-ddos/weir/dataplane/pcapfile"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/tools/lab"
)

func TestMain(m *testing.M) {
	Child()
	cable.Child()
	os.Exit(m.Run())
}

// decoded is who a packet is charged to, as Weir sees it.
func decoded(t *testing.T, frame []byte) (wire.Code, netip.Addr) {
	t.Helper()
	var d wire.Decoder
	var h wire.Headers
	code := d.Decode(wire.LinkEthernet, frame, &h)
	if a, _ := h.Charged(); a != nil {
		return code, netip.AddrFrom16(a.Dst).Unmap()
	}
	return code, netip.Addr{}
}

// TestScenarios: every packet of a scenario is one that Weir counts for one of the hosts that it says it has, and each is a new flow.
func TestScenarios(t *testing.T) {
	t.Parallel()
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			if err := s.Traffic.Validate(); err != nil {
				t.Fatal(err)
			}
			if s.Name == "garbage" {
				return
			}
			const packets = 1 << 16
			seen, flows := make(map[netip.Addr]bool), make(map[string]bool)
			for n := range uint64(packets) {
				f := s.Traffic.Packet(n)
				code, dst := decoded(t, f)
				if code != wire.OK || !slices.ContainsFunc(s.Networks, func(p netip.Prefix) bool { return p.Contains(dst) }) {
					t.Fatalf("packet %d to %s has code %v: %x", n, dst, code, f)
				}
				seen[dst], flows[string(f)] = true, true
			}
			if want := min(s.Hosts, packets); len(seen) != want {
				t.Errorf("%d hosts, want %d", len(seen), want)
			}
			if len(flows) != packets {
				t.Errorf("%d flows of %d packets", len(flows), packets)
			}
		})
	}
}

// TestGarbage: half of it gets as far as an IP header.
func TestGarbage(t *testing.T) {
	t.Parallel()
	frames := garbage().Frames
	if !slices.EqualFunc(frames, garbage().Frames, slices.Equal) {
		t.Error("it is not the same each time")
	}
	ip := 0
	for _, f := range frames {
		if f[12] == 8 && f[13] == 0 || f[12] == 0x86 && f[13] == 0xdd {
			ip++
		}
	}
	if ip < len(frames)/2 || ip > len(frames)/2+10 {
		t.Errorf("%d of %d frames begin like IP", ip, len(frames))
	}
}

func TestCapture(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := pcapfile.NewWriter(f, wire.LinkEthernet)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range []int{42, 60, 1514, 1600, 100} {
		data := make([]byte, n)
		data[0] = byte(2 * i)
		wireLen := n
		if n == 100 {
			wireLen = 200 // cut by the snap length
		}
		if err := w.Write(int64(i), uint32(wireLen), data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	own := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	s, err := Capture(path, own)
	if err != nil {
		t.Fatal(err)
	}
	var lengths []int
	for _, f := range s.Traffic.Frames {
		lengths = append(lengths, len(f))
	}
	if !slices.Equal(lengths, []int{60, 60, 1514}) || s.Traffic.Validate() != nil || !s.Odd || !slices.Equal(s.Networks, own) {
		t.Errorf("%v %+v", lengths, s.Networks)
	}
	if s.About != "3 packets of a.pcap, without 2 that are cut, not Ethernet or too long" {
		t.Error(s.About)
	}
	if err := os.WriteFile(path, []byte("no capture"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Capture(path, nil); err == nil {
		t.Error("a file that is no capture is taken")
	}
}

func TestParsers(t *testing.T) {
	t.Parallel()
	const sockets = `sk               RefCnt Type Proto  Iface R Rmem   User   Inode
00000000743e1862 3      3    0003   2     1 0      0      5766663
00000000743e1863 3      3    0003   0     0 0      0      5766664
00000000743e1864 3      3    0000   2     0 0      0      5766665
`
	if n := bound(sockets); n != 1 {
		t.Errorf("%d sockets are bound", n)
	}
	const page = "# HELP x y\nfastnetmon_total_simple_packets_processed_too 7\nfastnetmon_total_simple_packets_processed 1234\n"
	if n, err := value(strings.NewReader(page), "fastnetmon_total_simple_packets_processed"); n != 1234 || err != nil {
		t.Error(n, err)
	}
	if _, err := value(strings.NewReader(page), "nothing"); err == nil {
		t.Error("a metric that is not there has a value")
	}
	for _, c := range []struct {
		text string
		want string
	}{
		{"  RX-packets: 10         RX-missed: 0          RX-bytes:  852", "10"},
		{"  RX-packets: 6              RX-dropped: 0             RX-total: 6", ""},
	} {
		got := ""
		if m := counted.FindStringSubmatch(c.text); m != nil {
			got = m[1]
		}
		if got != c.want {
			t.Errorf("%q is %q", c.text, got)
		}
	}
	if m := captured.FindStringSubmatch("tcpdump: 1 packet captured, 2 packets received by filter"); m == nil || m[1] != "1" {
		t.Error(m)
	}
	const shipped = "# interfaces = eth0\ninterfaces = eth3,eth4\ninterfaces_x = 1\nmirror_afpacket=off"
	if got := edit(shipped, [][2]string{{"interfaces", "w0"}, {"mirror_afpacket", "on"}}); got !=
		"# interfaces = eth0\ninterfaces_x = 1\ninterfaces = w0\nmirror_afpacket = on\n" {
		t.Errorf("%q", got)
	}
}

// testResults are those of a block in which FastNetMon loses, and one in which it cannot parse.
func testResults(t *testing.T) []Result {
	t.Helper()
	sides, err := Choose("weir-afpacket", testpmd, tracking, "tcpdump")
	if err != nil {
		t.Fatal(err)
	}
	plain, odd := Scenarios()[0], Scenarios()[4]
	run := func(ns float64, delivered, counted uint64) Run {
		return Run{Nanoseconds: ns, Net: ns - 10, Offered: 900_000, Delivered: delivered, Counted: counted, Elapsed: time.Second, Idle: 0.02}
	}
	return []Result{
		{Scenario: plain, Side: sides[0], Runs: []Run{run(70, 100, 100), run(60, 100, 99), run(80, 100, 100)}},
		{Scenario: plain, Side: sides[1], Runs: []Run{run(1000, 100, 100)}},
		{Scenario: plain, Side: sides[2], Runs: []Run{run(1500, 100, 75), run(1400, 100, 60)}},
		{Scenario: plain, Side: sides[3], Missing: "no program tcpdump <&>"},
		{Scenario: odd, Side: sides[2], Rate: Paced, Runs: []Run{run(30, 100, 0)}},
	}
}

func TestResult(t *testing.T) {
	t.Parallel()
	r := testResults(t)
	if r[0].Median() != 70 || r[0].Net() != 60 || r[0].Missed() != 0 || r[0].Best() != 0 || r[2].Missed() != 0.4 || !r[2].Loses() || r[4].Loses() {
		t.Errorf("%+v", r)
	}
	if (Result{}).Median() != 0 || (Result{}).Best() != 0 || (Run{}).Missed() != 0 || (Run{Delivered: 1, Counted: 2}).Missed() != 0 {
		t.Error("nothing is something")
	}
	run := Run{Idle: 0.1, Elapsed: 1000, Delivered: 40, Counted: 20}
	plain, odd := run, run
	plain.divide(2000, 20, false)
	odd.divide(2000, 20, true)
	if plain.Nanoseconds != 200 || plain.Net != 190 || odd.Nanoseconds != 100 || odd.Net != 95 {
		t.Errorf("%+v %+v", plain, odd)
	}
}

func TestLossy(t *testing.T) {
	t.Parallel()
	b, ok, err := Lossy(testResults(t), 2)
	if err != nil || !ok || b.Rate != 850_000 || b.Length == 0 || b.Scenario.Name != "syn-1" || b.Sides[0].Name != tracking || len(b.Sides) != 3 || b.Repeat != 2 {
		t.Errorf("%+v %v %v", b, ok, err)
	}
	if _, ok, _ := Lossy(testResults(t)[:2], 2); ok {
		t.Error("nobody has lost")
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	plan, err := Plan(false)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, b := range plan {
		if len(b.Sides) < 2 || b.Repeat < 2 {
			t.Errorf("%+v takes no turns", b)
		}
		there := func(name string) bool {
			return name == "" || slices.ContainsFunc(b.Sides, func(s Side) bool { return s.Name == name })
		}
		for _, s := range b.Sides {
			if !there(s.Floor) || !there(s.Least) || b.Scenario.Hosts > 0 && !there(s.Rival) {
				t.Errorf("%s, %s: %q, %q or %q is not played", b.Scenario.Name, s.Name, s.Floor, s.Least, s.Rival)
			}
		}
		names = append(names, b.Scenario.Name)
	}
	for _, s := range Scenarios() {
		if !slices.Contains(names, s.Name) {
			t.Errorf("%s is not in it", s.Name)
		}
	}
	if quick, err := Plan(true); err != nil || len(quick) != 1 {
		t.Error(quick, err)
	}
	for _, s := range Sides() {
		for _, other := range []string{s.Floor, s.Least, s.Rival} {
			if _, err := Choose(other); other != "" && err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
		}
	}
	if _, err := Choose("nobody"); err == nil {
		t.Error("a side that is not there was found")
	}
}

// TestWeirConfig: the appliance takes what is written for it.
func TestWeirConfig(t *testing.T) {
	t.Parallel()
	l := &lab.Lab{Dir: t.TempDir()}
	for _, s := range Scenarios() {
		for _, driver := range []string{"afxdp", "afpacket"} {
			for _, flows := range []bool{false, true} {
				text := weirConfig(l, s, driver, flows)
				c, err := config.Parse("weir.yaml", []byte(text))
				if err != nil {
					t.Errorf("%s, %s: %v\n%s", s.Name, driver, err, text)
				} else if c.Traffic.Flows != flows || c.Ports[0].Driver != driver || c.Tick != firstTick(s) {
					t.Errorf("%s, %s: %v, %+v, %+v", s.Name, driver, c.Tick, c.Traffic, c.Ports)
				}
			}
		}
	}
}

func TestMissingPrograms(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, s := range Sides() {
		why := s.missing(Config{Weir: "weir"})
		if need := s.Kind == Tool || s.Kind == Peer || s.Name == "weir-dpdk"; need != (why != "") {
			t.Errorf("%s: %q", s.Name, why)
		}
	}
	if len(Versions(t.Context(), Config{}, Sides())) != 0 {
		t.Error("programs that are not there have versions")
	}
}

// TestTurns lets the sides that come with Weir take turns for a moment; Weir is not built for it.
func TestTurns(t *testing.T) {
	if why := Missing(); why != "" {
		t.Skip(why)
	}
	b, err := New(Config{Length: 200 * time.Millisecond, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	sides, err := Choose(bareXDP, barePacket, "tcpdump", "weir-dpdk")
	if err != nil {
		t.Fatal(err)
	}
	results, err := b.Run(t.Context(), Block{Scenario: Scenarios()[3], Rate: 50_000, Sides: sides, Repeat: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Missing != "" {
			continue
		}
		if len(r.Runs) != 2 || r.Median() <= 0 || r.Best() > 0.5 {
			t.Errorf("%s: %+v", r.Side.Name, r.Runs)
		}
		for _, run := range r.Runs {
			if run.Delivered == 0 || run.Counted > run.Delivered || run.Offered > 60_000 {
				t.Errorf("%s: %+v", r.Side.Name, run)
			}
		}
	}
	if results[3].Missing == "" {
		t.Error("a program that was not built is there")
	}
}
