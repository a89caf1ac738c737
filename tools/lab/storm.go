package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/weir-ddos/weir/tools/trafficgen/gen"
	"github.com/weir-ddos/weir/tools/trafficgen/send"
)

// Steady are hosts that stay inside the networks of every configuration that Variant makes, one of each family.
var Steady = [2]string{"10.0.9.1", "2001:db8:9::1"}

// Variant is the i-th configuration of a series: thresholds, networks, hostgroups and the tick all differ from the one before, and
// the Steady hosts move between groups and networks. base is what Base returns, and ports the value of the key ports.
func Variant(base, ports string, i int) string {
	if i%2 == 1 { // the same addresses in more networks
		base = strings.Replace(base, "10.0.0.0/16, 2001:db8::/32",
			`10.0.0.0/17, 10.0.128.0/17, 10.0.9.0/24, "2001:db8::/33", "2001:db8:8000::/33", "2001:db8:9::/48", 192.168.0.0/16`, 1)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%sports: %s\n", base, ports)
	fmt.Fprintf(&b, "tick: %dms\n", []int{100, 250, 1000}[i%3])
	fmt.Fprintf(&b, "hostgroups:\n  global: {ban_for_pps: true, threshold_pps: %d}\n", 1_000_000+i)
	switch i % 4 {
	case 1:
		fmt.Fprintf(&b, "  web%d: {networks: [10.0.9.0/24, \"2001:db8:9::/48\"], threshold_pps: %d}\n", i, 500_000+i)
	case 2:
		fmt.Fprintf(&b, "  one: {networks: [10.0.9.1/32, \"2001:db8:9::1/128\"], calculation: total, threshold_pps: %d}\n", 600_000+i)
		b.WriteString("  web: {networks: [10.0.8.0/22], parent: one}\n")
	}
	return b.String()
}

// Commit puts a whole configuration in force.
func (w *Weir) Commit(text string) error {
	if err := w.Call(http.MethodPut, "import", strings.NewReader(text), nil); err != nil {
		return fmt.Errorf("import: %w\n%s", err, text)
	}
	if err := w.Put("commit"); err != nil {
		return fmt.Errorf("commit: %w\n%s", err, text)
	}
	return nil
}

// Fewest is how many Variants a Storm puts in force at least, on a machine that is too slow for more.
const Fewest = 20

// Storm puts a Variant in force every 50 ms, for so long, while both Steady hosts get pps packets a second each. It returns how many
// it was and how many packets were sent, and an error unless every packet that was sent is counted once, as incoming traffic of its
// family, or was dropped on the cable or by the port, which say so. The appliance must have seen no traffic before.
func (w *Weir) Storm(ctx context.Context, base, ports string, pps float64, length time.Duration) (commits int, sent uint64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		send.Stats
		error
	}
	done := make(chan result, 1)
	s := gen.Scenario{Seed: 1, Length: gen.Duration(2*length + time.Minute)}
	for _, a := range Steady {
		s.Streams = append(s.Streams, gen.Stream{Kind: "udp", Target: a, PPS: pps, Duration: s.Length})
	}
	go func() {
		st, err := w.lab.Send(ctx, s, send.Config{})
		done <- result{st, err}
	}()
	err = w.commits(ctx, base, ports, length, &commits)
	cancel()
	r := <-done
	if err = errors.Join(err, r.error); err != nil {
		return commits, r.Sent, err
	}
	if r.Refused > 0 {
		return commits, r.Sent, fmt.Errorf("the sender failed: %+v", r.Stats)
	}
	return commits, r.Sent, w.accounted(context.WithoutCancel(ctx), r.Sent)
}

func (w *Weir) commits(ctx context.Context, base, ports string, length time.Duration, n *int) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(length); *n < Fewest || time.Now().Before(end); {
		if err := w.Commit(Variant(base, ports, *n)); err != nil {
			return err
		}
		*n++
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return w.Commit(Variant(base, ports, 0)) // whose tick is short
}

// accounted waits until so many incoming packets are counted, and compares all counters that follow from it.
func (w *Weir) accounted(ctx context.Context, sent uint64) error {
	lost, err := w.lab.WireLost()
	if err != nil {
		return err
	}
	want := float64(sent - lost)
	var v4, v6, dropped float64
	err = Wait(ctx, startTime, "count of all packets", func() (bool, error) {
		var all [5]float64
		for i, name := range []string{
			"port_dropped_packets", "total_incoming_packets_ipv4", "total_incoming_packets_ipv6", "packets_counted", "total_simple_packets_processed",
		} {
			var err error
			if all[i], err = w.Counter(name); err != nil {
				return false, err
			}
		}
		dropped, v4, v6 = all[0], all[1], all[2]
		err := fmt.Errorf("%.0f and %.0f of %d sent, %d lost on the wire, %.0f dropped by the port", v4, v6, sent, lost, dropped)
		return min(v4+v6, all[3], all[4])+dropped >= want, err
	})
	if err != nil {
		return err
	}
	zero := []string{
		"conservation_faults", "host_table_overflow_packets", "port_reopens", "total_outgoing_packets_ipv4", "total_outgoing_packets_ipv6",
		"total_internal_packets_ipv4", "total_internal_packets_ipv6", "total_other_packets_ipv4", "total_other_packets_ipv6",
	}
	expect := map[string]float64{"packets_counted": want - dropped, "total_simple_packets_processed": want - dropped}
	for _, name := range zero {
		expect[name] = 0
	}
	var errs []error
	if v4+v6+dropped != want {
		errs = append(errs, fmt.Errorf("%.0f and %.0f packets counted and %.0f dropped: %d were sent and %d of them lost on the wire", v4, v6, dropped, sent, lost))
	}
	if lost == 0 && dropped == 0 && (v4-v6 > 1 || v6-v4 > 1) { // the streams are alike
		errs = append(errs, fmt.Errorf("%.0f packets of IPv4 and %.0f of IPv6", v4, v6))
	}
	for name, n := range expect {
		if got, err := w.Counter(name); err != nil || got != n {
			errs = append(errs, errors.Join(fmt.Errorf("%s is %.0f, want %.0f", name, got, n), err))
		}
	}
	return errors.Join(errs...)
}
