package collector

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Intervals of housekeeping.
const (
	lookEvery = 10 * time.Second
	saveEvery = time.Minute
	// enoughLost is how much must be missing for an alarm, whatever the share.
	enoughLost = 10
)

// housekeep looks after exporters and keeps what they announced.
func (c *Collector) housekeep(ctx context.Context) {
	look, save := time.NewTicker(lookEvery), time.NewTicker(saveEvery)
	defer look.Stop()
	defer save.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			c.look(c.deps.Now())
		case <-save.C:
			c.templates.Expire(c.deps.Now().UnixNano())
			if err := c.save(); err != nil {
				c.deps.Log.Error("templates were not saved", "err", err)
			}
		}
	}
}

// look renews the alarms.
func (c *Collector) look(now time.Time) {
	var drops uint64
	var alarms []string
	for _, w := range c.workers {
		w.sweep()
		drops += w.socket.Stats().Dropped
		if w.failed.Load() {
			alarms = append(alarms, fmt.Sprintf("flows: the socket %s failed and receives nothing", w.socket.Addr()))
		}
	}
	alarms = append(alarms, c.lookAtExporters(now)...)
	c.templates.ExpireHeld(now.UnixNano())
	if f := c.filters.Load(); f != nil {
		for _, h := range f.stats().Hooks {
			if h.Disabled > 0 {
				alarms = append(alarms, fmt.Sprintf("flows: %s of %s keeps failing and is switched off: %s", h.Function, h.Path, h.LastError))
			}
		}
	}
	c.report(alarms, drops)
}

// lookAtExporters judges those that are known to be exporters, and those that the configuration names.
func (c *Collector) lookAtExporters(now time.Time) (alarms []string) {
	list, _, _ := c.registry.all()
	if slices.ContainsFunc(c.workers, (*worker).hasUnlisted) {
		alarms = append(alarms, "flows: there are more exporters than flows.max_exporters")
	}
	slices.SortFunc(list, func(a, b *exporter) int { return a.addr.Compare(b.addr) })
	for _, e := range list {
		if e.allowed && e.proven.Load() {
			found, trusted := e.look(now, c.cfg.SilentAfter, c.cfg.LossAlarm)
			if trusted {
				alarms = append(alarms, found...)
				c.templates.Trust(&e.key)
			}
		}
	}
	if c.cfg.SilentAfter == 0 || now.Sub(c.begin) < c.cfg.SilentAfter {
		return alarms
	}
	for _, x := range c.cfg.Exporters {
		if x.Prefix.IsSingleIP() && countings[x.Count] != countNone && c.registry.find(x.Prefix.Addr().As16()) == nil {
			alarms = append(alarms, fmt.Sprintf("flows: exporter %s has never been heard", title(x.Name, x.Prefix.Addr())))
		}
	}
	return alarms
}

// report makes the alarms those that are in force, and logs the ones that are new or over.
func (c *Collector) report(alarms []string, drops uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if drops > c.dropped {
		alarms = append(alarms, "flows: the kernel drops datagrams: flows.listeners buffer or sockets is too small")
	}
	c.dropped = drops
	for _, a := range alarms {
		if !slices.Contains(c.alarms, a) {
			c.deps.Log.Warn(a)
		}
	}
	for _, a := range c.alarms {
		if !slices.Contains(alarms, a) {
			c.deps.Log.Info("over: " + a)
		}
	}
	c.alarms = alarms
}

// look judges one exporter. Alarms are for exporters that are trusted: who was understood only once need not come again.
func (e *exporter) look(now time.Time, silent time.Duration, percent int) (alarms []string, trusted bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	trusted = e.trust()
	var lost, got uint64
	for _, s := range e.sequences {
		lost += s.lost
		got += s.got
	}
	e.silent = silent > 0 && now.UnixNano()-e.seen.Load() > int64(silent)
	if e.silent {
		alarms = append(alarms, fmt.Sprintf("flows: exporter %s is silent", e.title()))
	}
	newLost, newGot := lost-min(lost, e.loss.lost), got-min(got, e.loss.got)
	e.loss.lossy = percent > 0 && newLost >= enoughLost && newLost*100 >= uint64(percent)*(newLost+newGot)
	e.loss.lost, e.loss.got = lost, got
	if e.loss.lossy {
		alarms = append(alarms, fmt.Sprintf("flows: datagrams of exporter %s are lost on the way", e.title()))
	}
	return alarms, trusted
}

func (e *exporter) title() string { return title(e.rule.name, e.addr) }

func title(name string, addr netip.Addr) string {
	if name != "" {
		return name + " (" + addr.String() + ")"
	}
	return addr.String()
}
