package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/controlplane/mitigate/bgp/routertest"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
	"github.com/weir-ddos/weir/tools/lab"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
	"github.com/weir-ddos/weir/tools/trafficgen/send"
)

// binary is the product under test, built once.
var binary string

// sideBySide is how many labs run at a time. They wait more than they work.
const sideBySide = "6"

// patience bounds every wait. It is long because the machine may be busy, and costs nothing when all is well.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	flag.Parse()
	if !given("test.parallel") {
		if err := flag.Set("test.parallel", sideBySide); err != nil {
			fail(err)
		}
	}
	dir, err := os.MkdirTemp("", "weir-e2e-")
	if err != nil {
		fail(err)
	}
	binary = filepath.Join(dir, "weir")
	cmd := exec.Command("go", "build", "-o", binary, "github.com/weir-ddos/weir/appliance/cmd/weir")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		fail(errors.Join(fmt.Errorf("go build: %w\n%s", err, out), os.RemoveAll(dir)))
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fail(err)
	}
	os.Exit(code)
}

// given reports whether a flag is on the command line.
func given(name string) (yes bool) {
	flag.Visit(func(f *flag.Flag) { yes = yes || f.Name == name })
	return yes
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "e2e:", err)
	os.Exit(1)
}

// rig is a lab with what the test has started in it.
type rig struct {
	*lab.Lab
	t       *testing.T
	routers map[string]routertest.Router
}

// newRig makes a lab for the time of the test, and skips the test naming the right or tool that is missing.
func newRig(t *testing.T, queues int) *rig {
	t.Helper()
	if testing.Short() {
		t.Skip("end to end: not with -short")
	}
	if why := netns.Missing(); why != "" {
		t.Skip(why)
	}
	l, err := lab.New(binary, queues)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return &rig{Lab: l, t: t, routers: map[string]routertest.Router{}}
}

// bird starts BIRD; edit may be nil.
func (r *rig) bird(edit func(*routertest.Config)) *routertest.BIRD {
	r.t.Helper()
	b, err := r.StartBIRD(r.t.Context(), edit)
	r.router("bird", b, err)
	return b
}

// frr starts FRR.
func (r *rig) frr() *routertest.FRR {
	r.t.Helper()
	f, err := r.StartFRR(r.t.Context())
	r.router("frr", f, err)
	return f
}

func (r *rig) router(name string, router routertest.Router, err error) {
	r.t.Helper()
	if errors.Is(err, routertest.ErrMissing) {
		r.t.Skip(err)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.routers[name] = router
}

// start starts the appliance with the given configuration and waits for its sessions.
func (r *rig) start(config string) *lab.Weir {
	r.t.Helper()
	w, err := r.Start(r.t.Context(), config)
	if err != nil {
		r.t.Fatal(err)
	}
	r.logOnFailure(w)
	r.established()
	return w
}

// restart starts the appliance again with the file as it is.
func (r *rig) restart() *lab.Weir {
	r.t.Helper()
	w, err := r.Restart(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	r.established()
	return w
}

func (r *rig) logOnFailure(w *lab.Weir) {
	r.t.Cleanup(func() {
		if r.t.Failed() {
			log := w.Log()
			r.t.Logf("log of the appliance:\n%s", log[max(0, len(log)-20_000):])
		}
	})
}

// established waits for the sessions with all routers.
func (r *rig) established() {
	r.t.Helper()
	for name, router := range r.routers {
		r.wait("session with "+name, func() (bool, error) { return router.Established(r.t.Context()) })
	}
}

// wait polls f for a long time and fails the test when it never says true.
func (r *rig) wait(what string, f func() (bool, error)) {
	r.t.Helper()
	if err := lab.Wait(r.t.Context(), patience, what, f); err != nil {
		r.t.Fatal(err)
	}
}

// all are the address families.
var all = []routertest.Family{routertest.IPv4, routertest.IPv6, routertest.IPv4FlowSpec, routertest.IPv6FlowSpec}

// unicast is a route in one line: prefix, next hop, communities.
func unicast(prefix, nextHop string, communities ...string) string {
	slices.Sort(communities)
	return fmt.Sprintf("%s via %s %v", prefix, nextHop, communities)
}

// blackhole is the route of a host with the default policy.
func blackhole(addr string) string {
	a := netip.MustParseAddr(addr)
	hop := "100::1"
	if a.Is4() {
		hop = "192.0.2.1"
	}
	return unicast(netip.PrefixFrom(a, a.BitLen()).String(), hop, "65535:65281", "65535:666")
}

// blackholes are the routes of several hosts.
func blackholes(addrs ...string) (list []string) {
	for _, a := range addrs {
		list = append(list, blackhole(a))
	}
	return list
}

// routesOf lists all that the appliance announces to a router, one sorted line each.
func routesOf(ctx context.Context, router routertest.Router) (list []string, err error) {
	for _, f := range all {
		rs, err := router.Routes(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, x := range rs {
			line := strings.TrimSpace("flow " + x.Rule + " => " + x.Actions)
			if x.Prefix.IsValid() {
				if x.Communities, err = unmarked(x.Communities); err != nil {
					return nil, fmt.Errorf("%s: %w", x.Prefix, err)
				}
				line = unicast(x.Prefix.String(), x.NextHop.String(), x.Communities...)
			}
			if x.Stale {
				line += " stale"
			}
			list = append(list, line)
		}
	}
	slices.Sort(list)
	return list, nil
}

// marker begins the large community by which the speaker recognizes its own routes after a restart; every route has one.
var marker = fmt.Sprintf("%d:2:", lab.ASN)

// unmarked returns the communities without the marker; a route without exactly one is an error.
func unmarked(list []string) ([]string, error) {
	n := len(list)
	list = slices.DeleteFunc(slices.Clone(list), func(c string) bool { return strings.HasPrefix(c, marker) })
	if n != len(list)+1 {
		return list, fmt.Errorf("communities %v: %d markers, want 1", list, n-len(list))
	}
	return list, nil
}

// expect waits until every router has exactly these routes.
func (r *rig) expect(what string, want ...string) {
	r.t.Helper()
	for name, router := range r.routers {
		r.expectAt(name, router, what, want...)
	}
}

func (r *rig) expectAt(name string, router routertest.Router, what string, want ...string) {
	r.t.Helper()
	want = slices.Sorted(slices.Values(want))
	r.wait(what+" at "+name, func() (bool, error) {
		got, err := routesOf(r.t.Context(), router)
		if err == nil && !slices.Equal(got, want) {
			err = errors.New(difference(got, want))
		}
		return err == nil, err
	})
}

// difference says in words how two sorted lists differ.
func difference(got, want []string) string {
	var b strings.Builder
	for _, x := range want {
		if !slices.Contains(got, x) {
			fmt.Fprintf(&b, "\n  missing: %s", x)
		}
	}
	for _, x := range got {
		if !slices.Contains(want, x) {
			fmt.Fprintf(&b, "\n  too much: %s", x)
		}
	}
	return b.String()
}

// flood is traffic that goes on until it is stopped.
type flood struct {
	stop func() send.Stats
}

// flood plays a scenario. Its streams last long; what ends them is stop, which is called at the end of the test at the latest.
func (r *rig) flood(s gen.Scenario, cfg send.Config) *flood {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	var stats send.Stats
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		stats, err = r.Send(ctx, s, cfg)
	}()
	once := sync.OnceFunc(func() {
		cancel()
		<-done
		if err != nil {
			r.t.Errorf("send: %v", err)
		}
	})
	r.t.Cleanup(once)
	return &flood{stop: func() send.Stats { once(); return stats }}
}

// long is how long a flood lasts that the test itself ends.
const long = gen.Duration(10 * time.Minute)

// attack is a flood of pps packets per second of one kind on one host, over a benign background.
func attack(kind string, pps float64, targets ...string) gen.Scenario {
	s := gen.Scenario{Seed: 1, Background: 200, Length: long}
	for _, t := range targets {
		s.Streams = append(s.Streams, gen.Stream{Kind: kind, Target: t, PPS: pps, Duration: long})
	}
	return s
}

// incidents returns all incidents by target, and fails the test for more than one of a target and direction.
func incidents(t *testing.T, w *lab.Weir) map[string]api.Incident {
	t.Helper()
	list, err := w.Incidents(true)
	if err != nil {
		t.Fatal(err)
	}
	by := make(map[string]api.Incident, len(list))
	for _, inc := range list {
		by[inc.Target+" "+inc.Direction] = inc
	}
	return by
}

// counter reads a system counter.
func counter(t *testing.T, w *lab.Weir, name string) float64 {
	t.Helper()
	v, err := w.Counter(name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// allCounted waits until every frame that was sent is accounted for: counted by the ticks, or lost on the cable or by the port,
// which say so. It fails when a frame is missing or counted twice.
func (r *rig) allCounted(w *lab.Weir, st send.Stats) {
	r.t.Helper()
	if st.Refused > 0 {
		r.t.Errorf("the sender failed: %+v", st)
	}
	lost, err := r.WireLost()
	if err != nil {
		r.t.Fatal(err)
	}
	want := float64(st.Sent - lost)
	for _, name := range []string{"packets_counted", "total_simple_packets_processed"} { // each with its own tick
		var got, dropped float64
		r.wait(name, func() (bool, error) {
			got, dropped = counter(r.t, w, name), counter(r.t, w, "port_dropped_packets")
			return got+dropped >= want, fmt.Errorf("%.0f of %d sent, %d lost on the wire, %.0f dropped by the port", got, st.Sent, lost, dropped)
		})
		if got+dropped != want {
			r.t.Errorf("%s: %.0f, and %.0f dropped; %d were sent and %d of them lost on the wire", name, got, dropped, st.Sent, lost)
		}
	}
	if n := counter(r.t, w, "conservation_faults"); n != 0 {
		r.t.Errorf("%v conservation faults", n)
	}
}

// addresses sorts textual addresses by value, for messages.
func addresses(m map[string]api.Incident) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
