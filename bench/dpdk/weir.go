package dpdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
	"github.com/weir-ddos/weir/tools/lab"
)

// patience bounds every wait: a shared machine may be slow, and so is a process that shares its only processor with a worker that spins.
const patience = 30 * time.Second

// optionsText are the port's options: what testpmd gets too.
func (b *Bench) optionsText() string {
	return fmt.Sprintf("{huge_pages: %v, memory: %d, mbufs: %d, buffer_size: %d}", b.HugePages, memory, mbufs, buffer)
}

// config has everything on, and thresholds that a flood on all hosts does not reach, so that what is measured is
// the steady state.
func (b *Bench) config(device string) string {
	return fmt.Sprintf(`
ports: [{driver: dpdk, device: "%s", options: %s}]
workers: {idle: spin, cpus: [%s]}
traffic: {flows: true, hosts_per_worker: 262144, flows_per_worker: 1048576}
networks: [10.0.0.0/8, "2001:db8::/32"]
hostgroups:
  global: {ban_for_pps: true, threshold_pps: 4000000000, ban_for_flows: true, threshold_flows: 4000000000, ban_for_tcp_syn_pps: true, threshold_tcp_syn_pps: 4000000000}
`, device, b.optionsText(), processor())
}

// runWeir measures the product, started through taskset, from a time when all memory is touched.
func (b *Bench) runWeir(ctx context.Context, device string, c Case) (s Sample, err error) {
	pinned := filepath.Join(b.dir, "pinned")
	script := fmt.Sprintf("#!/bin/sh\nexec taskset -c %s %s \"$@\"\n", processor(), b.weir)
	if err := os.WriteFile(pinned, []byte(script), 0o700); err != nil { //nolint:gosec // it must be executable
		return s, err
	}
	l, err := lab.New(pinned, 1)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	text := fmt.Sprintf("api: {socket: %s}\njournal: {path: %s}\nhistory: {directory: %s}\n%s",
		l.Path("api.sock"), l.Path("journal.db"), l.Path("history"), b.config(device))
	w, err := l.Start(ctx, text)
	if err != nil {
		return s, err
	}
	if s, err = measure(ctx, w, c); err == nil {
		err = check(w, c)
	}
	if err == nil {
		err = w.Stop(patience)
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, w.Log())
	}
	return s, err
}

// warmTicks is how many ticks touch the pages of both halves.
const warmTicks = 3

// measure reads counters and clocks. The API's counters of a port are a second apart: both ends are when they change.
func measure(ctx context.Context, w *lab.Weir, c Case) (s Sample, err error) {
	err = lab.Wait(ctx, patience, "ticks with all hosts", func() (bool, error) {
		ticks, err := w.Counter("ticks")
		if err != nil {
			return false, err
		}
		hosts, err := w.Counter("total_number_of_hosts")
		return ticks >= warmTicks && int(hosts) == c.Hosts, errors.Join(err, fmt.Errorf("%.0f ticks, %.0f of %d hosts", ticks, hosts, c.Hosts))
	})
	if err != nil {
		return s, err
	}
	first, err := change(ctx, w, 0)
	if err == nil {
		first, err = change(ctx, w, first.packets)
	}
	for last := first; err == nil; {
		if last, err = change(ctx, w, last.packets); err == nil {
			s = Sample{last.packets - first.packets, last.at.Sub(first.at), last.cpu - first.cpu}
			if s.Wall >= c.Time {
				return s, nil
			}
		}
	}
	return s, err
}

// reading is a port's count at one moment, and what the process had used by then.
type reading struct {
	packets uint64
	at      time.Time
	cpu     time.Duration
}

// pollEvery is seldom enough not to take time from the worker, which shares the processor.
const pollEvery = 40 * time.Millisecond

// change waits until the port's count is another one than last.
func change(ctx context.Context, w *lab.Weir, last uint64) (r reading, err error) {
	for end := time.Now().Add(patience); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(pollEvery) {
		var ports []api.Port
		if err := w.Get("interfaces", &ports); err != nil {
			return r, err
		}
		if len(ports) != 1 || len(ports[0].Queues) != 1 || ports[0].Err != "" || ports[0].Dropped > 0 {
			return r, fmt.Errorf("ports %+v", ports)
		}
		if n := ports[0].Queues[0].Received; n != last {
			cpu, err := used(w.PID())
			return reading{n, time.Now(), cpu}, err
		}
	}
	return r, errors.Join(ctx.Err(), fmt.Errorf("no packets within %v", patience))
}

// check holds the counters against the capture: every frame is a packet to one of the hosts, and every flow was told apart.
func check(w *lab.Weir, c Case) error {
	var list []api.SystemCounter
	if err := w.Get("system_counters", &list); err != nil {
		return err
	}
	m := make(map[string]float64, len(list))
	for _, x := range list {
		m[x.Name] = x.Value
	}
	var errs []error
	for _, name := range []string{
		"port_dropped_packets", "host_table_overflow_packets", "flow_table_saturated_packets", "conservation_faults", "incidents_opened",
	} {
		if m[name] != 0 {
			errs = append(errs, fmt.Errorf("%s is %.0f", name, m[name]))
		}
	}
	if got, want := m["total_incoming_packets_ipv4"], m["packets_counted"]; got != want || want == 0 {
		errs = append(errs, fmt.Errorf("%.0f of %.0f packets are incoming", got, want))
	}
	if int(m["total_number_of_hosts"]) != c.Hosts {
		errs = append(errs, fmt.Errorf("%.0f hosts of %d", m["total_number_of_hosts"], c.Hosts))
	}
	return errors.Join(errs...)
}

// Order is what the program in folder bare is told in its first argument, as JSON; it answers with a Sample.
type Order struct {
	Device  string
	Options map[string]any
	Time    time.Duration
}

// runBare measures the binding alone.
func (b *Bench) runBare(ctx context.Context, device string, length time.Duration) (s Sample, err error) {
	order, err := json.Marshal(Order{device, map[string]any{"huge_pages": b.HugePages, "memory": memory, "mbufs": mbufs, "buffer_size": buffer}, length})
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, length+patience)
	defer cancel()
	runtime.LockOSThread() // the process ends with this thread
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, "taskset", "-c", processor(), b.bare, string(order))
	cmd.SysProcAttr = netns.Mortal()
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(out, &s); err != nil {
		return s, fmt.Errorf("%q: %w", out, err)
	}
	return s, nil
}
