package bgp

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/mitigate"
)

func TestStricterWins(t *testing.T) {
	t.Parallel()
	rule := func(id string, change func(*mitigate.Mitigation)) mitigate.Mitigation {
		m := flow(id, mitigate.Match{Destination: host6, Protocols: []uint8{17}})
		m.Created = time.Unix(1_700_000_000, 0)
		change(&m)
		return m
	}
	limit := func(rate uint64) func(*mitigate.Mitigation) {
		return func(m *mitigate.Mitigation) { m.Action, m.Rate = mitigate.RateLimit, rate }
	}
	ms := []mitigate.Mitigation{
		rule("limit 9", limit(9)),
		rule("by hand", func(m *mitigate.Mitigation) { limit(100)(m); m.Manual = true }),
		rule("discard, later", func(m *mitigate.Mitigation) { m.Created = m.Created.Add(time.Second) }),
		rule("limit 5", limit(5)),
		rule("discard", func(*mitigate.Mitigation) {}),
	}
	slices.SortStableFunc(ms, func(a, b mitigate.Mitigation) int { return byStrictness(&a, &b) })
	var order []string
	for _, m := range ms {
		order = append(order, m.ID)
	}
	want := []string{"by hand", "discard", "discard, later", "limit 5", "limit 9"}
	if !slices.Equal(order, want) {
		t.Fatalf("order is %q, want %q", order, want)
	}
	// All five want the same route: one is announced, and all are served.
	s := &session{cfg: Config{ASN: ourASN}, peer: *testPeer(), log: slog.Default(), routes: map[string]*held{}, breaker: breaker{}}
	routes, refused := s.plan(ms, time.Now())
	if len(routes) != 1 || len(refused) != 0 {
		t.Fatalf("%d routes, refused %v", len(routes), refused)
	}
	for _, h := range routes {
		if h.id != "by hand" || !slices.Equal(h.also, want[1:]) {
			t.Errorf("the route is of %q and serves %q", h.id, h.also)
		}
	}
}

// TestSpeakerLints: the speaker refuses by itself what must never be announced, whatever the appliance asks for.
func TestSpeakerLints(t *testing.T) {
	t.Parallel()
	s := newSpeaker(slog.New(slog.DiscardHandler), time.Now)
	t.Cleanup(func() { s.close(false) })
	cfg := Default()
	cfg.ASN, cfg.RouterID = ourASN, netip.MustParseAddr("127.0.0.1")
	if err := s.configure(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	dry := blackhole("dry run", "203.0.113.5/32")
	dry.DryRun = true
	got, err := s.reconcile(t.Context(), []mitigate.Mitigation{
		blackhole("default v4", "0.0.0.0/0"), blackhole("default v6", "::/0"), blackhole("half the world", "128.0.0.0/1"),
		flow("everything", mitigate.Match{Destination: host4}), blackhole("fine", "203.0.113.4/32"), dry,
		{ID: "zero"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"default v4", "default v6", "half the world", "everything", "zero"} {
		if got.Refused[id] == "" {
			t.Errorf("%q was taken", id)
		}
	}
	if got.Refused["fine"] != "" || got.Refused["dry run"] != "" || len(s.want) != 1 {
		t.Errorf("refused %v, wants %d", got.Refused, len(s.want))
	}
	if !strings.Contains(got.Refused["default v6"], "default route") {
		t.Errorf("the reason is %q", got.Refused["default v6"])
	}
}
