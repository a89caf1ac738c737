package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/notify"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// TestJournalFirst: a wanted set is on disk before a mitigator has it.
func TestJournalFirst(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	w := newWorld(t, settings(t, nil), Deps{Journal: r, Mitigators: []mitigate.Mitigator{r}}).start()
	until(t, "first set", func() bool { return len(r.seen()) == 2 })
	for _, h := range victims {
		w.steady[h] = 2000
	}
	w.tick(1)
	until(t, "announced", func() bool { return len(r.seen()) == 4 })
	want := "[198.51.100.7/32 2001:db8::7/128]"
	if got := r.seen(); !slices.Equal(got, []string{"save []", "announce []", "save " + want, "announce " + want}) {
		t.Fatal(got)
	}
	w.tick(5) // nothing changes: nothing is written
	if got := r.seen(); len(got) != 4 {
		t.Fatal(got)
	}
}

// TestJournalFails: a journal that fails or hangs holds nothing back, raises an alarm, and is tried again.
func TestJournalFails(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"fails", "hangs"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			j, m := &recorder{}, &recorder{}
			hang := make(chan struct{})
			if how == "fails" {
				j.set(errDisk, nil)
			} else {
				j.set(nil, hang)
			}
			set := settings(t, nil)
			set.Engine.JournalWait = 20 * time.Millisecond
			w := newWorld(t, set, Deps{Journal: j, Mitigators: []mitigate.Mitigator{m}}).start()
			w.steady[victims[1]] = 2000
			began := time.Now()
			w.tick(1)
			until(t, "announced all the same", func() bool { return slices.Contains(m.seen(), "announce [2001:db8::7/128]") })
			if d := time.Since(began); d > 30*time.Second { // a busy machine
				t.Errorf("took %v", d)
			}
			v := w.tick(1)
			if v.Health.Journal.Err == "" || len(v.Health.Alarms) != 1 || !strings.Contains(v.Health.Alarms[0], "journal") {
				t.Errorf("%+v %v", v.Health.Journal, v.Health.Alarms)
			}
			j.set(nil, nil)
			close(hang)
			until(t, "saved after all", func() bool { return slices.Contains(j.seen(), "save [2001:db8::7/128]") })
			until(t, "alarm is over", func() bool { return len(w.tick(1).Health.Alarms) == 0 })
		})
	}
}

// TestSlowMitigator: a mitigator that hangs stops neither the tick nor another mitigator, and then gets the latest set only.
func TestSlowMitigator(t *testing.T) {
	t.Parallel()
	slow, quick := &recorder{}, &recorder{}
	hang := make(chan struct{})
	slow.set(nil, hang)
	w := newWorld(t, settings(t, nil), Deps{Mitigators: []mitigate.Mitigator{slow, quick}}).start()
	for i := range 10 {
		w.steady[fmt.Sprintf("2001:db8::%x", i+1)] = 2000
		w.tick(1)
		until(t, "the other one", func() bool { return strings.Count(last(quick.seen()), "/128") == i+1 })
	}
	slow.set(nil, nil)
	close(hang)
	until(t, "the latest", func() bool { return strings.Count(last(slow.seen()), "/128") == 10 })
	if n := len(slow.seen()); n > 3 {
		t.Errorf("%d calls: %v", n, slow.seen())
	}
}

func TestFailingMitigator(t *testing.T) {
	t.Parallel()
	m := &recorder{}
	m.set(errDisk, nil)
	set := settings(t, nil)
	set.Engine.ReconcileEvery = 100 * time.Millisecond
	w := newWorld(t, set, Deps{Mitigators: []mitigate.Mitigator{m}}).start()
	w.steady[victims[0]] = 2000
	until(t, "alarm", func() bool {
		return slices.ContainsFunc(w.tick(1).Health.Alarms, func(a string) bool { return strings.Contains(a, errDisk.Error()) })
	})
	if s := w.e.Mitigators()[0]; s.Name != "recorder" || s.Failures == 0 || s.Err == "" || !s.Status.Ready {
		t.Errorf("%+v", s)
	}
	n := len(m.seen())
	until(t, "tried again without a change", func() bool { return len(m.seen()) > n+2 })
	m.set(nil, nil)
	until(t, "no alarm", func() bool { return len(w.tick(1).Health.Alarms) == 0 })
}

// TestNothingBeforeFirstSet: a mitigator is not called before the state of the last run is known.
func TestNothingBeforeFirstSet(t *testing.T) {
	t.Parallel()
	m := &recorder{}
	w := newWorld(t, settings(t, nil), Deps{Mitigators: []mitigate.Mitigator{m}})
	w.steady[victims[0]] = 2000
	w.tick(2)
	if len(m.seen()) != 0 {
		t.Fatal(m.seen())
	}
	w.start()
	until(t, "first set", func() bool { return len(m.seen()) > 0 })
	if got := m.seen()[0]; got != "announce [198.51.100.7/32]" {
		t.Fatal(got)
	}
	if err := w.e.Start(t.Context()); err == nil {
		t.Fatal("started twice")
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	for _, withdraw := range []bool{true, false} {
		m, j := &recorder{}, &recorder{}
		w := newWorld(t, settings(t, nil), Deps{Mitigators: []mitigate.Mitigator{m}, Journal: j})
		w.steady[victims[1]] = 2000
		w.tick(1)
		if err := w.e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := w.e.Stop(t.Context(), withdraw); err != nil {
			t.Fatal(err)
		}
		got, want := m.seen(), "announce [2001:db8::7/128]"
		if withdraw {
			want = "announce []"
		}
		if len(got) == 0 || got[len(got)-1] != want {
			t.Errorf("withdraw %v: %v", withdraw, got)
		}
		if n := len(j.states); n == 0 || len(j.states[n-1].Incidents) != 1 {
			t.Errorf("the journal does not know the attack: %+v", j.states)
		}
		if err := w.e.Stop(t.Context(), withdraw); err != nil {
			t.Error(err)
		}
	}
	// A mitigator that hangs does not hold the stop up for longer than its context.
	m := &recorder{}
	hang := make(chan struct{})
	m.set(nil, hang)
	defer close(hang)
	w := newWorld(t, settings(t, nil), Deps{Mitigators: []mitigate.Mitigator{m}})
	if err := w.e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := w.e.Stop(ctx, true); err == nil || !strings.Contains(err.Error(), "recorder") {
		t.Fatal(err)
	}
}

// TestRestore: after a crash the same routes with the same ids are wanted at once, and end when they would have.
func TestRestore(t *testing.T) {
	t.Parallel()
	j := &recorder{}
	w := newWorld(t, settings(t, nil), Deps{Journal: j, Mitigators: []mitigate.Mitigator{&recorder{}}}).start()
	for _, h := range victims {
		w.steady[h] = 2000
	}
	w.tick(2)
	if _, err := w.e.Block(mitigate.Manual{Prefix: netip.MustParsePrefix("2001:db8::99/128"), By: "root", Reason: "test"}, 100*time.Second); err != nil {
		t.Fatal(err)
	}
	before := w.tick(1)
	until(t, "saved", func() bool { return strings.Count(last(j.seen()), "/") == 3 })
	j.mu.Lock()
	saved := last(j.states)
	j.mu.Unlock()

	l := &listener{room: 100}
	m := &recorder{}
	n := newWorld(t, settings(t, nil), Deps{Notifiers: []notify.Notifier{l}, Mitigators: []mitigate.Mitigator{m}})
	n.ids = 100
	n.now = w.now.Add(2 * time.Second)
	n.e.Restore(n.now, saved)
	n.start()
	until(t, "announced before the first tick", func() bool { return len(m.seen()) > 0 })
	after := n.e.View()
	for i, x := range before.Mitigations {
		if len(after.Mitigations) != 3 || after.Mitigations[i].ID != x.ID || after.Mitigations[i].Prefix != x.Prefix || !after.Mitigations[i].Expires.Equal(x.Expires) {
			t.Fatalf("before %+v\nafter %+v", before.Mitigations, after.Mitigations)
		}
	}
	n.steady[victims[0]] = 2000 // one attack goes on
	if v := n.tick(40); len(v.Mitigations) != 2 || v.Mitigations[0].ID != before.Mitigations[0].ID {
		t.Fatalf("%+v", v.Mitigations)
	}
	if got := l.seen(); !slices.Equal(got, []string{"unban " + victims[1]}) {
		t.Fatal(got)
	}
	if v := n.tick(60); len(v.Mitigations) != 1 {
		t.Fatalf("the manual blackhole does not end: %+v", v.Mitigations)
	}
}

func TestManual(t *testing.T) {
	t.Parallel()
	l := &listener{room: 100}
	w := newWorld(t, settings(t, nil), Deps{Notifiers: []notify.Notifier{l}})
	w.tick(1)
	for i, h := range victims {
		a := netip.MustParseAddr(h)
		q, err := w.e.Block(mitigate.Manual{Prefix: netip.PrefixFrom(a, a.BitLen()), By: "alice", Reason: "asked by phone"}, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		v := w.e.View()
		m := v.Mitigations[0]
		if len(v.Mitigations) != 1 || m.ID != q.ID || !m.Manual || m.Prefix.Addr() != a || m.Expires.Sub(w.now) != 10*time.Second ||
			!strings.Contains(m.Reason, "asked by phone") || !strings.Contains(m.Reason, "alice") || len(v.Incidents) != 1 || !v.Incidents[0].Manual {
			t.Fatalf("%+v", v)
		}
		if i == 0 {
			if v = w.tick(10); len(v.Mitigations) != 0 || len(v.Incidents) != 0 {
				t.Fatalf("does not end: %+v", v.Mitigations)
			}
			continue
		}
		if err := w.e.Withdraw(q.ID, "bob"); err != nil {
			t.Fatal(err)
		}
		if v = w.e.View(); len(v.Mitigations) != 0 || len(v.Incidents) != 0 || len(w.e.manuals) != 0 {
			t.Fatalf("not withdrawn: %+v", v)
		}
		if err := w.e.Withdraw(q.ID, "bob"); err == nil {
			t.Fatal("withdrawn twice")
		}
	}
	if got := l.seen(); !slices.Equal(got, []string{"ban 198.51.100.7", "unban 198.51.100.7", "ban 2001:db8::7", "unban 2001:db8::7"}) {
		t.Fatal(got)
	}
	for what, p := range map[string]netip.Prefix{
		"outside": netip.MustParsePrefix("203.0.113.1/32"), "default": netip.MustParsePrefix("::/0"), "too_short": netip.MustParsePrefix("2001:db8::/40"), "no prefix": {},
	} {
		if _, err := w.e.Block(mitigate.Manual{Prefix: p}, time.Minute); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if v := w.e.View(); len(v.Incidents) != 0 || len(v.Mitigations) != 0 {
		t.Fatalf("a refused request left something: %+v", v)
	}
}

// TestWithdrawAttack: an operator ends the mitigation of an attack that goes on: it does not come back with the next tick.
func TestWithdrawAttack(t *testing.T) {
	t.Parallel()
	for _, h := range victims {
		l := &listener{room: 100}
		w := newWorld(t, settings(t, nil), Deps{Notifiers: []notify.Notifier{l}})
		w.steady[h] = 2000
		w.count(h, traffic.Outgoing, traffic.ClassUDP, 2000) // both directions want the same route
		v := w.tick(1)
		if len(v.Mitigations) != 1 || len(v.Incidents) != 2 {
			t.Fatalf("%+v", v)
		}
		if err := w.e.Withdraw(v.Mitigations[0].ID, "alice"); err != nil {
			t.Fatal(err)
		}
		if v = w.tick(20); len(v.Mitigations) != 0 || len(v.Incidents) != 0 || v.Health.Incidents.Suppressed != 20 {
			t.Fatalf("%+v", v)
		}
		w.steady[h] = 0
		w.tick(5)
		w.steady[h] = 2000
		if v = w.tick(1); len(v.Mitigations) != 1 {
			t.Fatalf("the next attack: %+v", v.Mitigations)
		}
		if got := l.seen(); !slices.Equal(got, []string{"ban " + h, "ban " + h, "unban " + h, "unban " + h, "ban " + h}) {
			t.Fatal(got)
		}
	}
}

func TestKillSwitch(t *testing.T) {
	t.Parallel()
	j := &recorder{}
	w := newWorld(t, settings(t, nil), Deps{Journal: j}).start()
	for _, h := range victims {
		w.steady[h] = 2000
	}
	if v := w.tick(1); len(v.Mitigations) != 2 {
		t.Fatalf("%+v", v.Mitigations)
	}
	w.e.Kill(true, "alice", "maintenance")
	if v := w.e.View(); len(v.Mitigations) != 0 || len(v.Incidents) != 2 || !w.e.KillSwitch().On {
		t.Fatalf("%+v", v)
	}
	if v := w.tick(3); len(v.Mitigations) != 0 || !slices.Contains(v.Health.Alarms, "the kill switch is on") {
		t.Fatalf("%+v", v)
	}
	until(t, "journalled", func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		return last(j.states).Planner.KillSwitch.On
	})
	w.e.Kill(false, "alice", "")
	if v := w.tick(1); len(v.Mitigations) != 2 {
		t.Fatalf("%+v", v.Mitigations)
	}
}

// TestRun ticks in real time: on its grid, concurrently with readers and changes, and without making up for what it missed.
func TestRun(t *testing.T) {
	t.Parallel()
	set := settings(t, nil)
	set.Tick = 100 * time.Millisecond
	w := newWorld(t, set, Deps{})
	if err := w.e.Run(t.Context()); err == nil {
		t.Fatal("runs without a clock")
	}
	w.e.deps.Clock = time.Now
	stall := time.Duration(0)
	ticks := 0
	w.e.deps.Source = &stalling{Source: w.merger, before: func() {
		if ticks++; ticks == 2 {
			stall = 350 * time.Millisecond
			time.Sleep(stall) // a tick that takes too long is what is tested
		}
	}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	began := time.Now()
	go func() { done <- w.e.Run(ctx) }()
	until(t, "ticks", func() bool { return w.e.View().Tick >= 4 })
	v := w.e.View()
	// A busy machine misses more than the stalled tick does. What was missed is never made up for: ticks and overruns together are no more
	// than the time on the grid.
	grid := int(time.Since(began)/set.Tick) + 2
	if h := v.Health; h.Overruns < 3 || int(h.Ticks+h.Overruns) > grid || h.MaxTook < stall {
		t.Errorf("%d ticks and %d overruns in %d of the grid, longest %v", h.Ticks, h.Overruns, grid, h.MaxTook)
	}
	for range 20 {
		w.e.Host(netip.MustParseAddr(victims[0]))
		if err := w.e.Apply(set); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

type stalling struct {
	Source
	before func()
}

func (s *stalling) Tick(now time.Time) (*merge.Snapshot, error) {
	s.before()
	return s.Source.Tick(now)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := Default().Validate(); err != nil {
		t.Fatal(err)
	}
	err := Config{DetailsWait: -1}.Validate()
	for _, key := range []string{"details_packets", "details_wait", "reconcile_every", "reconcile_timeout"} {
		if err == nil || !strings.Contains(err.Error(), key+":") {
			t.Errorf("%s: %v", key, err)
		}
	}
	if _, err := New(settings(t, nil), Deps{}); err == nil {
		t.Error("an engine without a source")
	}
}
