package cpu

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Unpinned is the processor of a worker that the scheduler places.
const Unpinned = -1

// Auto lets Place choose a worker's processor.
const Auto = -2

// Worker asks for a place to run.
type Worker struct {
	// Name appears in the plan, such as "eth1/0".
	Name string
	// Node is the NUMA node of its device (DeviceNode), -1 when any will do.
	Node int
	// CPU is a processor, Auto, or Unpinned.
	CPU int
}

// Assignment is where a worker runs.
type Assignment struct {
	Name string
	// CPU is a processor, or Unpinned.
	CPU int
	// Node is that processor's NUMA node, -1 when unpinned.
	Node int
	// Why says in words what made it this processor, or none.
	Why string
}

// Plan is where everything runs.
type Plan struct {
	// Workers are in the order in which they were asked for.
	Workers []Assignment
	// Housekeeping are the processors for all other threads. It is never empty.
	Housekeeping []int
	// MaxProcs is the advice for GOMAXPROCS: every worker keeps one P busy, and the tick, the API, BGP and the
	// garbage collector need some of their own.
	MaxProcs int
	// Warnings say in words what is not as good as it could be.
	Warnings []string
}

// Place chooses processors. Explicit wishes come first. Automatic workers then take, in this order of preference: a processor on
// their device's node, an isolated one, one that leaves no hyperthread shared with another worker, and a high number, since
// low-numbered processors get the interrupts. One processor stays free for housekeeping as long as there is more than one.
// Workers that find no free processor are not pinned, with a warning. An unknown or twice chosen processor is an error.
func Place(t Topology, workers []Worker) (Plan, error) {
	if len(t.CPUs) == 0 {
		return Plan{}, errors.New("placement: no processor may be used")
	}
	p := placement{topology: t, used: make(map[int]string), cores: make(map[int]int)}
	p.plan.Workers = make([]Assignment, len(workers))
	if err := p.explicit(workers); err != nil {
		return Plan{}, err
	}
	p.reserve(workers)
	for i, w := range workers {
		if w.CPU == Auto {
			p.auto(i, w)
		}
	}
	p.housekeeping()
	return p.plan, nil
}

type placement struct {
	topology Topology
	plan     Plan
	used     map[int]string // processor -> worker
	cores    map[int]int    // core -> number of workers on it
	reserved int            // the processor kept for housekeeping, -1 for none
}

func (p *placement) explicit(workers []Worker) error {
	var errs []error
	for i, w := range workers {
		p.plan.Workers[i] = Assignment{Name: w.Name, CPU: Unpinned, Node: -1, Why: "not asked for"}
		if w.CPU < 0 {
			continue
		}
		c, ok := p.topology.find(w.CPU)
		switch other := p.used[w.CPU]; {
		case !ok:
			errs = append(errs, fmt.Errorf("worker %s: processor %d is not online or not allowed (there are %s)",
				w.Name, w.CPU, FormatList(p.topology.IDs())))
		case other != "":
			errs = append(errs, fmt.Errorf("worker %s: processor %d already runs worker %s", w.Name, w.CPU, other))
		default:
			p.assign(i, w, c, "configured")
		}
	}
	return errors.Join(errs...)
}

// reserve keeps the first processor that is neither isolated nor used, if the automatic workers leave a choice.
func (p *placement) reserve(workers []Worker) {
	p.reserved = -1
	if !slices.ContainsFunc(workers, func(w Worker) bool { return w.CPU == Auto }) {
		return
	}
	var free []CPU
	for _, c := range p.topology.CPUs {
		if p.used[c.ID] == "" {
			free = append(free, c)
		}
	}
	if len(free) < 2 && len(free) == len(p.topology.CPUs) {
		return // a single processor: workers and housekeeping share it
	}
	slices.SortStableFunc(free, func(a, b CPU) int { return boolFirst(!a.Isolated, !b.Isolated) })
	if len(free) > 0 {
		p.reserved = free[0].ID
	}
}

func (p *placement) auto(i int, w Worker) {
	var best *CPU
	for j := range p.topology.CPUs {
		c := &p.topology.CPUs[j]
		if p.used[c.ID] != "" || c.ID == p.reserved {
			continue
		}
		if best == nil || p.prefer(w, *c, *best) < 0 {
			best = c
		}
	}
	if best == nil {
		p.plan.Workers[i].Why = "no processor is left"
		p.warnf("worker %s is not pinned: no processor is left for it", w.Name)
		return
	}
	if w.Node >= 0 && best.Node != w.Node {
		p.warnf("worker %s runs on node %d, its device is on node %d", w.Name, best.Node, w.Node)
	}
	p.assign(i, w, *best, p.reasons(w, *best))
}

// reasons says what speaks for c, in the order of prefer.
func (p *placement) reasons(w Worker, c CPU) string {
	var list []string
	switch {
	case w.Node >= 0 && c.Node == w.Node:
		list = append(list, "its device's node")
	case w.Node >= 0:
		list = append(list, "nothing free on its device's node")
	}
	if c.Isolated {
		list = append(list, "isolated")
	}
	if p.cores[c.Core] == 0 {
		list = append(list, "a core without another worker")
	} else {
		list = append(list, "no core is left without a worker")
	}
	return strings.Join(list, ", ")
}

func (p *placement) prefer(w Worker, a, b CPU) int {
	reservedCore := -1
	if c, ok := p.topology.find(p.reserved); ok {
		reservedCore = c.Core
	}
	return cmp.Or(
		boolFirst(w.Node < 0 || a.Node == w.Node, w.Node < 0 || b.Node == w.Node),
		boolFirst(a.Isolated, b.Isolated),
		cmp.Compare(p.cores[a.Core], p.cores[b.Core]),
		boolFirst(a.Core != reservedCore, b.Core != reservedCore),
		cmp.Compare(b.ID, a.ID),
	)
}

func (p *placement) assign(i int, w Worker, c CPU, why string) {
	if p.cores[c.Core] > 0 {
		p.warnf("worker %s shares the physical core of processor %d with another worker", w.Name, c.ID)
	}
	p.used[c.ID] = w.Name
	if w.Name == "" {
		p.used[c.ID] = fmt.Sprint(i)
	}
	p.cores[c.Core]++
	p.plan.Workers[i] = Assignment{Name: w.Name, CPU: c.ID, Node: c.Node, Why: why}
}

// housekeeping takes what workers left: without isolated processors, and without their hyperthreads if others remain.
func (p *placement) housekeeping() {
	pick := func(ok func(CPU) bool) (ids []int) {
		for _, c := range p.topology.CPUs {
			if p.used[c.ID] == "" && ok(c) {
				ids = append(ids, c.ID)
			}
		}
		return ids
	}
	h := pick(func(c CPU) bool { return !c.Isolated && p.cores[c.Core] == 0 })
	if len(h) == 0 {
		h = pick(func(c CPU) bool { return !c.Isolated })
	}
	if len(h) == 0 {
		h = pick(func(CPU) bool { return true })
	}
	if len(h) == 0 {
		h = p.topology.IDs()
		p.warnf("workers use every processor: the control plane shares them")
	}
	p.plan.Housekeeping = h
	p.plan.MaxProcs = len(p.plan.Workers) + min(max(2, len(h)), 8)
}

func (p *placement) warnf(format string, args ...any) {
	p.plan.Warnings = append(p.plan.Warnings, fmt.Sprintf(format, args...))
}

// boolFirst sorts true before false.
func boolFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// String is the plan as printed when the daemon starts: a line for each worker, one for the rest, and the warnings.
func (p Plan) String() string {
	var b strings.Builder
	for _, w := range p.Workers {
		if w.CPU == Unpinned {
			fmt.Fprintf(&b, "worker %-16s not pinned: %s\n", w.Name, w.Why)
			continue
		}
		fmt.Fprintf(&b, "worker %-16s cpu %d, node %d: %s\n", w.Name, w.CPU, w.Node, w.Why)
	}
	fmt.Fprintf(&b, "%-23s cpu %s, GOMAXPROCS %d\n", "housekeeping", FormatList(p.Housekeeping), p.MaxProcs)
	for _, w := range p.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	return b.String()
}
