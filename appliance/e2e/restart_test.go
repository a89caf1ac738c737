package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/controlplane/mitigate/bgp/routertest"
	"github.com/weir-ddos/weir/tools/lab"
	"github.com/weir-ddos/weir/tools/trafficgen/send"
)

// restartConfig has bans that outlast a restart, and an exit as the test needs it.
func restartConfig(l *lab.Lab, exit, banTime string) string {
	return l.Base(lab.BIRD) + "  on_exit: " + exit + `
ports: [{driver: afxdp, device: w0}]
tick: 100ms
bans: {ban_time: ` + banTime + `, quiet: 8s}
guard: {min_hold: 1s}
hostgroups:
  global: {ban_for_pps: true, threshold_pps: 300}
`
}

// block sets a blackhole by hand.
func block(t *testing.T, w *lab.Weir, addr, duration string) api.Mitigation {
	t.Helper()
	var m api.Mitigation
	if err := w.Call(http.MethodPut, "blackhole/"+addr+"/"+duration, nil, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// watch looks at a router all the time until stop, and fails the test when one of the routes is missing at any moment.
func (r *rig) watch(router routertest.Router, routes []string) (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	var wg sync.WaitGroup
	looks := 0
	wg.Go(func() {
		for ctx.Err() == nil {
			got, err := routesOf(ctx, router)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				r.t.Errorf("watch: %v", err)
				return
			}
			for _, want := range routes {
				if !slices.Contains(got, want) {
					r.t.Errorf("look %d: the router has not %s, but %v", looks, want, got)
					return
				}
			}
			looks++
		}
	})
	return sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if looks == 0 && !r.t.Failed() {
			r.t.Error("the router was never looked at")
		}
	})
}

// TestKillAppliance ends the appliance with kill -9 in the middle of attacks. The speaker goes on, so the router keeps every route
// all the time; the restarted appliance takes the routes over and withdraws them when the attacks end.
func TestKillAppliance(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	bird := r.bird(nil)
	w := r.start(restartConfig(r.Lab, "keep", "4s"))
	victims := []string{"10.0.7.1", "2001:db8:7::1"}
	f := r.flood(attack("udp", 1000, victims...), send.Config{})
	r.expect("routes", blackholes(victims...)...)
	stop := r.watch(bird, blackholes(victims...))
	speakers := w.Speakers()
	if len(speakers) != 1 {
		t.Fatalf("speakers: %v", speakers)
	}
	for range 2 {
		w.Kill()
		if got := w.Speakers(); !slices.Equal(got, speakers) {
			t.Fatalf("speakers %v after kill -9 of the appliance, %v before", got, speakers)
		}
		w = r.restart()
		r.expect("routes after the restart", blackholes(victims...)...)
	}
	// The new appliance has not only the routes but the incidents, and measures again.
	r.wait("incidents that go on", func() (bool, error) {
		open, err := w.Incidents(false)
		return len(open) == 2 && !slices.ContainsFunc(open, func(i api.Incident) bool { return i.State != "active" }), err
	})
	stop()
	f.stop()
	r.expect("withdrawal")
	if got := w.Speakers(); !slices.Equal(got, speakers) {
		t.Errorf("speakers %v at the end, %v at the beginning", got, speakers)
	}
}

// TestKillEverything ends appliance and speaker at once. What the router has after the restart comes from the journal: attacks that
// went on, blackholes set by hand, none that was withdrawn and none whose time was over meanwhile.
func TestKillEverything(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	bird := r.bird(nil)
	w := r.start(restartConfig(r.Lab, "keep", "10s"))
	victims := []string{"10.0.7.1", "2001:db8:7::1"}
	f := r.flood(attack("syn", 1000, victims...), send.Config{})
	manual := []string{"10.0.8.1", "2001:db8:8::1"}
	for _, a := range manual {
		block(t, w, a, "1h")
	}
	gone := block(t, w, "10.0.8.2", "1h")
	short := block(t, w, "2001:db8:8::2", "20s")
	r.expect("routes", blackholes(slices.Concat(victims, manual, []string{"10.0.8.2", "2001:db8:8::2"})...)...)
	if err := w.Call(http.MethodDelete, "blackhole/"+gone.ID, nil, nil); err != nil {
		t.Fatal(err)
	}
	want := blackholes(slices.Concat(victims, manual)...)
	r.expect("routes without the withdrawn one", append(want, blackhole("2001:db8:8::2"))...)

	// The speaker first, or it would see its appliance go; both without a chance to tidy up.
	r.killSpeakers(w)
	w.Kill()
	r.killSpeakers(w)
	r.wait("end of the session", func() (bool, error) {
		up, err := bird.Established(t.Context())
		return !up, err
	})
	// While nobody is there the router keeps all, stale, for the time of the graceful restart.
	if n, err := bird.Count(t.Context(), routertest.IPv4); err != nil || n != 2 {
		t.Errorf("%d IPv4 routes while everything is dead (%v), want 2", n, err)
	}
	r.wait("end of the short blackhole's time", func() (bool, error) { return time.Now().After(short.Expires), nil })
	w = r.restart()
	r.expect("routes after the restart", want...)
	f.stop()
	r.expect("routes after the attacks", blackholes(manual...)...)
	r.wait("no mitigations but the 2 set by hand", func() (bool, error) {
		list, err := w.Mitigations()
		return len(list) == 2, errors.Join(err, fmt.Errorf("%+v", list))
	})
}

// killSpeakers is kill -9 of all speakers of the lab.
func (r *rig) killSpeakers(w *lab.Weir) {
	r.t.Helper()
	if err := w.KillSpeakers(); err != nil {
		r.t.Fatal(err)
	}
}

// TestStopWithdraws: SIGTERM with on_exit: withdraw leaves the router empty and no process behind.
func TestStopWithdraws(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.bird(nil)
	w := r.start(restartConfig(r.Lab, "withdraw", "60s"))
	victims := []string{"10.0.7.1", "2001:db8:7::1"}
	r.flood(attack("icmp", 1000, victims...), send.Config{})
	block(t, w, "10.0.8.1", "1h")
	r.expect("routes", blackholes(append(victims, "10.0.8.1")...)...)
	if err := w.Stop(patience); err != nil {
		t.Fatal(err)
	}
	r.expect("withdrawal at the exit")
	r.wait("end of the speaker", func() (bool, error) {
		if s := w.Speakers(); len(s) > 0 {
			return false, fmt.Errorf("speakers %v", s)
		}
		return true, nil
	})
}

// TestStopKeeps: SIGTERM with on_exit: keep leaves routes and session; the next appliance adopts the speaker and all its routes.
func TestStopKeeps(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	bird := r.bird(nil)
	w := r.start(restartConfig(r.Lab, "keep", "4s"))
	victims := []string{"10.0.7.1", "2001:db8:7::1"}
	f := r.flood(attack("frag_later", 1000, victims...), send.Config{})
	m := block(t, w, "10.0.8.1", "1h")
	want := blackholes(append(victims, "10.0.8.1")...)
	r.expect("routes", want...)
	stop := r.watch(bird, want)
	speakers := w.Speakers()
	if err := w.Stop(patience); err != nil {
		t.Fatal(err)
	}
	if got := w.Speakers(); len(got) != 1 || !slices.Equal(got, speakers) {
		t.Fatalf("speakers %v after the stop, %v before", got, speakers)
	}
	w = r.restart()
	r.expect("routes after the restart", want...)
	if got := w.Speakers(); !slices.Equal(got, speakers) {
		t.Errorf("speakers %v after the restart, %v before", got, speakers)
	}
	stop()
	f.stop()
	r.expect("routes after the attacks", blackhole("10.0.8.1"))
	if err := w.Call(http.MethodDelete, "blackhole/"+m.ID, nil, nil); err != nil {
		t.Fatal(err)
	}
	r.expect("withdrawal by hand")
}
