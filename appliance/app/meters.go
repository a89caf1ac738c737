package app

import (
	"context"
	"sync"
	"time"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/dataplane/port"
)

// portMeters measure the rates of ports, once a second.
type portMeters struct {
	mu   sync.Mutex // guards all below
	last map[string]reading
	list []api.Port
}

// reading is a port's counters at one moment.
type reading struct {
	at             time.Time
	packets, bytes uint64
}

func (m *portMeters) run(ctx context.Context, plane func() *dataplane) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		m.measure(plane().ports, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// measure reads every port. A port that was opened anew starts from nothing.
func (m *portMeters) measure(ports []port.Port, now time.Time) {
	next := make(map[string]reading, len(ports))
	list := make([]api.Port, 0, len(ports))
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range ports {
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
	m.last, m.list = next, list
}

// ports returns the latest measurement.
func (m *portMeters) ports() []api.Port {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]api.Port(nil), m.list...)
}
