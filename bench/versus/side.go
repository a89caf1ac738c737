package versus

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/weir-ddos/weir/bench/cable"
)

// Kind says what a side is to Weir.
type Kind uint8

// The kinds of sides.
const (
	// Ours is Weir.
	Ours Kind = iota
	// Floor only counts.
	Floor
	// Tool does something else with packets.
	Tool
	// Peer detects attacks.
	Peer
)

// Side is one program, set up in one way.
type Side struct {
	// Name is how it is called on the command line, Label in a table.
	Name, Label string
	Kind        Kind
	// Floor and Rival are the names of those that it is held against, and Least that of the one which does no more than any program that
	// counts the same must; empty without.
	Floor, Least, Rival string
	// Within is how many times its Rival's figure must be its own.
	Within float64
	// Polls is set for programs that never sleep: their figure is the whole processor's.
	Polls bool
	// Periodic is set for those that do a part of their work on a packet up to a second later.
	Periodic bool

	// missing says what is not there.
	missing func(Config) string
	// version is the program's.
	version func(context.Context, Config) string
	// start returns when packets are received.
	start func(context.Context, *Bench, Scenario) (*receiver, error)
}

// receiver is a side that runs.
type receiver struct {
	pid int
	// received is its own count of packets, which may be late by lag.
	received func() (uint64, error)
	lag      time.Duration
	// warm is how long it needs traffic before all its memory is in use.
	warm time.Duration
	// steady ends the warm-up, check is asked at the end. Each may be nil.
	steady, check func() error
	// stop ends it.
	stop func() error
}

// Names of sides.
const (
	bareXDP     = "bare-afxdp"
	barePacket  = "bare-afpacket"
	headXDP     = "head-afxdp"
	headPacket  = "head-afpacket"
	hostsXDP    = "floor-afxdp-hosts"
	hostsPacket = "floor-afpacket-hosts"
	flowsXDP    = "floor-afxdp"
	flowsPacket = "floor-afpacket"
	tracking    = "fastnetmon-ct"
	hosts       = "fastnetmon"
	trackingXDP = "fastnetmon-afxdp-ct"
	testpmd     = "testpmd"
)

// Sides are all that there are, Weir's first.
func Sides() []Side {
	return []Side{
		weir("weir-afxdp", "Weir, AF_XDP, hosts and flows", "afxdp", true),
		weir("weir-afxdp-hosts", "Weir, AF_XDP, hosts", "afxdp", false),
		weir("weir-afpacket", "Weir, AF_PACKET, hosts and flows", "afpacket", true),
		weir("weir-afpacket-hosts", "Weir, AF_PACKET, hosts", "afpacket", false),
		weir("weir-dpdk", "Weir, DPDK net_af_packet, hosts and flows", "dpdk", true),
		bare(bareXDP, "bare counter, AF_XDP", "afxdp", counts),
		bare(headXDP, "bare counter that reads each head, AF_XDP", "afxdp", reads),
		bare(hostsXDP, "floor of counting hosts, AF_XDP", "afxdp", writesHosts),
		bare(flowsXDP, "floor of counting hosts and flows, AF_XDP", "afxdp", writesFlows),
		bare(barePacket, "bare counter, AF_PACKET", "afpacket", counts),
		bare(headPacket, "bare counter that reads each head, AF_PACKET", "afpacket", reads),
		bare(hostsPacket, "floor of counting hosts, AF_PACKET", "afpacket", writesHosts),
		bare(flowsPacket, "floor of counting hosts and flows, AF_PACKET", "afpacket", writesFlows),
		{
			Name: "tcpdump", Label: "tcpdump -w /dev/null, AF_PACKET", Kind: Tool, missing: program("tcpdump", "tcpdump"),
			version: firstLine("tcpdump", "--version"), start: startTcpdump,
		},
		{
			Name: testpmd, Label: "dpdk-testpmd rxonly, net_af_packet", Kind: Tool, Polls: true, missing: program("dpdk-testpmd", "dpdk-dev"),
			version: firstLine("dpkg-query", "-W", "-f", "DPDK ${Version}", "dpdk"), start: startTestpmd,
		},
		fastNetMon(tracking, "FastNetMon, AF_PACKET, connection tracking", "afpacket", true),
		fastNetMon(hosts, "FastNetMon, AF_PACKET, no connection tracking", "afpacket", false),
		fastNetMon(trackingXDP, "FastNetMon, AF_XDP, connection tracking", "afxdp", true),
		fastNetMon("fastnetmon-afxdp", "FastNetMon, AF_XDP, no connection tracking", "afxdp", false),
	}
}

// Choose finds sides by name.
func Choose(names ...string) (list []Side, err error) {
	all := Sides()
	for _, n := range names {
		i := slices.IndexFunc(all, func(s Side) bool { return s.Name == n })
		if i < 0 {
			return nil, fmt.Errorf("no side %q", n)
		}
		list = append(list, all[i])
	}
	return list, nil
}

// program says that a program is missing, and which of Debian's packages has it.
func program(name, debian string) func(Config) string {
	return func(Config) string {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Sprintf("no program %s (Debian package %s)", name, debian)
		}
		return ""
	}
}

// firstLine is the first line that a command prints, and empty when it fails.
func firstLine(name string, args ...string) func(context.Context, Config) string {
	return func(ctx context.Context, _ Config) string {
		out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
		if err != nil && len(out) == 0 {
			return ""
		}
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return strings.TrimSpace(line)
	}
}

// What bare counters do with a packet of a scenario.
var (
	counts      = func(Scenario) cable.Work { return cable.Work{} }
	reads       = func(Scenario) cable.Work { return cable.Work{Head: true} }
	writesHosts = func(sc Scenario) cable.Work { return floor(sc, 0) }
	writesFlows = func(sc Scenario) cable.Work { return floor(sc, flowsPerWorker) }
)

// floor is what no program can spare that counts the hosts of a scenario, and so many flows. Where it is not known which those are, it must read
// the heads.
func floor(sc Scenario, flows int) cable.Work {
	if sc.Hosts == 0 {
		return reads(sc)
	}
	return cable.Work{Hosts: sc.Hosts, Flows: flows, IP: sc.IP, IPv6: sc.IPv6}
}

// bare is package cable's counter, which is part of this program.
func bare(name, label, driver string, work func(Scenario) cable.Work) Side {
	return Side{
		Name: name, Label: label, Kind: Floor,
		missing: func(Config) string { return "" },
		version: func(context.Context, Config) string { return "" },
		start: func(_ context.Context, b *Bench, sc Scenario) (*receiver, error) {
			c, err := b.cable.Counter(driver, work(sc))
			if err != nil {
				return nil, err
			}
			return &receiver{
				pid: c.PID(), received: c.Received, lag: 200 * time.Millisecond,
				stop: func() error { c.Close(); return nil },
			}, nil
		},
	}
}
