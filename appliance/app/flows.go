package app

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/collector"
	"github.com/weir-ddos/weir/flowcollect/filter"
	"github.com/weir-ddos/weir/flowcollect/listen"
)

// newFlows opens the listeners of cfg; nil when it has none. What exporters told after, which has been stopped, is known to it;
// after may be nil.
func (a *App) newFlows(cfg *config.Config, after *collector.Collector) (*collector.Collector, error) {
	if !cfg.Flows.Enabled() {
		return nil, nil
	}
	wc, err := WorkerConfig(cfg)
	if err != nil {
		return nil, err
	}
	// As for packet workers: a snapshot holds the rows of all, and two are in use at a time.
	if need := cfg.Flows.Size(wc.Traffic) * 2; need > uint64(cfg.Traffic.MemoryLimit) {
		return nil, fmt.Errorf("flows: %d sockets with %d hosts each may take %s, more than traffic.memory_limit %s",
			cfg.Flows.Sockets(), wc.Traffic.Hosts, config.Size(need>>20<<20), cfg.Traffic.MemoryLimit)
	}
	c, err := collector.New(cfg.Flows, collector.Deps{
		Nets: a.shared.nets, Seed: a.shared.seed, Clock: a.shared.clock, Traffic: wc.Traffic, Internal: wc.Internal, Tick: cfg.Tick,
		Wire: wire.Decoder{Charge: cfg.Decode.Charges()}, Now: time.Now, Log: a.log, After: after,
	})
	if err != nil {
		return nil, fmt.Errorf("flows: %w", err)
	}
	return c, nil
}

// startFlows begins to receive and makes c the one that is shown.
func (a *App) startFlows(ctx context.Context, c *collector.Collector) error {
	a.flows.Store(c)
	if c == nil {
		return nil
	}
	for _, s := range c.Shards() {
		if err := a.source.add(s); err != nil {
			return fmt.Errorf("flows: %w", err)
		}
	}
	return c.Start(ctx)
}

// needsListeners reports whether flow collection must be built anew. The filter changes without that.
func needsListeners(old, next *config.Config) bool {
	a, b := old.Flows, next.Flows
	a.Filter, b.Filter = filter.Config{}, filter.Config{}
	return !reflect.DeepEqual(a, b) ||
		(next.Flows.Enabled() && (old.Traffic != next.Traffic || old.Decode != next.Decode))
}

// applyFlows makes flow collection follow next; on an error it is as it was.
func (a *App) applyFlows(old, next *config.Config) error {
	change := a.refilter
	if needsListeners(old, next) {
		change = func(next *config.Config) error { return a.replaceFlows(old, next) }
	}
	if err := change(next); err != nil {
		return err
	}
	if c := a.flows.Load(); c != nil {
		c.SetTick(next.Tick)
	}
	return nil
}

// refilter makes the filter of next the one in force; its files are read anew, whether the configuration changed or not.
func (a *App) refilter(next *config.Config) error {
	if c := a.flows.Load(); c != nil {
		if err := c.SetFilter(next.Flows.Filter); err != nil {
			return fmt.Errorf("flows.filter: %w", err)
		}
	}
	return nil
}

// replaceFlows closes the listeners and opens those of the next configuration; when that fails the old ones are opened again.
// Datagrams that arrive in the milliseconds between are lost; what was counted and what exporters announced is not.
func (a *App) replaceFlows(old, next *config.Config) error {
	before := a.flows.Load()
	var stopErr error
	if before != nil {
		stopErr = before.Stop()
		a.source.retire(before.Shards(), func() {
			if err := before.Free(); err != nil {
				a.log.Error("memory of closed listeners was not freed", "err", err)
			}
		})
	}
	if stopErr != nil {
		a.log.Warn("flow collection did not end cleanly", "err", stopErr)
	}
	err := a.reopenFlows(next, before)
	if err == nil {
		return nil
	}
	if again := a.reopenFlows(old, before); again != nil {
		a.log.Error("no flows are collected: neither the new listeners nor the old ones can be opened", "err", again)
		a.flows.Store(nil)
		return errors.Join(err, again)
	}
	return err
}

func (a *App) reopenFlows(cfg *config.Config, after *collector.Collector) error {
	c, err := a.newFlows(cfg, after)
	if err != nil {
		return err
	}
	return a.startFlows(context.Background(), c)
}

// stopFlows ends reception; endFlows, after the last tick, drops what is left.
func (a *App) stopFlows() error {
	if c := a.flows.Load(); c != nil {
		return c.Stop()
	}
	return nil
}

func (a *App) endFlows() error {
	c := a.flows.Load()
	if c == nil {
		return nil
	}
	a.source.end(c.Shards())
	return c.Free()
}

// Exporters implements api.Flows.
func (r running) Exporters() []collector.ExporterStats {
	if c := r.a.flows.Load(); c != nil {
		return c.Exporters()
	}
	return nil
}

// FlowInterfaces implements api.Flows.
func (r running) FlowInterfaces() []collector.InterfaceStats {
	if c := r.a.flows.Load(); c != nil {
		return c.Interfaces()
	}
	return nil
}

// SamplingRates implements api.Flows.
func (r running) SamplingRates() []collector.Rate {
	if c := r.a.flows.Load(); c != nil {
		return c.Rates()
	}
	return nil
}

// FlowFilter implements api.Flows.
func (r running) FlowFilter() filter.Stats {
	if c := r.a.flows.Load(); c != nil {
		return c.Stats().Filter
	}
	return filter.Stats{}
}

// FlowSockets implements api.Flows.
func (r running) FlowSockets() []listen.SocketStats {
	if c := r.a.flows.Load(); c != nil {
		return c.Stats().Sockets
	}
	return nil
}
