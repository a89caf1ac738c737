package e2e

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/mitigate/bgp/routertest"
	"github.com/weir-ddos/weir/flowcollect/collector"
	"github.com/weir-ddos/weir/tools/lab"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
	"github.com/weir-ddos/weir/tools/trafficgen/send"
)

// exact is the tolerance of exporters that do not sample.
const exact = 0

// quietConfig bans nobody that a test sends.
const quietConfig = "hostgroups:\n  global: {threshold_pps: 1000000000}\n"

// sampledWithin is how far an estimate from one packet in ten of 20,000 may be off: six standard deviations of the bytes.
const sampledWithin = 0.15

// once are nfprobe's timeouts for captures, in which the end comes before any of them.
const once = "tcp=300:maxlife=3600:expint=1:general=300:udp=300:icmp=300"

// TestExporterTotals gives real exporters the same traffic, and holds what the appliance has counted of each against it.
func TestExporterTotals(t *testing.T) {
	t.Parallel()
	y := newYard(t, "softflowd", "pmacctd")
	s := gen.Scenario{Seed: 4, Background: 2000, Length: gen.Duration(5 * time.Second)}
	mixed, four, whole := y.Path("mixed.pcap"), y.Path("four.pcap"), y.Path("whole.pcap")
	m, tenth := capture(t, mixed, s, ipOnly, true)
	_, tenth4 := capture(t, four, s, v4Only, true)
	p, _ := capture(t, whole, s, wholeOnly, true)

	var list []*metered
	var rules []string
	add := func(name string, six bool, want load, bytes uint64, tolerance float64, rule string, run func(e end) *process) {
		e := y.end(six)
		list = append(list, &metered{name: name, end: e, packets: want.packets, bytes: bytes, tolerance: tolerance, run: func() *process { return run(e) }})
		if rule != "" {
			rules = append(rules, e.rule(rule))
		}
	}
	// softflowd counts the padding of short frames, and samples one packet in ten in turn, so that its totals are known even then. With
	// v5 it takes the next packet instead of one of IPv6, which is more than one in ten: it gets none when it samples.
	softflowdOf := func(capture, name string, six bool, want load, rule string, args ...string) {
		add("softflowd "+name, six, want, want.padded, exact, rule, func(e end) *process { return y.softflowd(capture, e.to(), args...) })
	}
	softflowd := func(name string, six bool, want load, rule string, args ...string) {
		softflowdOf(mixed, name, six, want, rule, args...)
	}
	softflowd("v5", false, m.v4, "", "-v", "5")
	softflowd("v9", false, m.all(), "", "-v", "9")
	softflowd("ipfix over IPv6", true, m.all(), "", "-v", "10")
	softflowd("ipfix biflow", false, m.all(), "", "-v", "10", "-b")
	softflowd("ipfix with layer 2", false, m.all(), "", "-v", "10", "-A", "nano", "-T", "ether")
	softflowdOf(four, "v5 1:10", false, tenth4.v4.times(every), "", "-v", "5", "-s", "10")
	softflowd("v9 1:10 over IPv6", true, tenth.all().times(every), "", "-v", "9", "-s", "10")
	softflowd("ipfix 1:10", false, tenth.all().times(every), "", "-v", "10", "-s", "10")
	// PSAMP exports the packets themselves, which say how long they are, and not its rate.
	sections := tenth.all().times(every)
	sections.padded = sections.ip
	softflowd("psamp 1:10", false, sections, "sampling_rate: 10", "-v", "psamp", "-s", "10")
	for _, m := range list {
		if strings.Contains(m.name, "v9") {
			m.code = "count_lies" // only templates are counted
		}
	}
	pmacctd := func(name string, want load, bytes uint64, tolerance float64, plugin func(e end) string) {
		add("pmacctd "+name, false, want, bytes, tolerance, "", func(e end) *process { return y.pmacctd(savedPackets(whole), plugin(e)) })
	}
	for _, v := range []int{5, 9, 10} {
		want := p.all()
		if v == 5 {
			want = p.v4
		}
		pmacctd(fmt.Sprintf("nfprobe v%d", v), want, want.ip, exact, func(e end) string { return nfprobe(e.to(), v, 1, once) })
		pmacctd(fmt.Sprintf("nfprobe v%d 1:10", v), want, want.ip, sampledWithin, func(e end) string { return nfprobe(e.to(), v, 10, once) })
	}
	pmacctd("sfprobe 1:4", p.all(), p.all().frame, sampledWithin, func(e end) string { return sfprobe(e, 4) })

	w := y.start(y.Base() + y.flows(rules...) + quietConfig)
	for _, m := range list {
		m.running = m.run()
		if m.hasty = strings.HasPrefix(m.name, "pmacctd"); !m.hasty { // one burst at a time
			<-m.running.done
		}
	}
	y.expectCounted(w, list)
}

// switchWithin is sampledWithin for one packet in four of 4,000.
const switchWithin = 0.2

// TestOpenVSwitchTotals has one bridge export the same live traffic as sFlow, NetFlow and IPFIX at once, to an appliance that is then
// started again: Open vSwitch sends its IPFIX templates once in ten minutes, and not because a collector is new.
func TestOpenVSwitchTotals(t *testing.T) {
	t.Parallel()
	y := newYard(t, "ovsdb-server", "ovs-vswitchd")
	y.veth("a0", "a1")
	sflow, netflow, ipfix := y.end(false), y.end(false), y.end(true)
	// Counts in IPFIX are multiplied by the switch, and each packet is reported where it comes in and where it goes out.
	w := y.start(y.Base() + y.flows(ipfix.rule("sampling: ignore, count: ingress")) + quietConfig)
	sw := y.startOVS()
	sw.bridge("br0", "a1", map[string]end{"sflow": sflow, "netflow": netflow, "ipfix": ipfix})
	y.switched(w, sw, sflow, netflow, ipfix)

	before := y.exporter(w, ipfix)
	if err := w.Stop(patience); err != nil {
		t.Fatal(err)
	}
	w = y.restart()
	y.switched(w, sw, sflow, netflow, ipfix)
	if after := y.exporter(w, ipfix); before.Templates == 0 || after.Templates > 0 {
		t.Errorf("%d templates before the restart and %d after: the switch was to send them once", before.Templates, after.Templates)
	}
}

// switched sends packets of both families through the bridge and holds what is counted against them.
func (y *yard) switched(w *lab.Weir, sw *ovs, sflow, netflow, ipfix end) {
	y.t.Helper()
	before, l := y.through(w, sw)
	y.expectCounted(w, []*metered{
		{name: "ovs sflow 1:4", end: sflow, packets: l.all().packets, bytes: l.all().frame, tolerance: switchWithin, before: before[sflow.exporter]},
		{name: "ovs netflow", end: netflow, packets: l.v4.packets, bytes: l.v4.frame, tolerance: exact, before: before[netflow.exporter]},
		{name: "ovs ipfix 1:4", end: ipfix, packets: l.all().packets, bytes: l.all().ip, tolerance: switchWithin, before: before[ipfix.exporter]},
	})
}

// through sends, slower each time, until all that was sent came to the switch, and returns that, and what was counted before. A busy machine
// loses frames on the cable and in the switch's packet socket, whose buffer is small, and nobody can export those.
func (y *yard) through(w *lab.Weir, sw *ovs) (before map[netip.Addr]counted, l loads) {
	y.t.Helper()
	for pps := 800.; pps >= 50; pps /= 2 {
		before, l = y.quieted(w), loads{}
		seen, lost := sw.received(), y.lostOn("a0")
		for _, target := range []string{"10.0.9.1", "2001:db8:9::1"} {
			s := gen.Scenario{Seed: 9, Streams: []gen.Stream{{Kind: "quic", Target: target, PPS: pps, Count: 2000, Flows: 20, Sizes: []int{64, 200, 300}}}}
			if _, err := y.Send(y.t.Context(), s, send.Config{Device: "a0", Sent: l.count}); err != nil {
				y.t.Fatal(err)
			}
		}
		err := lab.Wait(y.t.Context(), settled, "packets", func() (bool, error) { return sw.received()-seen >= l.all().packets, nil })
		if lost = y.lostOn("a0") - lost; err == nil && lost == 0 {
			return before, l
		}
		y.t.Logf("once more, slower: %d sent, %d lost on the cable, %d seen by the switch", l.all().packets, lost, sw.received()-seen)
	}
	y.t.Skip("the machine is too busy: the switch has never seen all packets")
	return before, l
}

// quieted waits until no exporter sends any more, and returns what was counted of each.
func (y *yard) quieted(w *lab.Weir) (now map[netip.Addr]counted) {
	y.t.Helper()
	var last map[netip.Addr]counted
	var since time.Time
	y.wait("end of exports", func() (bool, error) {
		var err error
		if now, err = countedOf(w); err != nil || !maps.Equal(now, last) {
			last, since = now, time.Now()
		}
		var sum uint64
		for _, c := range now {
			sum += c.packets
		}
		// Timeouts of the switch are two seconds, and it may be late.
		return err == nil && (sum == 0 || time.Since(since) > 2*settled), err
	})
	return now
}

// exporter is what the appliance knows of one.
func (y *yard) exporter(w *lab.Weir, e end) collector.ExporterStats {
	y.t.Helper()
	all, err := exporters(w)
	if err != nil {
		y.t.Fatal(err)
	}
	return all[e.exporter]
}

// attackConfig bans above 200 packets a second: sampled exports of the attack are far below that unless they are scaled.
const attackConfig = `
bans: {ban_time: 10m}
guard: {max_new_per_minute: 10000, max_blackholes: 10000}
hostgroups:
  global: {ban_for_pps: true, threshold_pps: 200}
`

// attacked are the victims of one exporter: nobody else exports their traffic.
type attacked struct {
	name   string
	end    end
	hosts  []string
	source string // device that the packets come in at, "" for a capture
}

// TestExporterAttack sends an attack through each real exporter: it is detected and announced, for exactly the hosts that were attacked.
func TestExporterAttack(t *testing.T) {
	t.Parallel()
	y := newYard(t, "softflowd", "pmacctd", "ovsdb-server", "ovs-vswitchd")
	y.bird(nil)
	var list []attacked
	var rules []string
	var runs []func()
	add := func(name, source string, six bool, rule string, run func(a attacked)) {
		n := len(list) + 1
		a := attacked{name: name, end: y.end(false), hosts: []string{fmt.Sprintf("10.0.%d.9", n)}, source: source}
		if six {
			a.hosts = append(a.hosts, fmt.Sprintf("2001:db8:%x::9", n))
		}
		list = append(list, a)
		if rule != "" {
			rules = append(rules, a.end.rule(rule))
		}
		runs = append(runs, func() { run(a) })
	}
	softflowd := func(name string, six bool, rule string, args ...string) {
		add("softflowd "+name, "", six, rule, func(a attacked) {
			path := y.Path(strings.ReplaceAll(name, " ", "-") + ".pcap")
			s := a.scenario()
			s.Length = gen.Duration(20 * time.Second)
			for i := range s.Streams {
				s.Streams[i].Duration = s.Length
			}
			_, _ = capture(t, path, s, ipOnly, false)
			y.softflowd(path, a.end.to(), args...)
		})
	}
	softflowd("v5", false, "", "-v", "5")
	softflowd("v9 1:10", true, "", "-v", "9", "-s", "10")
	softflowd("ipfix 1:10", true, "", "-v", "10", "-s", "10")
	softflowd("biflow", true, "", "-v", "10", "-b")
	softflowd("psamp 1:10", true, "sampling_rate: 10", "-v", "psamp", "-s", "10")

	const short = "tcp=2:maxlife=2:expint=1:general=2:udp=2:icmp=2"
	pmacctd := func(name string, six bool, plugin func(e end) string) {
		add("pmacctd "+name, "p0", six, "", func(a attacked) { y.pmacctd(livePackets("p1", a.hosts...), plugin(a.end)) })
	}
	pmacctd("nfprobe v5", false, func(e end) string { return nfprobe(e.to(), 5, 1, short) })
	pmacctd("nfprobe v9 1:10", true, func(e end) string { return nfprobe(e.to(), 9, 10, short) })
	pmacctd("nfprobe v10 1:10", true, func(e end) string { return nfprobe(e.to(), 10, 10, short) })
	pmacctd("sfprobe 1:4", true, func(e end) string { return sfprobe(e, 4) })
	y.veth("p0", "p1")

	var sw *ovs
	for _, x := range []struct {
		kind, rule string
		six        bool
	}{{"sflow", "", true}, {"netflow", "", false}, {"ipfix", "sampling: ignore, count: ingress", true}} {
		y.veth(x.kind+"0", x.kind+"1")
		add("ovs "+x.kind, x.kind+"0", x.six, x.rule, func(a attacked) {
			sw.bridge("br-"+x.kind, x.kind+"1", map[string]end{x.kind: a.end})
		})
	}

	w := y.start(y.Base(lab.BIRD) + y.flows(rules...) + attackConfig)
	sw = y.startOVS()
	var want []string
	for i, a := range list {
		runs[i]()
		want = append(want, blackholes(a.hosts...)...)
	}
	for _, device := range []string{"p0", "sflow0", "netflow0", "ipfix0"} {
		s := gen.Scenario{Seed: 1, Length: long}
		for _, a := range list {
			if a.source == device {
				s.Streams = append(s.Streams, a.scenario().Streams...)
			}
		}
		y.flood(s, send.Config{Device: device})
	}
	y.expect("a route for every victim", want...)
	found := incidents(t, w)
	for _, a := range list {
		for _, h := range a.hosts {
			inc, ok := found[h+" incoming"]
			if !ok || inc.Vector != "udp_flood" || inc.Threshold != "threshold_pps" {
				t.Errorf("%s: %s: incident %v: %s for %s", a.name, h, ok, inc.Vector, inc.Threshold)
			}
			t.Logf("%-24s %-16s %.0f pps over %.0f", a.name, h, inc.Value, inc.Limit)
			delete(found, h+" incoming")
		}
	}
	if len(found) > 0 {
		t.Errorf("incidents of hosts that were not attacked: %v", addresses(found))
	}
}

// scenario is a UDP flood on the victims, from few sources so that its flows last.
func (a attacked) scenario() gen.Scenario {
	s := gen.Scenario{Seed: 1, Length: long}
	for _, h := range a.hosts {
		s.Streams = append(s.Streams, gen.Stream{Kind: "udp", Target: h, PPS: 500, Duration: long, Flows: 10})
	}
	return s
}

// The download: less than a third of what is allowed, for two minutes.
const (
	downloadPPS  = 100
	downloadTime = 2 * time.Minute
	// downloadLimit is above two records of a minute that arrive together, as they do from a capture that is read at once.
	downloadLimit = 400
)

// TestExporterDownload: a record that reports a minute or two arrives after them, and says thousands of packets. That is a long quiet
// download and not a second of a flood, whichever exporter it comes from. To show that the same records would be one if they were
// taken at once, one exporter is configured so. FastNetMon gets the same records, and what it does is logged.
func TestExporterDownload(t *testing.T) {
	t.Parallel()
	y := newYard(t, "softflowd", "pmacctd")
	y.bird(nil)
	type download struct {
		name  string
		end   end
		hosts []string
		run   func(capture string, to netip.AddrPort)
	}
	var list []download
	add := func(name string, six bool, run func(capture string, to netip.AddrPort)) end {
		n := len(list) + 1
		d := download{name, y.end(false), []string{fmt.Sprintf("10.0.%d.7", n)}, run}
		if six {
			d.hosts = append(d.hosts, fmt.Sprintf("2001:db8:%x::7", n))
		}
		list = append(list, d)
		return d.end
	}
	softflowd := func(version string) func(string, netip.AddrPort) {
		return func(capture string, to netip.AddrPort) { y.softflowd(capture, to, "-v", version) }
	}
	add("softflowd v5", false, softflowd("5"))
	add("softflowd v9", true, softflowd("9"))
	add("softflowd ipfix", true, softflowd("10"))
	for _, v := range []int{5, 9, 10} {
		add(fmt.Sprintf("pmacctd nfprobe v%d", v), v > 5, func(capture string, to netip.AddrPort) {
			y.pmacctd(savedPackets(capture), nfprobe(to, v, 1, "tcp=300:maxlife=60:expint=1:general=300:udp=300:icmp=300"))
		})
	}
	atOnce := add("softflowd v9, at once", true, softflowd("9"))
	quiet, loud := list[:len(list)-1], list[len(list)-1]

	fnm := y.startFastNetMon(downloadLimit)
	w := y.start(y.Base(lab.BIRD) + y.flows(atOnce.rule("spread: off")) + fmt.Sprintf(`
tick: 500ms
bans: {ban_time: 10m}
hostgroups:
  global: {ban_for_pps: true, threshold_pps: %d}
`, downloadLimit))

	for i, d := range list {
		path := y.Path(fmt.Sprintf("download-%d.pcap", i))
		s := gen.Scenario{Seed: 1, Length: gen.Duration(downloadTime)}
		for _, h := range d.hosts {
			s.Streams = append(s.Streams, gen.Stream{Kind: "tcp", Target: h, PPS: downloadPPS, Flows: 1, SourcePort: 443, DestPort: 40000, Sizes: []int{1400}})
		}
		_, _ = capture(t, path, s, ipOnly, false)
		d.run(path, d.end.to())
		if fnm != nil && d.end != atOnce {
			d.run(path, fnm.to)
		}
	}

	want := blackholes(loud.hosts...)
	y.expect("ban of what is taken at once", want...)
	for _, d := range quiet {
		for _, h := range d.hosts {
			y.wait("download of "+h, func() (bool, error) {
				pps, err := incoming(w, h)
				return pps > downloadPPS*0.8, errors.Join(err, fmt.Errorf("%s: %.0f packets a second", d.name, pps))
			})
		}
	}
	bird := y.routers["bird"]
	y.stays(8*time.Second, func() error { return y.quiet(w, bird, want, loud.hosts) })
	for _, d := range quiet {
		var banned []string
		for _, h := range d.hosts {
			if fnm != nil && slices.Contains(fnm.bans(), netip.MustParseAddr(h)) {
				banned = append(banned, h)
			}
		}
		if fnm != nil {
			t.Logf("%-24s of %v FastNetMon 1.2.4 has banned %v", d.name, d.hosts, banned)
		}
	}
}

// quiet says what is wrong when there is another route or incident than those of the given hosts.
func (y *yard) quiet(w *lab.Weir, bird routertest.Router, routes, hosts []string) error {
	got, err := routesOf(y.t.Context(), bird)
	if err != nil {
		return err
	}
	if d := difference(got, slices.Sorted(slices.Values(routes))); d != "" {
		return errors.New("routes:" + d)
	}
	open, err := w.Incidents(true)
	for _, inc := range open {
		if !slices.Contains(hosts, inc.Target) {
			return fmt.Errorf("incident of %s: %v over %v", inc.Target, inc.Value, inc.Limit)
		}
	}
	return err
}
