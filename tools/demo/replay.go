package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/appliance/replay"
	"github.com/weir-ddos/weir/controlplane/engine"
	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/mitigate/bgp"
	"github.com/weir-ddos/weir/controlplane/mitigate/bgp/routertest"
	meter "github.com/weir-ddos/weir/controlplane/rate"
	"github.com/weir-ddos/weir/controlplane/rule"
	speed "github.com/weir-ddos/weir/dataplane/port/replay"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/tools/lab"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// replayed is one run of the demo from a capture.
type replayed struct {
	t     timing
	s     *screen
	o     options
	dir   string
	file  string
	cap   capture
	story *story
	peer  *routertest.Peer
	// planned are when the generated capture's attacks begin and end, in its time; empty for others.
	planned map[*attack][2]time.Time
	speed   float64
	began   time.Time // of the playing
	table   routeTable
	routes  chan routeTable
	awaited atomic.Bool
	shownAt time.Time
}

// Routers of the loopback: unprivileged port, and addresses by process id, so that two demos do not meet.
const loopbackPort = 1790

func loopback(n byte) netip.Addr {
	pid := os.Getpid()
	return netip.AddrFrom4([4]byte{127, 64 + n, byte(pid >> 8), byte(pid)})
}

// runReplay shows the main job from a capture.
func runReplay(ctx context.Context, s *screen, o options) (err error) {
	d := &replayed{t: o.timing, s: s, o: o, file: o.replay, routes: make(chan routeTable, 4), planned: make(map[*attack][2]time.Time)}
	if d.dir, err = os.MkdirTemp("", "weir-demo-"); err != nil {
		return err
	}
	defer func() {
		log := filepath.Join(d.dir, logName)
		if _, missing := os.Stat(log); err != nil && missing == nil && ctx.Err() == nil {
			s.line("The log is in %s", log)
			_ = os.Remove(filepath.Join(d.dir, generated)) // large, and the same every time
			return
		}
		err = errors.Join(err, os.RemoveAll(d.dir))
	}()
	if err := d.prepare(); err != nil {
		return err
	}
	cfg, err := d.configure()
	if err != nil {
		return err
	}
	client, err := d.router(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Stop(false), d.peer.Stop()) }()
	return d.play(ctx, cfg, client)
}

// Files in the run's directory: the demo's own capture, and the log of client and speaker.
const (
	generated = "demo.pcap"
	logName   = "weir.log"
)

// prepare makes the capture if none was given, and looks through it.
func (d *replayed) prepare() (err error) {
	if d.file == "" {
		d.file = filepath.Join(d.dir, generated)
		d.s.line("Generating a capture: %.0f s of usual traffic, then two attacks.", d.t.quiet.Seconds())
		if err := d.generate(); err != nil {
			return err
		}
	}
	if d.cap, err = scan(d.file); err != nil {
		return err
	}
	if d.speed = d.o.speed; d.speed == 0 {
		d.speed = max(1, d.cap.length().Seconds()/playTime.Seconds())
	}
	return nil
}

// playTime is how long a capture may take at its own speed; longer ones are played faster.
const playTime = 45 * time.Second

// replayTail is how long the generated capture goes on after the last attack: until its route is gone, and a little more.
const replayTail = 6 * time.Second

func (d *replayed) generate() error {
	epoch := time.Now().Truncate(time.Second)
	d.t.tail = replayTail
	s := d.t.floodScenario(epoch, d.t.quiet)
	f, err := os.Create(d.file)
	if err != nil {
		return err
	}
	_, err = gen.WritePcap(f, s, gen.Options{})
	return errors.Join(err, f.Close())
}

// configure writes and reads the configuration, and points its BGP at our router.
func (d *replayed) configure() (*config.Config, error) {
	path := d.o.config
	if path == "" {
		path = filepath.Join(d.dir, "weir.yaml")
		text := fmt.Sprintf("networks: [%s]\ntick: 100ms\n%s", d.cap.networks(), shared)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	cfg, err := config.Load(path, config.WithoutPorts())
	if err != nil {
		return nil, err
	}
	b := bgp.Default()
	b.ASN, b.RouterID, b.OnExit = lab.ASN, lab.Appliance, bgp.Withdraw
	b.Peers = []bgp.Peer{{
		Name: "router", Address: loopback(1), Port: loopbackPort, RemoteASN: lab.RouterASN, LocalAddress: loopback(0), MultihopTTL: 5,
	}}
	cfg.BGP = b
	s := d.s
	s.line("")
	s.line("  %s ---> Weir's pipeline ---> weir speaker --BGP, AS %d to AS %d--> router (in this process, %s)", filepath.Base(d.file),
		lab.ASN, lab.RouterASN, loopback(1))
	s.line("")
	pace := "in its own time"
	if d.speed != 1 {
		pace = fmt.Sprintf("%.3g times as fast", d.speed)
	}
	s.line("  %s: %s packets, %.1f s, played %s. What would reach a victim follows from the router's routes.", d.file,
		count(float64(d.cap.packets)), d.cap.length().Seconds(), pace)
	s.line("")
	showConfig(s, path)
	return cfg, nil
}

// router starts the in-process router and the real BGP speaker, and waits for their session.
func (d *replayed) router(ctx context.Context, cfg *config.Config) (*bgp.Client, error) {
	var err error
	d.peer, err = routertest.StartPeer(ctx, routertest.Config{
		Name: "router", Address: loopback(1), Port: loopbackPort, ASN: lab.RouterASN, RouterID: loopback(1),
		PeerAddress: loopback(0), PeerASN: lab.ASN, Multihop: true,
	})
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(d.dir, logName))
	if err != nil {
		return nil, errors.Join(err, d.peer.Stop())
	}
	client, err := bgp.New(bgp.Options{
		Socket: filepath.Join(d.dir, "speaker.sock"), Config: cfg.BGP, Command: []string{d.o.weir, "speaker"}, Stderr: log,
		Log: slog.New(slog.NewTextHandler(log, nil)), Now: time.Now,
	})
	if err == nil {
		err = client.Start(ctx)
	}
	if err == nil {
		err = client.Reconcile(ctx, nil) // the speaker opens sessions once it knows what is wanted: nothing yet
	}
	if err == nil {
		err = lab.Wait(ctx, 20*time.Second, "BGP session with the router", func() (bool, error) { return d.peer.Established(ctx) })
	}
	if err != nil {
		if client != nil {
			err = errors.Join(err, client.Stop(false))
		}
		return nil, errors.Join(err, d.peer.Stop())
	}
	return client, nil
}

// feeder hands the wanted set on. Its times are the capture's, which may be years ago; here only the set itself decides, and
// the hour is for the case that this process dies.
type feeder struct{ *bgp.Client }

// Reconcile implements mitigate.Mitigator.
func (f feeder) Reconcile(ctx context.Context, want []mitigate.Mitigation) error {
	now := time.Now()
	moved := make([]mitigate.Mitigation, len(want))
	for i, m := range want {
		m.Created, m.Expires = now, now.Add(time.Hour)
		moved[i] = m
	}
	return f.Client.Reconcile(ctx, moved)
}

// play runs the capture through the pipeline, and observes.
func (d *replayed) play(ctx context.Context, cfg *config.Config, client *bgp.Client) error {
	d.began = time.Now()
	d.table = routeTable{at: d.began, routes: []routertest.Route{}}
	if d.o.replay == "" {
		attacks := d.t.attacks()
		for i, a := range attacks {
			start := d.cap.first.Truncate(time.Second).Add(d.t.quiet + time.Duration(i)*d.t.stagger)
			d.planned[a] = [2]time.Time{start, start.Add(d.t.attack)}
		}
		d.story = newStory(d.s, d.began, "the router", attacks...)
		d.story.act(d.began, cyan, "QUIET", "usual traffic for %.0f s", d.t.quiet.Seconds())
	} else {
		d.story = newStory(d.s, d.began, "the router")
		d.story.discover, d.story.top = true, float64(d.cap.busiest)
	}
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	go watchRouter(watch, d.peer, &d.awaited, d.routes)
	report, err := replay.Play(ctx, replay.Options{
		Config: cfg, Files: []string{d.file}, Speed: speed.Speed(d.speed), Workers: 1, Observe: d.observe,
		Deps: engine.Deps{Mitigators: []mitigate.Mitigator{feeder{client}}},
	})
	if ctx.Err() != nil {
		return errInterrupted
	}
	if err != nil {
		return err
	}
	if d.table.err != nil {
		return fmt.Errorf("ask the router: %w", d.table.err)
	}
	d.outlast(ctx)
	return d.summary(report)
}

// wall is when the capture's time t is played.
func (d *replayed) wall(t time.Time) time.Time {
	return d.began.Add(time.Duration(float64(t.Sub(d.cap.first)) / d.speed))
}

// observe is called after every tick of the pipeline.
func (d *replayed) observe(at time.Time, v *engine.View) {
	for a, p := range d.planned {
		if a.start.IsZero() && !at.Before(p[0]) {
			d.story.begins(a, d.wall(p[0]))
		}
		if a.over.IsZero() && !at.Before(p[1]) {
			d.story.ends(a, d.wall(p[1]))
		}
	}
	o := d.sample(v)
	o.played = d.wall(at)
	d.takeRoutes(o)
	full := o.at.Sub(d.shownAt) >= sampleEvery
	if full {
		d.shownAt = o.at
		d.customers(o, v)
	}
	d.story.observe(o)
	d.awaited.Store(d.story.awaits())
}

// takeRoutes puts the router's latest table into a sample.
func (d *replayed) takeRoutes(o *sample) {
	for {
		select {
		case d.table = <-d.routes:
			continue
		default:
		}
		break
	}
	o.routes, o.routesAt = d.table.routes, d.table.at
}

// sample turns what the engine published into a sample.
func (d *replayed) sample(v *engine.View) *sample {
	o := &sample{at: time.Now(), others: -1}
	for f := range traffic.NumFamilies {
		for _, x := range []struct {
			r *rate
			d traffic.Direction
		}{{&o.in, traffic.Incoming}, {&o.out, traffic.Outgoing}} {
			x.r.pps += v.Totals[f][x.d][rule.PPS]
			x.r.mbps += v.Totals[f][x.d][rule.Mbps]
		}
	}
	for i := range v.Incidents {
		o.incidents = append(o.incidents, d.incident(&v.Incidents[i]))
	}
	return o
}

// incident is an incident as the API shows it, at the time at which it was played.
func (d *replayed) incident(inc *incident.Incident) api.Incident {
	return api.Incident{
		ID: inc.ID, Target: inc.Target.String(), Direction: inc.Direction.String(), Hostgroup: inc.Hostgroup, State: inc.State.String(),
		Vector: string(inc.Vector), Threshold: inc.Why.Metric.Threshold(inc.Direction), Limit: inc.Why.Limit, Value: inc.Why.Value,
		Unit: inc.Why.Metric.Unit(), PeakPPS: inc.PeakPPS, Start: d.wall(inc.Start), LastBreach: d.wall(inc.LastBreach),
	}
}

// customers says what would reach the victims: all that is sent to them, or nothing when the router has a blackhole.
func (d *replayed) customers(o *sample, v *engine.View) {
	o.reach, o.sees = make(map[netip.Addr]float64), make(map[netip.Addr]float64)
	for _, a := range d.story.attacks {
		pps := towards(v, a.addr)
		o.sees[a.addr], o.reach[a.addr] = pps, pps
		for _, r := range o.routes {
			if r.Prefix.IsValid() && r.Prefix.Contains(a.addr) {
				o.reach[a.addr] = 0
			}
		}
	}
}

// towards is the rate of a host, in packets/s: of its attack's direction when there is one.
func towards(v *engine.View, host netip.Addr) float64 {
	for _, inc := range v.Incidents {
		if inc.Target.Host == host {
			if inc.Direction == traffic.Outgoing {
				return inc.Out[rule.PPS]
			}
			return inc.In[rule.PPS]
		}
	}
	f := traffic.IPv4
	if host.Is6() {
		f = traffic.IPv6
	}
	for _, h := range v.Top[f][traffic.Incoming][meter.ByPackets] {
		if h.Host == host {
			return h.In[rule.PPS]
		}
	}
	return 0
}

// outlast watches the routes that the end of the capture left: the pipeline withdraws them when it stops.
func (d *replayed) outlast(ctx context.Context) {
	for _, a := range d.story.attacks {
		if a.over.IsZero() && !a.breach.IsZero() {
			a.over = time.Now()
			d.story.act(a.over, cyan, "OVER", "the capture ends while %s is attacked or banned; Weir stops, and withdraws", a.addr)
		}
	}
	if len(d.story.attacks) == 0 {
		return
	}
	d.awaited.Store(true) // what is gone is to be seen at once
	for deadline := time.Now().Add(10 * time.Second); !d.story.done() && time.Now().Before(deadline) && ctx.Err() == nil; {
		o := &sample{at: time.Now(), others: -1}
		d.takeRoutes(o)
		d.story.observe(o)
		time.Sleep(10 * time.Millisecond)
	}
}

// summary prints what was measured, and returns what did not happen.
func (d *replayed) summary(r *replay.Report) error {
	st := d.story
	d.s.status()
	d.s.line("")
	d.s.line("%s", d.s.paint(bold, "SUMMARY"))
	t := table{s: d.s}
	if len(st.attacks) > 0 {
		d.times(&t)
	}
	t.row("packets in the capture", count(float64(d.cap.packets)))
	t.row("packets seen by Weir", count(float64(r.Packets)))
	t.row("packets lost", count(float64(d.cap.packets)-float64(r.Packets)))
	d.s.line("")
	err := st.verdict()
	for _, f := range r.Faults {
		err = errors.Join(err, errors.New(f))
	}
	if r.Packets != d.cap.packets {
		err = errors.Join(err, fmt.Errorf("the pipeline counted %d packets of %d", r.Packets, d.cap.packets))
	}
	return err
}

// times prints what was measured about each attack.
func (d *replayed) times(t *table) {
	st := d.story
	t.row("victim", st.perAttack(func(a *attack) string { return a.addr.String() })...)
	t.row("attack", st.perAttack(func(a *attack) string { return cmp.Or(a.name, a.why.Vector) })...)
	if len(d.planned) > 0 {
		t.row("first attack packet to breach", st.perAttack(func(a *attack) string { return between(a.start, a.breach) })...)
		t.row("first attack packet to route in the router", st.perAttack(func(a *attack) string { return between(a.start, a.route) })...)
	} else {
		t.row("breach to route in the router", st.perAttack(func(a *attack) string { return between(a.breach, a.route) })...)
	}
	t.row("end of attack to route gone", st.perAttack(func(a *attack) string { return between(a.over, a.gone) })...)
	d.s.line("")
}
