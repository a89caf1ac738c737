package app

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/dataplane/worker"
)

// portMeters measure the rates of ports and what their workers do, once a second.
type portMeters struct {
	mu      sync.Mutex // guards all below
	last    map[string]reading
	workers map[*worker.Worker]shareOfTime
	list    []api.Port
}

// reading is a port's counters at one moment.
type reading struct {
	at             time.Time
	packets, bytes uint64
}

// shareOfTime is what a worker said last, and the part of the time before that for which it was busy.
type shareOfTime struct {
	time, busy time.Duration
	share      float64
}

func (m *portMeters) run(ctx context.Context, plane func() *dataplane) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		m.measure(plane(), time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// measure reads every port. A port that was opened anew starts from nothing.
func (m *portMeters) measure(d *dataplane, now time.Time) {
	next := make(map[string]reading, len(d.ports))
	list := make([]api.Port, 0, len(d.ports))
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range d.ports {
		s := p.Stats()
		r := reading{at: now}
		for _, q := range s.Queues {
			r.packets += q.Received
			r.bytes += q.Bytes
		}
		out := api.Port{Stats: s}
		key := s.Driver + " " + s.Device
		if old, ok := m.last[key]; ok && r.packets >= old.packets && now.After(old.at) {
			seconds := now.Sub(old.at).Seconds()
			out.PacketsPerSecond = float64(r.packets-old.packets) / seconds
			out.BytesPerSecond = float64(r.bytes-old.bytes) / seconds
		}
		next[key] = r
		list = append(list, out)
	}
	m.measureWorkers(d, list)
	m.last, m.list = next, list
}

// measureWorkers adds each worker to the ports whose queues it polls.
func (m *portMeters) measureWorkers(d *dataplane, list []api.Port) {
	next := make(map[*worker.Worker]shareOfTime, len(d.workers))
	for i, w := range d.workers {
		s := w.Stats()
		share := m.workers[w]
		if s.Time > share.time { // it publishes when an epoch ends
			share = shareOfTime{time: s.Time, busy: s.BusyTime, share: float64(s.BusyTime-share.busy) / float64(s.Time-share.time)}
		}
		next[w] = share
		out := api.Worker{
			Name: d.names[i], CPU: d.plan.Workers[i].CPU, Node: d.plan.Workers[i].Node, Idle: d.idle, Busy: share.share,
			KeepsTurn:  s.KeepsTurn,
			LongestGap: s.LongestGap.Seconds(), Memory: s.Memory,
		}
		for k, n := range s.Gaps {
			out.Gaps = append(out.Gaps, api.Gap{Below: worker.GapLimit(k).Seconds(), Count: n})
		}
		for p := range list {
			out.Queues = nil
			for _, at := range d.polls[i] {
				if at.port == p {
					out.Queues = append(out.Queues, at.queue)
				}
			}
			if out.Queues != nil {
				list[p].Workers = append(list[p].Workers, out)
			}
		}
	}
	m.workers = next
}

// ports returns the latest measurement, and links as they are.
func (m *portMeters) ports() []api.Port {
	m.mu.Lock()
	list := append([]api.Port(nil), m.list...)
	m.mu.Unlock()
	for i := range list {
		list[i].Link = linkOf(os.DirFS("/sys"), list[i].Device)
	}
	return list
}
