package bgp

import (
	"strings"
	"testing"
	"time"
)

func TestBreaker(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	b := breaker{}
	plan := func(wanted ...string) (admitted string) {
		b.begin()
		in := map[string]*held{}
		for _, k := range wanted {
			if b.refuses(k, now) == "" {
				in[k] = &held{}
				admitted += k
			}
		}
		b.forget(now, in)
		return admitted
	}
	step := func(name, got, want string) {
		t.Helper()
		if got != want {
			t.Fatalf("%s: admitted %q, want %q", name, got, want)
		}
	}
	step("nothing is wrong yet", plan("a", "b", "c"), "abc")
	b.trip("a", "rejected", now)
	b.trip("b", "rejected", now)
	step("two suspects", plan("a", "b", "c"), "c")
	if why := b.refuses("a", now.Add(time.Minute)); !strings.Contains(why, "rejected") || !strings.Contains(why, "9m0s") {
		t.Errorf("the refusal says %q", why)
	}
	if b.due(now) {
		t.Error("due while both are in quarantine")
	}
	now = now.Add(quarantine)
	if !b.due(now) {
		t.Error("not due after the quarantine")
	}
	step("one trial at a time", plan("a", "b", "c"), "ac")
	step("the trial goes on", plan("a", "b", "c"), "ac")
	if !b.clear("a") {
		t.Error("nothing to acquit")
	}
	step("the next trial", plan("a", "b", "c"), "abc")
	b.trip("b", "rejected again", now)
	now = now.Add(quarantine)
	step("the second quarantine is longer", plan("a", "b", "c"), "ac")
	now = now.Add(quarantine)
	step("and ends", plan("a", "b", "c"), "abc")
	step("a trial ends when nobody wants the route", plan("a"), "a")
	for range 40 {
		b.trip("b", "for ever", now)
	}
	if d := b["b"].until.Sub(now); d != maxQuarantine {
		t.Errorf("quarantine grew to %s", d)
	}
	now = now.Add(3 * maxQuarantine)
	plan()
	if len(b) != 0 {
		t.Errorf("%d records are never forgotten", len(b))
	}
}
