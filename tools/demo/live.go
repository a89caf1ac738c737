package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/controlplane/mitigate/bgp/routertest"
	"github.com/weir-ddos/weir/tools/lab"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
	"github.com/weir-ddos/weir/tools/trafficgen/send"
)

// The demo's thresholds, for a victim by itself.
const (
	limitPPS = 5_000
	limitSYN = 1_000
	limitUDP = 1_000
)

// shared is the part of weir.yaml that live and replayed demo have in common.
var shared = fmt.Sprintf(`hostgroups:
  global: {ban_for_pps: true, threshold_pps: %d,
           ban_for_tcp_syn_pps: true, threshold_tcp_syn_pps: %d,
           ban_for_udp_pps: true, threshold_udp_pps: %d}
bans: {ban_time: 5s, quiet: 3s}   # far shorter than in real life, for the show
guard: {min_hold: 1s}
`, limitPPS, limitSYN, limitUDP)

// liveConfig is the appliance's weir.yaml; dir holds its files.
func liveConfig(dir string) string {
	return fmt.Sprintf(`networks: [10.0.0.0/16, 2001:db8::/32]
ports:
  - {driver: afxdp, device: %s, options: {frames: 32768}}   # room for 1.5 s on a busy machine
tick: 100ms
%sbgp:
  asn: %d
  router_id: %s
  peers: [{name: bird, address: %s, remote_asn: %d}]
  on_exit: withdraw
api: {socket: %[7]s/api.sock}
journal: {path: %[7]s/journal.db}
history: {directory: %[7]s/history}
`, lab.Watch, shared, lab.ASN, lab.Appliance, lab.BIRD, lab.RouterASN, dir)
}

// live is one run of the demo in namespaces.
type live struct {
	t     timing
	s     *screen
	w     *world
	bird  *routertest.BIRD
	weir  *lab.Weir
	story *story
	// starts has the first packet of each attack, by the index of its stream.
	starts chan firstPacket
	routes chan routeTable
	// sent and last are by stream of the floods: frames sent, and when the last one was. The sender writes.
	sent, last []atomic.Int64
	// awaited is set while a route may arrive any moment, so that the router is asked without a pause.
	awaited atomic.Bool
	total   atomic.Uint64 // frames sent
}

type firstPacket struct {
	stream int
	at     time.Time
}

// errNoRouter: the live demo cannot be shown here, and the replay can.
var errNoRouter = errors.New("no router")

// runLive shows the main job in namespaces.
func runLive(ctx context.Context, s *screen, o options) (err error) {
	d := &live{t: o.timing, s: s, starts: make(chan firstPacket, 2), routes: make(chan routeTable, 1)}
	s.line("Setting up: generator, router, customers, appliance, each in a network namespace of its own.")
	if d.w, err = newWorld(ctx, o.weir, !o.sendTwice); err != nil {
		return err
	}
	defer func() {
		if err != nil && !errors.Is(err, errNoRouter) && ctx.Err() == nil {
			err = errors.Join(err, d.keepLogs())
		}
		err = errors.Join(err, d.w.Close())
	}()
	d.bird, err = d.w.StartBIRD(ctx, func(c *routertest.Config) { c.Kernel = true })
	if errors.Is(err, routertest.ErrMissing) {
		return fmt.Errorf("%w: %w", errNoRouter, err)
	} else if err != nil {
		return err
	}
	if d.weir, err = d.w.Start(ctx, liveConfig(d.w.Dir)); err != nil {
		return err
	}
	d.introduce()
	err = lab.Wait(ctx, 20*time.Second, "BGP session between Weir and BIRD", func() (bool, error) { return d.bird.Established(ctx) })
	if err != nil {
		return err
	}
	return d.play(ctx)
}

// introduce shows the network and the configuration.
func (d *live) introduce() {
	mirror := "the router mirrors its ingress to Weir"
	if len(d.w.devices) > 1 {
		mirror = "this kernel cannot mirror, so every frame is sent to Weir as well"
	}
	s := d.s
	s.line("")
	s.line("  generator ---> router (BIRD, AS %d) ---> customers 10.0.0.0/16, 2001:db8::/32", lab.RouterASN)
	s.line("                   |  ^")
	s.line("            mirror |  | BGP")
	s.line("                   v  |")
	s.line("                   Weir (AS %d, AF_XDP on %s)         %s", lab.ASN, lab.Watch, mirror)
	s.line("")
	showConfig(s, d.weir.Config)
}

// showConfig prints a configuration file.
func showConfig(s *screen, path string) {
	s.line("%s", s.paint(bold, path))
	text, err := os.ReadFile(path)
	if err != nil {
		s.line("  (%v)", err)
	}
	for l := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
		s.line("  %s", s.paint(dim, l))
	}
	s.line("")
}

// play sends the traffic and watches until everything has happened, or can no longer happen.
func (d *live) play(ctx context.Context) error {
	d.story = newStory(d.s, time.Now(), "BIRD", d.t.attacks()...)
	d.story.measured = true
	run, cancel := context.WithTimeout(ctx, d.t.quiet+d.t.stagger+d.t.attack+d.t.tail+20*time.Second)
	defer cancel()
	flood := d.t.floodScenario(time.Time{}, 0)
	g, err := gen.New(flood)
	if err != nil {
		return err
	}
	d.sent, d.last = make([]atomic.Int64, len(g.Streams())), make([]atomic.Int64, len(g.Streams()))
	work, wctx := errgroup.WithContext(run)
	stop, sendCancel := context.WithCancel(wctx)
	defer sendCancel()
	work.Go(func() error { return d.sendAll(stop, flood) })
	work.Go(func() error { watchRouter(stop, d.bird, &d.awaited, d.routes); return nil })
	watched := d.watch(stop)
	sendCancel()
	err = errors.Join(watched, work.Wait())
	if ctx.Err() != nil {
		return errInterrupted
	}
	if err != nil {
		return err
	}
	return d.summary()
}

// sendAll plays the quiet minute and then the floods, on every device.
func (d *live) sendAll(ctx context.Context, flood gen.Scenario) error {
	one := func(s gen.Scenario, cfg send.Config) error {
		all := new(errgroup.Group)
		for i, dev := range d.w.devices {
			c := cfg
			c.Device = dev
			if i > 0 { // a second copy is the same story, not a second one
				c.AttackStarts, c.Sent = nil, nil
			}
			all.Go(func() error {
				st, err := d.w.Send(ctx, s, c)
				if i == len(d.w.devices)-1 {
					d.total.Add(st.Sent) // the copy that the appliance gets
				}
				return err
			})
		}
		return all.Wait()
	}
	if err := one(d.t.quietScenario(time.Time{}), send.Config{Speed: d.t.quietSpeed()}); err != nil || ctx.Err() != nil {
		return err
	}
	return one(flood, send.Config{
		AttackStarts: func(stream int, at time.Time) { d.starts <- firstPacket{stream, at} },
		Sent: func(f *gen.Frame) {
			d.sent[f.Stream].Add(1)
			d.last[f.Stream].Store(f.Time)
		},
	})
}

// linger is how long the usual traffic is shown after the last act.
const linger = 2 * time.Second

// watch observes until the story is over.
func (d *live) watch(ctx context.Context) error {
	d.story.act(time.Now(), cyan, "QUIET", "a quiet minute of usual traffic, played in %.0f s", d.t.quiet.Seconds())
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	routes := []routertest.Route{}
	routesAt := time.Now()
	var over time.Time
	var silent time.Time // since when the API does not answer
	for {
		var now time.Time
		full := false
		select {
		case <-ctx.Done():
			return nil // the verdict says what is missing
		case p := <-d.starts:
			d.story.begins(d.story.attacks[p.stream], p.at)
			d.awaited.Store(true)
			continue
		case t := <-d.routes:
			if t.err != nil {
				return fmt.Errorf("ask BIRD: %w", t.err)
			}
			routes, routesAt, now = t.routes, t.at, time.Now()
		case now = <-tick.C:
			full = true
		}
		o, err := d.sample(now, full)
		if err != nil {
			if silent.IsZero() {
				silent = now
			} else if now.Sub(silent) > 5*time.Second {
				return fmt.Errorf("weir does not answer: %w", err)
			}
			continue
		}
		silent = time.Time{}
		o.routes, o.routesAt = routes, routesAt
		d.ended(now)
		d.story.observe(o)
		d.awaited.Store(d.story.awaits())
		if over.IsZero() && d.story.done() {
			over = now
		}
		if !over.IsZero() && now.Sub(over) > linger {
			return nil
		}
	}
}

// ended notices that an attack's last packet was sent: its time is up and nothing came for a while.
func (d *live) ended(now time.Time) {
	for i, a := range d.story.attacks {
		last := time.Unix(0, d.last[i].Load())
		if a.start.IsZero() || !a.over.IsZero() || now.Before(a.start.Add(d.t.attack)) || now.Sub(last) < 300*time.Millisecond {
			continue
		}
		a.sent = float64(d.sent[i].Load())
		a.reached = float64(d.w.reach[a.addr].total) - a.reached
		d.story.ends(a, last)
	}
}

// sample asks the appliance, and when full is set reads the counters at the customers.
func (d *live) sample(now time.Time, full bool) (*sample, error) {
	o := &sample{at: now, others: -1}
	var err error
	if o.incidents, err = d.weir.Incidents(true); err != nil {
		return nil, err
	}
	if !full {
		return o, nil
	}
	var totals []api.TrafficCounter
	if err := d.weir.Get("total_traffic_counters", &totals); err != nil {
		return nil, err
	}
	for _, c := range totals {
		switch c.Name + " " + c.Unit {
		case "incoming traffic pps":
			o.in.pps = c.Value
		case "incoming traffic mbps":
			o.in.mbps = c.Value
		case "outgoing traffic pps":
			o.out.pps = c.Value
		case "outgoing traffic mbps":
			o.out.mbps = c.Value
		}
	}
	return o, d.customers(o)
}

// customers reads what arrives behind the router, and what the appliance sees towards the victims.
func (d *live) customers(o *sample) error {
	o.reach, o.sees = make(map[netip.Addr]float64), make(map[netip.Addr]float64)
	at := time.Now()
	if err := d.w.all.read(); err != nil {
		return err
	}
	o.others = d.w.all.rate(at)
	for _, a := range d.story.attacks {
		c := d.w.reach[a.addr]
		if a.start.IsZero() {
			a.reached = float64(c.total) // as of just before the attack
		}
		if err := c.read(); err != nil {
			return err
		}
		o.reach[a.addr] = c.rate(at)
		o.others -= o.reach[a.addr]
		var host api.Counters
		if err := d.weir.Get("single_host_counters/"+a.addr.String(), &host); err != nil {
			return err
		}
		o.sees[a.addr] = host.Incoming.Total.Packets
	}
	o.others = max(0, o.others)
	return nil
}

// keepLogs saves what explains a failure, and says where.
func (d *live) keepLogs() error {
	dir, err := os.MkdirTemp("", "weir-demo-logs-")
	if err != nil {
		return err
	}
	files := map[string]string{}
	for _, name := range []string{"weir.log", "weir.yaml"} {
		text, _ := os.ReadFile(d.w.Path(name)) // it may be what is missing
		files[name] = string(text)
	}
	if d.bird != nil {
		files["bird.log"] = d.bird.Log()
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	d.s.line("The logs are in %s", dir)
	return nil
}
