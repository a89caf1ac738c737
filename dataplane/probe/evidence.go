package probe

import (
	"errors"
	"net/netip"
	"slices"
	"sync"

	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Sample is the head of one packet.
type Sample struct {
	// Time is when it was received, nanoseconds since the Unix epoch; 0 when the driver has no time stamp.
	Time int64
	// WireLen is its length on the wire in bytes, without FCS.
	WireLen uint32
	// LinkType says how Data begins.
	LinkType wire.LinkType
	// Data is the beginning of the frame, at most HeadLen bytes.
	Data []byte
}

// Evidence is the packet heads of the last epochs.
type Evidence struct {
	cfg Config

	mu      sync.Mutex
	probes  []*history // in the order they were made, so that a replay repeats itself
	targets *Targets
}

// history is one worker's past epochs, a ring of batches whose memory is reused.
type history struct {
	probe   *Probe
	batches [][]head
	next    int
}

// NewEvidence makes an empty store.
func NewEvidence(cfg Config) (*Evidence, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Evidence{cfg: cfg}, nil
}

// Probe makes the probe of one worker.
func (e *Evidence) Probe() (*Probe, error) {
	p, err := newProbe(e.cfg, e)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.probes = append(e.probes, &history{probe: p, batches: make([][]head, e.cfg.Epochs)})
	p.targets.Store(e.targets)
	return p, nil
}

// Remove forgets a probe and frees its memory. Its worker and its shard must have stopped.
func (e *Evidence) Remove(p *Probe) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.probes = slices.DeleteFunc(e.probes, func(h *history) bool { return h.probe == p })
	return p.memory.Free()
}

// SetTargets says whose packets are wanted from now on. Targets beyond MaxTargets are ignored.
func (e *Evidence) SetTargets(list []Target) {
	t := newTargets(list)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.targets = t
	for _, h := range e.probes {
		h.probe.targets.Store(t)
	}
}

func (e *Evidence) keep(p *Probe, heads []head) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.probes, func(h *history) bool { return h.probe == p })
	if i < 0 {
		return
	}
	h := e.probes[i]
	h.batches[h.next] = append(h.batches[h.next][:0], heads...)
	h.next = (h.next + 1) % len(h.batches)
}

// Samples returns up to limit packets of a host in one direction from the epochs that were collected last, the newest
// ones, in the order of their time stamps (in the order of reception, worker by worker, where those are missing).
func (e *Evidence) Samples(target netip.Addr, d traffic.Direction, limit int) []Sample {
	if !target.IsValid() || limit <= 0 {
		return nil
	}
	addr := target.As16()
	return e.collect(limit, func(h *head) bool { return h.dir == d && h.addr == addr })
}

// Match returns up to limit packets whose charged host and direction satisfy keep, for targets that are not one host.
func (e *Evidence) Match(limit int, keep func(addr netip.Addr, d traffic.Direction) bool) []Sample {
	return e.collect(limit, func(h *head) bool { return keep(netip.AddrFrom16(h.addr).Unmap(), h.dir) })
}

func (e *Evidence) collect(limit int, keep func(*head) bool) []Sample {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []Sample
	for age := 1; age <= e.cfg.Epochs && len(out) < limit; age++ { // newest epoch first
		for _, h := range e.probes {
			batch := h.batches[(h.next-age+len(h.batches))%len(h.batches)]
			for i := len(batch) - 1; i >= 0; i-- {
				if keep(&batch[i]) {
					out = append(out, batch[i].sample())
				}
			}
		}
	}
	slices.Reverse(out)
	slices.SortStableFunc(out, func(a, b Sample) int {
		switch {
		case a.Time < b.Time:
			return -1
		case a.Time > b.Time:
			return 1
		}
		return 0
	})
	if len(out) > limit {
		out = out[len(out)-max(limit, 0):]
	}
	return out
}

func (h *head) sample() Sample {
	return Sample{Time: h.time, WireLen: h.wireLen, LinkType: h.link, Data: slices.Clone(h.data[:h.n])}
}

// Free frees the memory of every probe. All workers and shards must have stopped.
func (e *Evidence) Free() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for _, h := range e.probes {
		errs = append(errs, h.probe.memory.Free())
	}
	e.probes = nil
	return errors.Join(errs...)
}
