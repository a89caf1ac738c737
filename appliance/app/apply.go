package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"syscall"
	"time"

	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/port"
)

// applyTimeout bounds what a commit may wait for the speaker.
const applyTimeout = 10 * time.Second

// Apply implements api.Applier: it makes the running appliance follow next. Thresholds, hostgroups, networks, policies, guard
// rails, BGP, scripts and the tick change between two ticks, and no counter is lost. Ports, workers, tunnels and table sizes
// are changed by closing the ports and opening them anew: what was counted is kept, packets in between are not seen.
// When something cannot be had, everything stays as it was.
func (a *App) Apply(_, next *config.Config) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cancel == nil {
		return errors.New("the appliance is stopping")
	}
	old := a.config()
	if next.Journal != old.Journal {
		return errors.New("journal: takes effect with a restart only; everything else was left as it is")
	}
	set, err := Settings(next)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), applyTimeout)
	defer cancel()
	undo := func() {
		if prior, err := Settings(old); err == nil {
			_ = a.engine.Apply(prior) // it was in force a moment ago
		}
		_ = a.notify.configure(old.Notify)
	}
	if err := a.engine.Apply(set); err != nil {
		return err
	}
	if err := a.notify.configure(next.Notify); err != nil {
		undo()
		return fmt.Errorf("notify: %w", err)
	}
	if !reflect.DeepEqual(next.BGP, old.BGP) {
		if err := a.speaker.configure(ctx, next.BGP); err != nil {
			undo()
			return errors.Join(fmt.Errorf("bgp: %w", err), a.speaker.configure(ctx, old.BGP))
		}
	}
	prior := a.shared.nets
	a.useNets(set.Nets)
	if needsPorts(old, next) {
		if err := a.replacePlane(old, next); err != nil {
			a.useNets(prior)
			undo()
			return errors.Join(err, a.speaker.configure(ctx, old.BGP))
		}
	}
	if err := a.applyFlows(old, next); err != nil {
		a.useNets(prior)
		undo()
		if needsPorts(old, next) {
			err = errors.Join(err, a.replacePlane(next, old))
		}
		return errors.Join(err, a.speaker.configure(ctx, old.BGP))
	}
	setLevel(a.opts.Level, next.Log.Level)
	a.heap.headroom.Store(uint64(next.Memory.Headroom))
	a.current.Store(next)
	return nil
}

// useNets makes t the prefix table of workers and sockets to come, and of evidence; those that run get it from the engine.
func (a *App) useNets(t *nets.Table) {
	a.shared.nets = t
	a.evidence.table.Store(t)
}

// needsPorts reports whether the packet path must be built anew.
func needsPorts(old, next *config.Config) bool {
	return !reflect.DeepEqual(old.Ports, next.Ports) || !reflect.DeepEqual(old.Workers, next.Workers) ||
		old.Traffic != next.Traffic || old.Decode != next.Decode
}

// tryPorts opens and closes the ports that are new in next: a device with a wrong name must not cost the ports that work.
func tryPorts(old, next *config.Config) error {
	var fresh []port.Config
	for _, c := range next.Ports {
		if !slices.ContainsFunc(old.Ports, func(o port.Config) bool { return o.Device == c.Device }) {
			fresh = append(fresh, c)
		}
	}
	ports, err := openPorts(fresh, 0)
	return errors.Join(err, closePorts(ports))
}

// replacePlane closes the ports and opens those of the next configuration; when that fails the old ones are opened again.
func (a *App) replacePlane(old, next *config.Config) error {
	if err := tryPorts(old, next); err != nil {
		return err
	}
	before := a.plane.Load()
	stopErr := before.stop()
	a.retire(before)
	err := a.startPlane(next)
	if err == nil {
		if stopErr != nil {
			a.log.Warn("a port did not close cleanly", "err", stopErr)
		}
		return nil
	}
	if again := a.startPlane(old); again != nil {
		a.log.Error("no port is open: neither the new ones nor the old ones can be opened", "err", again)
		a.plane.Store(&dataplane{})
		return errors.Join(err, again)
	}
	return err
}

// reviveEvery is how often ports are tried that could be opened neither anew nor again.
const reviveEvery = 5 * time.Second

// revive opens the ports of the configuration in force when a change of ports has left none open. (A port whose device goes away
// stays open, and comes back by itself.)
func (a *App) revive(ctx context.Context) {
	tick := time.NewTicker(reviveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !a.portless() || !a.mu.TryLock() { // whoever holds the lock is changing ports, or stopping
			continue
		}
		if a.cancel != nil && a.portless() {
			if err := a.startPlane(a.config()); err == nil {
				a.log.Info("the ports are open again")
			}
		}
		a.mu.Unlock()
	}
}

// portless reports whether ports are configured and none is open.
func (a *App) portless() bool { return len(a.config().Ports) > 0 && len(a.plane.Load().ports) == 0 }

// startPlane opens the ports of cfg and starts their workers.
func (a *App) startPlane(cfg *config.Config) error {
	plane, err := newDataplane(cfg, a.shared)
	if err != nil {
		return err
	}
	a.settle(plane)
	if err := plane.start(context.Background(), a.source); err != nil {
		stopped := plane.stop()
		a.retire(plane)
		return errors.Join(err, stopped)
	}
	a.evidence.decode(cfg)
	a.plane.Store(plane)
	return nil
}

// retire waits until the ticks have taken what the stopped workers counted, then drops their shards.
func (a *App) retire(p *dataplane) {
	a.source.retire(p.shards(), func() {
		if err := p.free(); err != nil {
			a.log.Error("memory of stopped workers was not freed", "err", err)
		}
	})
}

// wait returns when ctx ends; on SIGHUP it takes over the configuration file.
func (a *App) wait(ctx context.Context) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			if err := a.server.Reload(); err != nil {
				a.log.Error("the configuration file was not taken over; the old one stays in force", "err", err)
				continue
			}
			a.log.Info("the configuration file was taken over")
		}
	}
}
