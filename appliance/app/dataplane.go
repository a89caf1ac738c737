package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/dataplane/cpu"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/probe"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/dataplane/worker"
)

// WorkerConfig translates the workers and traffic sections.
func WorkerConfig(cfg *config.Config) (worker.Config, error) {
	w := worker.DefaultConfig()
	w.Traffic.Hosts = cfg.Traffic.HostsPerWorker
	w.Flows.Flows = 0
	if cfg.Traffic.Flows {
		w.Flows.Flows = cfg.Traffic.FlowsPerWorker
	}
	return w, errors.Join(
		w.Idle.UnmarshalText([]byte(cfg.Workers.Idle)),
		w.Internal.UnmarshalText([]byte(cfg.Traffic.Internal)),
		w.CountBytes.UnmarshalText([]byte(cfg.Traffic.CountBytes)),
	)
}

// shared is what outlives a change of ports and workers.
type shared struct {
	seed     traffic.Seed
	clock    func() int64
	nets     *nets.Table
	evidence *probe.Evidence
	// topology is the machine as it was before this process confined its own threads.
	topology cpu.Topology
}

// dataplane is the packet path: ports and the workers that poll their queues.
type dataplane struct {
	ports   []port.Port
	workers []*worker.Worker
	names   []string  // of the workers, for people
	polls   [][]place // by worker
	idle    string
	plan    cpu.Plan
}

// place is a queue: the numbers of its port and of the queue in it.
type place struct{ port, queue int }

// share of the queues that one worker polls.
type share struct {
	name   string
	device string
	queues []port.Queue
	places []place
}

// splits are the drivers that make as many queues as they are asked for, with the most that they take; with the others the device
// decides.
var splits = map[string]int{"afpacket": 256, "replay": 256, "pfring": 64, "snabb": 16}

// openPorts opens every configured port; when one fails, those before it are closed again.
func openPorts(cfgs []port.Config, workers int) ([]port.Port, error) {
	var ports []port.Port
	for _, c := range cfgs {
		if most := splits[c.Driver]; c.Queues == 0 && workers > 0 && most > 0 {
			c.Queues = min(max(1, workers/len(cfgs)), most)
		}
		p, err := port.Open(c)
		if err != nil {
			return nil, errors.Join(err, closePorts(ports))
		}
		ports = append(ports, p)
	}
	return ports, nil
}

func closePorts(ports []port.Port) error {
	var errs []error
	for _, p := range ports {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// shares deals the queues out: one worker a queue, or count workers in turn.
func shares(ports []port.Port, count int) []share {
	var out []share
	for n, p := range ports {
		st := p.Stats()
		name := st.Device
		if st.Driver == "dpdk" {
			name, _, _ = strings.Cut(name, ",") // without its arguments
		}
		for i, q := range p.Queues() {
			out = append(out, share{
				name: fmt.Sprintf("%s/%d", name, i), device: st.Device, queues: []port.Queue{q}, places: []place{{n, i}},
			})
		}
	}
	if count == 0 {
		count = max(1, runtime.NumCPU()-2)
	}
	if len(out) <= count {
		return out
	}
	for i, s := range out[count:] {
		to := &out[i%count]
		to.name += "+" + s.name
		to.queues = append(to.queues, s.queues...)
		to.places = append(to.places, s.places...)
	}
	return out[:count]
}

// assign chooses processors. With the sleeping policy and no wishes, workers stay unpinned: they do not own a core.
func assign(cfg *config.Config, topology cpu.Topology, list []share) (cpu.Plan, error) {
	want := make([]cpu.Worker, len(list))
	for i, s := range list {
		want[i] = cpu.Worker{Name: s.name, Node: cpu.DeviceNode(os.DirFS("/sys"), s.device), CPU: cpu.Auto}
		if cfg.Workers.Idle == "sleep" {
			want[i].CPU = cpu.Unpinned
		}
		if i < len(cfg.Workers.CPUs) {
			want[i].CPU = cfg.Workers.CPUs[i]
		}
	}
	plan, err := cpu.Place(topology, want)
	for i, w := range want {
		if err == nil && w.CPU == cpu.Unpinned && i >= len(cfg.Workers.CPUs) {
			plan.Workers[i].Why = "workers that sleep share the processors"
		}
	}
	return plan, err
}

// newDataplane opens the ports and makes the workers; nothing runs yet. On an error nothing stays open.
func newDataplane(cfg *config.Config, s shared) (*dataplane, error) {
	ports, err := openPorts(cfg.Ports, cfg.Workers.Count)
	if err != nil {
		return nil, err
	}
	list := shares(ports, cfg.Workers.Count)
	plan, err := assign(cfg, s.topology, list)
	if err != nil {
		return nil, errors.Join(err, closePorts(ports))
	}
	d := &dataplane{ports: ports, plan: plan, idle: cfg.Workers.Idle}
	if err := d.makeWorkers(cfg, s, list); err != nil {
		return nil, errors.Join(err, closePorts(ports))
	}
	return d, nil
}

func (d *dataplane) makeWorkers(cfg *config.Config, s shared, list []share) error {
	wc, err := WorkerConfig(cfg)
	if err != nil {
		return err
	}
	// A snapshot holds the rows of all workers, and two are in use at a time.
	if need := uint64(len(list)) * wc.Size() * 2; need > uint64(cfg.Traffic.MemoryLimit) {
		return fmt.Errorf("traffic: %d workers with %d hosts and %d flows each may take %s, more than memory_limit %s",
			len(list), wc.Traffic.Hosts, wc.Flows.Flows, config.Size(need>>20<<20), cfg.Traffic.MemoryLimit)
	}
	decoder := &wire.Decoder{Charge: cfg.Decode.Charges()}
	for i, sh := range list {
		deps := worker.Deps{
			Queues: sh.queues, Decoder: decoder, Nets: s.nets, Seed: s.seed, Evidence: s.evidence, Clock: s.clock,
		}
		if i < len(d.plan.Workers) && d.plan.Workers[i].CPU >= 0 {
			id := d.plan.Workers[i].CPU
			deps.Pin = func() error { return cpu.Pin(id) }
		}
		w, err := worker.New(wc, deps)
		if err != nil {
			return errors.Join(fmt.Errorf("worker %s: %w", sh.name, err), d.free())
		}
		d.workers = append(d.workers, w)
		d.names = append(d.names, sh.name)
		d.polls = append(d.polls, sh.places)
	}
	return nil
}

// shards are the workers' counters.
func (d *dataplane) shards() (list []*traffic.Shard) {
	for _, w := range d.workers {
		list = append(list, w.Shard())
	}
	return list
}

// pinned reports whether any worker owns a processor.
func (d *dataplane) pinned() bool {
	return slices.ContainsFunc(d.plan.Workers, func(w cpu.Assignment) bool { return w.CPU >= 0 })
}

// describe says in words where everything runs.
func (d *dataplane) describe() []string {
	return strings.Split(strings.TrimSpace(d.plan.String()), "\n")
}

// start starts the workers; when one fails, those before it are stopped.
func (d *dataplane) start(ctx context.Context, m *source) error {
	for i, w := range d.workers {
		if err := m.add(w.Shard()); err != nil {
			return fmt.Errorf("worker %s: %w", d.names[i], err)
		}
		if err := w.Start(ctx); err != nil {
			return errors.Join(fmt.Errorf("worker %s: %w", d.names[i], err), d.stopWorkers())
		}
	}
	return nil
}

func (d *dataplane) stopWorkers() error {
	var errs []error
	for _, w := range d.workers {
		errs = append(errs, w.Stop())
	}
	return errors.Join(errs...)
}

// stop ends reception. What was counted stays in the shards until the last tick has taken it.
func (d *dataplane) stop() error { return errors.Join(d.stopWorkers(), closePorts(d.ports)) }

// free gives the counters' memory back; the merger must have dropped the shards.
func (d *dataplane) free() error {
	var errs []error
	for _, w := range d.workers {
		errs = append(errs, w.Free())
	}
	return errors.Join(errs...)
}
