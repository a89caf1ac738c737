package versus

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/weir-ddos/weir/bench/cable"
	"github.com/weir-ddos/weir/tools/lab"
)

// patience bounds every wait for a program, on a machine that may be busy.
const patience = 20 * time.Second

// Weir's ticks: short ones touch the memory of both halves sooner; the figures are taken with the tick that it has by default.
const (
	warmTick  = 100 * time.Millisecond
	warmTicks = 4
	tick      = time.Second
)

// weir is the built program.
func weir(name, label, driver string, flows bool) Side {
	s := Side{Name: name, Label: label, Kind: Ours, Periodic: true, Floor: barePacket, Least: hostsPacket, Rival: hosts, Within: 4}
	switch {
	case driver == "afxdp" && flows:
		s.Floor, s.Least = bareXDP, flowsXDP
	case driver == "afxdp":
		s.Floor, s.Least = bareXDP, hostsXDP
	case flows:
		s.Least = flowsPacket
	}
	if flows {
		s.Rival, s.Within = tracking, 10
	}
	path := func(c Config) string { return c.Weir }
	if driver == "dpdk" { // its poll mode driver has no bare counter, and FastNetMon no DPDK: a figure, held against nobody
		s.Floor, s.Least, s.Rival = "", "", ""
		path = func(c Config) string { return c.WeirDPDK }
	}
	s.missing = func(c Config) string {
		if path(c) == "" {
			return "not built (make build-dpdk)"
		}
		return ""
	}
	s.version = func(ctx context.Context, c Config) string { return firstLine(path(c), "version")(ctx, c) }
	s.start = func(ctx context.Context, b *Bench, sc Scenario) (*receiver, error) {
		return b.startWeir(ctx, path(b.cfg), driver, flows, sc)
	}
	return s
}

// weirConfig names the worker's processor, which is also the only one that the rest of the process may use. It has thresholds that nothing reaches, so that rates are judged and what is measured is the steady state. The
// tables hold all hosts and, at any rate that the cable can carry, all flows.
func weirConfig(l *lab.Lab, sc Scenario, driver string, flows bool) string {
	port := fmt.Sprintf("{driver: %s, device: %s, queues: 1}", driver, lab.Watch)
	if driver == "dpdk" {
		port = fmt.Sprintf("{driver: dpdk, device: %q, queues: 1, options: {huge_pages: false, memory: %d}}", packetDevice, packetMemory)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "networks: %s\napi: {socket: %s}\njournal: {path: %s}\nhistory: {directory: %s}\n",
		list(sc.Networks), l.Path("api.sock"), l.Path("journal.db"), l.Path("history"))
	fmt.Fprintf(&b, "tick: %v\nports: [%s]\nworkers: {count: 1, cpus: [%d]}\n", firstTick(sc), port, cable.ReceiverCPU())
	fmt.Fprintf(&b, "traffic: {hosts_per_worker: %d, flows: %t, flows_per_worker: %d}\n", max(1<<18, 2*sc.Hosts), flows, flowsPerWorker)
	fmt.Fprintf(&b, "hostgroups:\n  global: {ban_for_pps: true, threshold_pps: %d, ban_for_tcp_syn_pps: true, threshold_tcp_syn_pps: %d", never, never)
	if flows {
		fmt.Fprintf(&b, ", ban_for_flows: true, threshold_flows: %d", never)
	}
	b.WriteString("}\n")
	return b.String()
}

// flowsPerWorker is how many flows a second there is room for.
const flowsPerWorker = 1 << 22

// many is the number of hosts of which a short tick sees too few.
const many = 1 << 20

// firstTick is the tick of the warm-up: short, so that both halves come to be used soon, unless there are so many hosts that only a whole
// one uses as much memory as the measurement does.
func firstTick(sc Scenario) time.Duration {
	if sc.Hosts >= many {
		return tick
	}
	return warmTick
}

// never is a rate that is not reached.
const never int64 = 4_000_000_000

// list writes networks as YAML.
func list(networks []netip.Prefix) string {
	var words []string
	for _, n := range networks {
		words = append(words, fmt.Sprintf("%q", n))
	}
	return "[" + strings.Join(words, ", ") + "]"
}

// startWeir starts the program through the lab's script, which binds it to the receiver's processor.
func (b *Bench) startWeir(ctx context.Context, program, driver string, flows bool, sc Scenario) (*receiver, error) {
	if err := os.WriteFile(b.chosen, []byte(program), 0o600); err != nil {
		return nil, err
	}
	w, err := b.lab.Start(ctx, weirConfig(b.lab, sc, driver, flows))
	if err != nil {
		return nil, err
	}
	r := &receiver{
		pid: w.PID(), lag: 2*tick + 2*warmTick, warm: warmTicks * warmTick,
		steady: func() error { return errors.Join(w.Put(fmt.Sprintf("main/tick/%v", tick)), w.Put("commit")) },
		received: func() (uint64, error) {
			n, err := w.Counter("packets_counted")
			return uint64(n), err
		},
		check: func() error { return sound(w) },
		stop: func() error {
			if !w.Running() {
				return fmt.Errorf("weir has ended by itself\n%s", tail(w.Log()))
			}
			return w.Stop(patience)
		},
	}
	if flows { // they are in one of two sets, which take turns each second
		r.warm = tick + 2*warmTick
	}
	if sc.Hosts >= many { // both halves twice: what the control plane keeps of a host is there with its second tick
		r.warm = 4 * tick
	}
	return r, nil
}

// sound looks at the counters that say that something was not counted as it should.
func sound(w *lab.Weir) error {
	for _, name := range []string{"host_table_overflow_packets", "flow_table_saturated_packets", "conservation_faults"} {
		n, err := w.Counter(name)
		if err == nil && n != 0 {
			err = fmt.Errorf("weir: %s is %.0f", name, n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
