package mitigate

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
)

func hosts() []string { return []string{"10.1.1.7", "2001:db8::7"} }

func TestHoldAndWithdrawal(t *testing.T) {
	t.Parallel()
	for _, host := range hosts() {
		p := newTestPlanner(t, nil)
		on := []incident.Incident{attack("i1", host)}
		first := p.Plan(epoch, on, nil)
		if len(first.Wanted) != 1 || !first.Changed {
			t.Fatalf("%s: %+v", host, first)
		}
		if again := p.Plan(at(time.Second), on, nil); again.Changed || !reflect.DeepEqual(again.Wanted, first.Wanted) {
			t.Fatalf("%s: a quiet tick changed the plan: %+v", host, again)
		}
		for _, step := range []struct {
			after time.Duration
			want  int
		}{{10 * time.Second, 1}, {59 * time.Second, 1}, {60 * time.Second, 0}, {61 * time.Second, 0}} {
			if got := p.Plan(at(step.after), nil, nil); len(got.Wanted) != step.want {
				t.Fatalf("%s: %d mitigations %v after the start, want %d", host, len(got.Wanted), step.after, step.want)
			}
		}
		if s := p.Stats(); s.Admitted != 1 || s.Withdrawn != 1 {
			t.Fatalf("stats %+v", s)
		}
	}
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	p := newTestPlanner(t, nil)
	inc := attack("i1", "10.1.1.7")
	changes := 0
	for s := range 3 * 3600 { // three hours under attack; the incident's end moves on a minute at a time, as the machine does it
		now := at(time.Duration(s) * time.Second)
		for inc.Until.Before(now) {
			inc.Until = inc.Until.Add(time.Minute)
		}
		plan := p.Plan(now, []incident.Incident{inc}, nil)
		if len(plan.Wanted) != 1 || !plan.Wanted[0].Expires.After(now) || plan.Wanted[0].Expires.Sub(now) > maxBanTime {
			t.Fatalf("second %d: %+v", s, plan)
		}
		if plan.Changed {
			changes++
		}
		if plan.Wanted[0].ID != "m1" || !plan.Wanted[0].Created.Equal(epoch) {
			t.Fatalf("the mitigation is not the same any more: %+v", plan.Wanted[0])
		}
	}
	if changes > 8 {
		t.Errorf("the plan changed %d times in three hours of one attack", changes)
	}
	if s := p.Stats(); s.Renewed == 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestClockJumps(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{-24 * 365 * time.Hour, -time.Hour, -time.Minute, time.Hour, 24 * 365 * time.Hour} {
		p := newTestPlanner(t, nil)
		on := []incident.Incident{attack("i1", "10.1.1.7"), attack("i2", "2001:db8::7")}
		p.Plan(epoch, on, nil)
		plan := p.Plan(at(jump), on, nil)
		if len(plan.Wanted) != 2 || len(plan.Refusals) != 0 {
			t.Fatalf("jump %v: %+v", jump, plan)
		}
		for _, m := range plan.Wanted {
			if m.Created.After(at(jump)) || !m.Expires.After(at(jump)) || m.Expires.Sub(at(jump)) > maxBanTime {
				t.Errorf("jump %v: lives from %v to %v", jump, m.Created, m.Expires)
			}
		}
		p.Plan(at(jump), nil, nil)
		if plan := p.Plan(at(jump+time.Minute), nil, nil); len(plan.Wanted) != 0 {
			t.Errorf("jump %v: held for longer than min_hold", jump)
		}
	}
}

func TestSharedRoute(t *testing.T) {
	t.Parallel()
	p := newTestPlanner(t, func(c *Config) {
		c.Policies["dry"] = Policy{DryRun: new(true)}
		c.Policies["soft"] = Policy{Mitigation: ModeFlowSpec, FlowSpecAction: RateLimit}
		c.Policies["hard"] = Policy{Mitigation: ModeFlowSpec}
	})
	of := func(id, group string) incident.Incident {
		i := attack(id, "10.1.1.7")
		i.Hostgroup = group
		return i
	}
	a, b := of("i1", "soft"), of("i2", "hard")
	plan := p.Plan(epoch, []incident.Incident{a, b}, nil)
	if len(plan.Wanted) != 1 || plan.Wanted[0].Action != Discard || plan.Wanted[0].Incident != "i2" {
		t.Fatalf("the stricter action should win: %+v", plan.Wanted)
	}
	// One owner goes: the route stays, long past min_hold, with the attributes of the one that is left.
	plan = p.Plan(at(5*time.Minute), []incident.Incident{a}, nil)
	if len(plan.Wanted) != 1 || plan.Wanted[0].Action != RateLimit || plan.Wanted[0].ID != "m1" {
		t.Fatalf("%+v", plan.Wanted)
	}
	if plan = p.Plan(at(6*time.Minute), nil, nil); len(plan.Wanted) != 0 {
		t.Fatalf("nobody wants it any more: %+v", plan.Wanted)
	}
	// A manual request and an incident in a dry-run group: announced for the manual one, dry when it is gone.
	q := Manual{ID: "q1", Prefix: hostPrefix(a.Target.Host), Reason: "r", Created: epoch, Expires: at(time.Hour)}
	plan = p.Plan(at(7*time.Minute), []incident.Incident{of("i3", "dry")}, []Manual{q})
	if len(plan.Announce()) != 1 || plan.Wanted[0].ID != "q1" || !plan.Wanted[0].Manual {
		t.Fatalf("%+v", plan.Wanted)
	}
	plan = p.Plan(at(9*time.Minute), []incident.Incident{of("i3", "dry")}, nil)
	if len(plan.Announce()) != 0 || len(plan.Wanted) != 1 || !plan.Changed {
		t.Fatalf("%+v", plan.Wanted)
	}
}

func TestCapsPreferTheStrongest(t *testing.T) {
	t.Parallel()
	p := newTestPlanner(t, func(c *Config) { c.Guard.MaxBlackholes = 2 })
	weak, strong, old := attack("weak", "10.1.1.1"), attack("strong", "2001:db8::2"), attack("old", "10.1.1.3")
	p.Plan(epoch, []incident.Incident{old}, nil)
	strong.PeakPPS = 9e6
	plan := p.Plan(at(time.Second), []incident.Incident{weak, old, strong}, nil)
	var ids []string
	for _, m := range plan.Wanted {
		ids = append(ids, m.Incident)
	}
	if !slices.Equal(ids, []string{"old", "strong"}) || len(plan.Refusals) != 1 || plan.Refusals[0].Owner != "weak" || !plan.Refusals[0].New {
		t.Fatalf("%v, %+v", ids, plan.Refusals)
	}
	plan = p.Plan(at(2*time.Second), []incident.Incident{weak, old, strong}, nil)
	if plan.Refusals[0].New || !plan.Refusals[0].Since.Equal(at(time.Second)) || p.Stats().Refused[RailMaxBlackhole] != 1 {
		t.Fatalf("a refusal that lasts is one refusal: %+v, %v", plan.Refusals, p.Stats().Refused)
	}
	// Room is made: the one that waits gets in.
	plan = p.Plan(at(2*time.Minute), []incident.Incident{weak, strong}, nil)
	if len(plan.Wanted) != 2 || len(plan.Refusals) != 0 {
		t.Fatalf("%+v", plan)
	}
}

func TestKillSwitch(t *testing.T) {
	t.Parallel()
	p := newTestPlanner(t, nil)
	on := []incident.Incident{attack("i1", "10.1.1.7"), attack("i2", "2001:db8::7")}
	p.Plan(epoch, on, nil)
	p.Kill(KillSwitch{On: true, By: "ada", Reason: "maintenance", Since: at(time.Second)})
	plan := p.Plan(at(time.Second), on, nil) // within min_hold
	if len(plan.Wanted) != 0 || !plan.Changed || len(plan.Refusals) != 2 {
		t.Fatalf("%+v", plan)
	}
	restored := newTestPlanner(t, nil)
	restored.Restore(at(2*time.Second), p.State())
	if plan = restored.Plan(at(2*time.Second), on, nil); len(plan.Wanted) != 0 {
		t.Fatal("the kill switch was forgotten over a restart")
	}
	restored.Kill(KillSwitch{})
	if plan = restored.Plan(at(3*time.Second), on, nil); len(plan.Wanted) != 2 {
		t.Fatalf("%+v", plan)
	}
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	for _, host := range hosts() {
		p := newTestPlanner(t, nil)
		on := []incident.Incident{attack("i1", host), attack("i2", host)}
		id := p.Plan(epoch, on, nil).Wanted[0].ID
		if _, err := p.Withdraw("nonsense"); !errors.Is(err, ErrUnknown) {
			t.Fatalf("%v", err)
		}
		owners, err := p.Withdraw(id)
		if err != nil || !slices.Equal(owners, []string{"i1", "i2"}) {
			t.Fatalf("%v %v", owners, err)
		}
		if plan := p.Plan(at(time.Second), on, nil); len(plan.Wanted) != 0 {
			t.Fatalf("it came back: %+v", plan.Wanted)
		}
		q := newTestPlanner(t, nil)
		q.Restore(at(time.Second), p.State())
		if plan := q.Plan(at(2*time.Second), on, nil); len(plan.Wanted) != 0 {
			t.Fatalf("it came back after a restart: %+v", plan.Wanted)
		}
		p.Plan(at(3*time.Second), nil, nil) // both incidents end
		if plan := p.Plan(at(4*time.Second), on[:1], nil); len(plan.Wanted) != 1 {
			t.Fatal("a later attack is not mitigated")
		}
		if len(p.suppressed) != 0 {
			t.Fatal("suppressions pile up")
		}
	}
}

func TestRestore(t *testing.T) {
	t.Parallel()
	p := newTestPlanner(t, nil)
	on := []incident.Incident{attack("i1", "10.1.1.7"), attack("i2", "2001:db8::7"), attack("i3", "203.0.113.200")}
	before := p.Plan(epoch, on, nil)
	raw, err := json.Marshal(p.State())
	if err != nil {
		t.Fatal(err)
	}
	var s State
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}

	q := newTestPlanner(t, func(c *Config) { c.Site.Networks = c.Site.Networks[2:] }) // 203.0.113.128/25 is not ours any more
	if left := q.Restore(at(5*time.Minute), s); len(left) != 1 || left[before.Wanted[1].ID] == "" && left[before.Wanted[2].ID] == "" {
		t.Fatalf("left out: %v", left)
	}
	plan := q.Plan(at(5*time.Minute), nil, nil) // the engine has not found the attack again yet
	if len(plan.Wanted) != 2 {
		t.Fatalf("%+v", plan)
	}
	for _, m := range plan.Wanted {
		if !slices.ContainsFunc(before.Wanted, func(o Mitigation) bool { return equal(&o, &m) }) {
			t.Errorf("changed by the restart: %+v", m)
		}
	}
	if plan = q.Plan(at(7*time.Minute), on[:1], nil); len(plan.Wanted) != 1 || plan.Wanted[0].Incident != "i1" {
		t.Fatalf("%+v", plan.Wanted)
	}
	late := newTestPlanner(t, nil)
	if left := late.Restore(at(2000*time.Second), s); len(left) != 3 || len(late.active) != 0 {
		t.Fatalf("expired mitigations came back: %v", left)
	}
}

func TestApplyKeepsWhatIsInForce(t *testing.T) {
	t.Parallel()
	p := newTestPlanner(t, nil)
	on := []incident.Incident{attack("i1", "10.1.1.7"), attack("i2", "2001:db8::7")}
	p.Plan(epoch, on, nil)

	bad := testConfig()
	bad.Guard.MaxBlackholes = 0
	if err := p.Apply(bad); err == nil {
		t.Fatal("accepted")
	}
	cfg := testConfig()
	cfg.Guard.MaxBlackholes = 1
	cfg.Policies[Global] = Policy{CommunitiesHost: []Community{"65001:666"}}
	if err := p.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	plan := p.Plan(at(time.Second), on, nil)
	if len(plan.Wanted) != 2 || !slices.Equal(plan.Wanted[0].Communities, []Community{"65001:666"}) || plan.Wanted[0].ID != "m1" {
		t.Fatalf("%+v", plan.Wanted)
	}
	cfg.Site.Whitelist = pfx("2001:db8::/64")
	if err := p.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	if plan = p.Plan(at(2*time.Second), on, nil); len(plan.Wanted) != 1 || !slices.Equal(railsOf(plan), []Rail{RailWhitelist}) {
		t.Fatalf("inside min_hold, too, the new whitelist must win: %+v", plan)
	}
}

func BenchmarkPlan(b *testing.B) {
	cfg := testConfig()
	cfg.Guard.MaxBlackholes, cfg.Guard.MaxNewPerMinute = 10000, 10000
	n := 0
	p, err := New(cfg, Deps{NewID: func() string { n++; return fmt.Sprint(n) }})
	if err != nil {
		b.Fatal(err)
	}
	var list []incident.Incident
	for i := range 10000 {
		list = append(list, attack(fmt.Sprint("i", i), fmt.Sprintf("10.%d.%d.7", i/250, i%250)))
	}
	b.ResetTimer()
	for range b.N {
		if plan := p.Plan(epoch, list, nil); len(plan.Wanted) != 10000 {
			b.Fatal(len(plan.Wanted))
		}
	}
}
