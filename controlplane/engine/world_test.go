package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/notify"
	"github.com/weir-ddos/weir/controlplane/rate"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

var (
	base     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	networks = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	// remote are addresses outside, by family.
	remote = [2]netip.Addr{netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("2001:dead::9")}
	// victims are one host of each family.
	victims = []string{"198.51.100.7", "2001:db8::7"}
)

func ptr[T any](v T) *T { return &v }

// world is an engine over real shards and a real merger, in virtual time.
type world struct {
	t      testing.TB
	e      *Engine
	set    Settings
	deps   Deps
	merger *merge.Merger
	shard  *traffic.Shard
	now    time.Time
	ids    int
	log    []string
	steady map[string]uint64 // packets per tick towards a host, udp
}

// settings limits every host to 1000 pps and 500 udp pps; bans last 30 s.
func settings(t testing.TB, groups map[string]rule.GroupConfig) Settings {
	t.Helper()
	if groups == nil {
		groups = map[string]rule.GroupConfig{}
	}
	if _, ok := groups["global"]; !ok {
		groups["global"] = rule.GroupConfig{
			BanForPPS: ptr(true), ThresholdPPS: ptr[uint64](1000),
			BanForPPSOutgoing: ptr(true), ThresholdPPSOutgoing: ptr[uint64](1000),
		}
	}
	rules, err := rule.Compile(groups)
	if err != nil {
		t.Fatal(err)
	}
	table, err := nets.New(nets.Spec{Networks: networks, Groups: rules.Members()})
	if err != nil {
		t.Fatal(err)
	}
	s := Settings{
		Engine: Default(), Tick: time.Second, Rates: rate.Default(), Bans: incident.Default(), Rules: rules, Nets: table,
		Mitigate: mitigate.Config{Guard: mitigate.DefaultGuard(), Site: mitigate.Site{Networks: networks}},
	}
	s.Bans.BanTime, s.Bans.Quiet = 30*time.Second, 3*time.Second
	s.Mitigate.Guard.MinHold = 0
	return s
}

func newWorld(t testing.TB, set Settings, deps Deps) *world {
	t.Helper()
	w := &world{t: t, now: base, set: set, steady: map[string]uint64{}}
	clock := func() int64 { return w.now.UnixNano() }
	seed := traffic.Seed{1, 3, 5, 7}
	var err error
	if w.shard, err = traffic.NewShard(traffic.Config{Hosts: 4096}, seed, set.Nets, clock); err != nil {
		t.Fatal(err)
	}
	if w.merger, err = merge.New(merge.DefaultConfig(), seed, set.Nets, clock); err != nil {
		t.Fatal(err)
	}
	if err := w.merger.Add(w.shard); err != nil {
		t.Fatal(err)
	}
	if deps.Source == nil {
		deps.Source = w.merger
	}
	deps.NewID = func() string { w.ids++; return fmt.Sprintf("id-%d", w.ids) }
	deps.Observer = func(tr incident.Transition) {
		w.log = append(w.log, fmt.Sprintf("%v %v %v %v->%v", tr.At.Sub(base), tr.Incident.Target, tr.Incident.Direction, tr.From, tr.To))
	}
	w.deps = deps
	if w.e, err = New(set, deps); err != nil {
		t.Fatal(err)
	}
	return w
}

// count adds packets of 100 bytes between a host of ours and a remote one.
func (w *world) count(host string, d traffic.Direction, class traffic.Class, packets uint64) {
	a := netip.MustParseAddr(host)
	r := traffic.Record{Src: remote[family(a)].As16(), Dst: a.As16(), Class: class, Counter: traffic.Counter{Packets: packets, Bytes: packets * 100}}
	if d == traffic.Outgoing {
		r.Src, r.Dst = r.Dst, r.Src
	}
	if got := w.shard.Poll().AddRecord(traffic.InternalBoth, &r); got != d {
		w.t.Fatalf("%s counts as %v", host, got)
	}
}

// tick lets n seconds pass, with the steady traffic.
func (w *world) tick(n int) *View {
	for range n {
		for host, packets := range w.steady {
			w.count(host, traffic.Incoming, traffic.ClassUDP, packets)
		}
		w.now = w.now.Add(w.set.Tick)
		w.e.Tick(w.now)
	}
	return w.e.View()
}

// start starts the outputs; they are stopped with the test.
func (w *world) start() *world {
	w.t.Helper()
	if err := w.e.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := w.e.Stop(ctx, false); err != nil {
			w.t.Error(err)
		}
	})
	return w
}

func prefixes(list []mitigate.Mitigation) (out []string) {
	for _, m := range list {
		out = append(out, m.Prefix.String())
	}
	return out
}

// until polls for a condition.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// recorder notes, in one order, what the journal and a mitigator got.
type recorder struct {
	mu     sync.Mutex
	events []string
	sets   [][]mitigate.Mitigation
	states []State
	fail   error         // Save's and Reconcile's error
	hang   chan struct{} // Save or Reconcile waits for it
}

func (r *recorder) Name() string { return "recorder" }

func (r *recorder) Status() mitigate.Status { return mitigate.Status{Ready: true} }

func (r *recorder) note(event string) error {
	r.mu.Lock()
	hang := r.hang
	r.mu.Unlock()
	if hang != nil {
		<-hang
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event)
	return r.fail
}

func (r *recorder) Reconcile(_ context.Context, want []mitigate.Mitigation) error {
	err := r.note(fmt.Sprint("announce ", prefixes(want)))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sets = append(r.sets, want)
	return err
}

func (r *recorder) Save(s State) error {
	var list []mitigate.Mitigation
	for _, a := range s.Planner.Active {
		list = append(list, a.Mitigation)
	}
	r.mu.Lock()
	if r.fail == nil {
		r.states = append(r.states, s)
	}
	r.mu.Unlock()
	return r.note(fmt.Sprint("save ", prefixes(list)))
}

func (r *recorder) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.events...)
}

func (r *recorder) set(fail error, hang chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail, r.hang = fail, hang
}

// last is the last element, or the zero one.
func last[T any](list []T) (v T) {
	if len(list) > 0 {
		v = list[len(list)-1]
	}
	return v
}

// listener is a notifier that takes up to room events.
type listener struct {
	room   int
	events []notify.Event
}

func (l *listener) Name() string { return "listener" }

func (l *listener) Notify(e notify.Event) bool {
	if len(l.events) >= l.room {
		return false
	}
	l.events = append(l.events, e)
	return true
}

func (l *listener) seen() (out []string) {
	for _, e := range l.events {
		out = append(out, fmt.Sprint(e.Action, " ", e.Incident.Target))
	}
	return out
}

var errDisk = errors.New("no space left on device")
