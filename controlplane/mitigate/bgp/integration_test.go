package bgp

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/mitigate/bgp/routertest"
	"github.com/weir-ddos/weir/dataplane/wire"
)

var (
	host4 = netip.MustParsePrefix("203.0.113.9/32")
	host6 = netip.MustParsePrefix("2001:db8::9/128")
)

// everyRule is one rule of each kind that the planner makes, for v4 and v6.
func everyRule() []mitigate.Mitigation {
	var ms []mitigate.Mitigation
	for name, p := range map[string]netip.Prefix{"4": host4, "6": host6} {
		icmp := wire.ProtoICMP
		if p.Addr().Is6() {
			icmp = wire.ProtoICMPv6
		}
		limited := flow("limit"+name, mitigate.Match{Destination: p})
		limited.Action, limited.Rate = mitigate.RateLimit, 1_250_000
		ms = append(ms, limited,
			flow("udp"+name, mitigate.Match{Destination: p, Protocols: []uint8{17}, SourcePorts: []uint16{123, 53}}),
			flow("syn"+name, mitigate.Match{Destination: p, Protocols: []uint8{6}, TCPFlags: 2, TCPFlagsNot: 16}),
			flow("icmp"+name, mitigate.Match{Destination: p, Protocols: []uint8{icmp}, MinLength: 400, MaxLength: 1500}),
			flow("frag"+name, mitigate.Match{Destination: p, Fragment: true}),
			flow("out"+name, mitigate.Match{Source: p, Protocols: []uint8{17}, DestinationPorts: []uint16{53}}),
		)
	}
	return ms
}

func testAnnounceAndWithdraw(t *testing.T, b *testbed, r routertest.Router) {
	c := b.client(t)
	h4, h6 := blackhole("four", "203.0.113.9/32"), blackhole("six", "2001:db8::9/128")
	h4.Communities = append(h4.Communities, "65001:666", "64512:7:9")
	reconcile(t, c, append(everyRule(), h4, h6)...)
	expect(t, r, routertest.IPv4, "203.0.113.9/32 ")
	expect(t, r, routertest.IPv6, "2001:db8::9/128 ")

	rs, err := r.Routes(t.Context(), routertest.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"64512:7:9", "65001:666", "65535:65281", "65535:666", string(Marker(ourASN, "four"))}
	slices.Sort(want)
	if !slices.Equal(rs[0].Communities, want) || rs[0].NextHop.String() != "192.0.2.1" {
		t.Errorf("v4 route is %+v, want communities %v", rs[0], want)
	}
	rs, err = r.Routes(t.Context(), routertest.IPv6)
	if err != nil {
		t.Fatal(err)
	}
	if rs[0].NextHop.String() != "100::1" || !slices.Contains(rs[0].Communities, "65535:666") {
		t.Errorf("v6 route is %+v", rs[0])
	}
	for _, f := range []routertest.Family{routertest.IPv4FlowSpec, routertest.IPv6FlowSpec} {
		eventually(t, "six rules", func() string {
			rs, err := r.Routes(t.Context(), f)
			if err != nil {
				return err.Error()
			}
			if len(rs) != 6 {
				return prefixes(t.Context(), r, f)
			}
			return ""
		})
		rs, err := r.Routes(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range rs {
			t.Logf("%s: %s | %s", f, x.Rule, x.Actions)
		}
	}
	eventually(t, "all in force", func() string {
		if st := c.Status(); st.Announced != 14 || !st.Ready || len(st.Refused) > 0 || st.Peers[0].State != "established" {
			return strings.TrimSpace(stringOf(st))
		}
		return ""
	})

	reconcile(t, c, h6)
	expect(t, r, routertest.IPv4, "")
	expect(t, r, routertest.IPv6, "2001:db8::9/128 ")
	expect(t, r, routertest.IPv4FlowSpec, "")
	expect(t, r, routertest.IPv6FlowSpec, "")
	reconcile(t, c)
	expect(t, r, routertest.IPv6, "")
}

func TestBIRDAnnounceAndWithdraw(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	testAnnounceAndWithdraw(t, b, b.bird(t, nil))
}

func TestFRRAnnounceAndWithdraw(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	testAnnounceAndWithdraw(t, b, b.frr(t))
}

func TestTenThousandBlackholes(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	r := b.bird(t, nil)
	c := b.client(t)
	reconcile(t, c)
	eventually(t, "session", established(c))
	one := func(m ...mitigate.Mitigation) time.Duration {
		start := time.Now()
		reconcile(t, c, m...)
		eventually(t, "the last route", func() string {
			if out, err := r.Client(t.Context(), "show route "+m[len(m)-1].Prefix.String()); !strings.Contains(out, "weir") {
				return fmt.Sprint(out, err)
			}
			return ""
		})
		return time.Since(start)
	}
	last := blackhole("last", "203.0.113.1/32")
	t.Logf("one blackhole announced and seen at BIRD after %s", one(last))
	var want []mitigate.Mitigation
	for i := range 5000 {
		want = append(want, blackhole(fmt.Sprint("v4-", i), fmt.Sprintf("10.1.%d.%d/32", i>>8, i&255)),
			blackhole(fmt.Sprint("v6-", i), fmt.Sprintf("2001:db8::%x/128", i+1)))
	}
	arrive := func(n int) time.Duration {
		start := time.Now()
		reconcile(t, c, want[:2*n]...)
		for _, f := range []routertest.Family{routertest.IPv4, routertest.IPv6} {
			eventually(t, "routes at the router", func() string {
				if got, err := r.Count(t.Context(), f); err != nil || got != n {
					return fmt.Sprint(got, err)
				}
				return ""
			})
		}
		return time.Since(start)
	}
	t.Logf("10,000 blackholes announced and seen at BIRD after %s", arrive(5000))
	t.Logf("one more after %s", one(append(slices.Clone(want), last)...))
	reconcile(t, c, want...)
	start := time.Now()
	resp, err := c.link.call(t.Context(), &request{Op: opReconcile, Want: want})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the same set again: %s", time.Since(start))
	if resp.Result.Changes != 0 || resp.Result.Announced != 10_000 {
		t.Errorf("the same set again: %s", stringOf(resp.Result))
	}
	t.Logf("10,000 withdrawn after %s", arrive(0))
}

func TestFRRTakesManyRulesAndAResync(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	r := b.frr(t)
	c := b.client(t)
	var want []mitigate.Mitigation
	for i := range 200 {
		port := []uint16{uint16(i + 1)}
		want = append(want,
			flow(fmt.Sprint("v4-", i), mitigate.Match{Destination: host4, Protocols: []uint8{17}, SourcePorts: port, MaxLength: 1000}),
			flow(fmt.Sprint("v6-", i), mitigate.Match{Destination: host6, Protocols: []uint8{17}, SourcePorts: port, MaxLength: 1000}))
	}
	reconcile(t, c, want...)
	arrived := func() string {
		for _, f := range []routertest.Family{routertest.IPv4FlowSpec, routertest.IPv6FlowSpec} {
			if n, err := r.Count(t.Context(), f); err != nil || n != 200 {
				return fmt.Sprint(n, err)
			}
		}
		return ""
	}
	eventually(t, "400 rules", arrived)
	// All 400 at once, as after a loss of the session.
	if _, err := r.Client(t.Context(), "clear bgp * soft in"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "400 rules", arrived)
	if st := c.Status(); st.Peers[0].Flaps != 0 {
		t.Errorf("the router reset the session: %s", stringOf(st))
	}
}

// TestNoTransit: what one router tells us, the default route included, is told to nobody.
func TestNoTransit(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	leaky := b.bird(t, func(cfg *routertest.Config) {
		cfg.Name = "leaky"
		for _, p := range []string{"0.0.0.0/0", "198.51.100.0/24", "::/0", "2001:db8:f::/48"} {
			cfg.Originate = append(cfg.Originate, netip.MustParsePrefix(p))
		}
	})
	other := startBIRD(t, b.peer(t, "other"))
	c := b.client(t)
	reconcile(t, c, blackhole("a", "203.0.113.1/32"))
	eventually(t, "sessions", established(c))
	eventually(t, "the router announces its routes", func() string {
		out, err := leaky.Client(t.Context(), "show protocols all weir")
		if err != nil || strings.Count(out, "3 exported")+strings.Count(out, "2 exported") < 2 {
			return out
		}
		return ""
	})
	// Whatever went in before this came out after it.
	reconcile(t, c, blackhole("b", "203.0.113.2/32"), blackhole("c", "2001:db8::3/128"))
	for _, r := range []routertest.Router{other, leaky} {
		expect(t, r, routertest.IPv4, "203.0.113.2/32 ")
		expect(t, r, routertest.IPv6, "2001:db8::3/128 ")
	}
}

func TestReconfigureDisturbsNobodyElse(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	steady := b.bird(t, func(cfg *routertest.Config) { cfg.Name = "steady" })
	leaving := startBIRD(t, b.peer(t, "leaving"))
	c := b.client(t)
	reconcile(t, c, blackhole("a", "203.0.113.1/32"), blackhole("c", "2001:db8::3/128"))
	for _, r := range []routertest.Router{steady, leaving} {
		expect(t, r, routertest.IPv4, "203.0.113.1/32 ")
	}
	joining := startBIRD(t, b.peer(t, "joining"))
	b.cfg.Peers = []Peer{b.cfg.Peers[0], b.cfg.Peers[2]}
	b.cfg.Peers[0].Communities = []mitigate.Community{"65001:77"}
	b.cfg.Peers[0].NextHopIPv4 = netip.MustParseAddr("192.0.2.1")
	if err := c.Reconfigure(t.Context(), b.cfg); err != nil {
		t.Fatal(err)
	}
	for _, r := range []routertest.Router{steady, joining} {
		expect(t, r, routertest.IPv4, "203.0.113.1/32 ")
		expect(t, r, routertest.IPv6, "2001:db8::3/128 ")
	}
	expect(t, leaving, routertest.IPv4, "")
	eventually(t, "the new community", func() string {
		rs, err := steady.Routes(t.Context(), routertest.IPv4)
		if err != nil || len(rs) != 1 || !slices.Contains(rs[0].Communities, "65001:77") {
			return fmt.Sprint(rs, err)
		}
		return ""
	})
	if st := c.Status(); len(st.Peers) != 2 || st.Peers[0].Flaps != 0 {
		t.Errorf("status is %s", stringOf(st))
	}
	bad := b.cfg
	bad.ASN = 0
	if err := c.Reconfigure(t.Context(), bad); err == nil {
		t.Error("a configuration without AS was taken")
	}
	expect(t, steady, routertest.IPv4, "203.0.113.1/32 ")
}

// TestLimitGuard: the router's limit would end the session; we stay below it, and say what did not fit.
func TestLimitGuard(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	r := b.bird(t, func(cfg *routertest.Config) { cfg.MaxRoutes = 10 })
	b.cfg.Peers[0].MaxRoutes = 10
	c := b.client(t)
	var want []mitigate.Mitigation
	for i := range 15 {
		m := blackhole(fmt.Sprintf("%02d", i), fmt.Sprintf("203.0.113.%d/32", 10+i))
		m.Created = m.Created.Add(time.Duration(i) * time.Millisecond)
		want = append(want, m)
	}
	reconcile(t, c, want...)
	eventually(t, "nine routes", func() string {
		if n, err := r.Count(t.Context(), routertest.IPv4); err != nil || n != 9 {
			return fmt.Sprint(n, err)
		}
		return ""
	})
	eventually(t, "status", func() string {
		if st := c.Status(); st.Announced != 9 || len(st.Refused) != 6 || !strings.Contains(st.Refused["14"], "max_routes 10") {
			return stringOf(st)
		}
		return ""
	})
	// What is announced keeps its place, whatever else is wanted; what ends makes room.
	reconcile(t, c, want[3:]...)
	eventually(t, "the next three", func() string {
		if st := c.Status(); st.Announced != 9 || len(st.Refused) != 3 {
			return stringOf(st)
		}
		return ""
	})
	if st := c.Status(); st.Peers[0].Flaps != 0 {
		t.Errorf("the session was lost: %s", stringOf(st))
	}
}

// TestLimitLearned: max_routes says more than the router takes. One reset teaches us.
func TestLimitLearned(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	r := b.bird(t, func(cfg *routertest.Config) { cfg.MaxRoutes = 10 })
	c := b.client(t)
	want := []mitigate.Mitigation{blackhole("six", "2001:db8::1/128")}
	for i := range 14 {
		want = append(want, blackhole(fmt.Sprint(i), fmt.Sprintf("203.0.113.%d/32", 10+i)))
	}
	reconcile(t, c, want...)
	eventually(t, "seven of fourteen, and the other family", func() string {
		st := c.Status()
		n4, err4 := r.Count(t.Context(), routertest.IPv4)
		n6, err6 := r.Count(t.Context(), routertest.IPv6)
		if n4 != 7 || n6 != 1 || st.Announced != 8 || len(st.Refused) != 7 {
			return fmt.Sprint(n4, err4, n6, err6, stringOf(st))
		}
		return ""
	})
	// A notification is lost when our next write meets the closed connection first: then the second reset teaches us.
	if st := c.Status(); st.Peers[0].Flaps == 0 || st.Peers[0].Flaps > 2 || !strings.Contains(st.Peers[0].LastError, "subcode 1") {
		t.Errorf("status is %s", stringOf(st))
	}
}

func TestRouterThatRefusesTheSession(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	b.bird(t, nil)
	b.cfg.Peers[0].RemoteASN = 65099 // the router is 65001
	c := b.client(t)
	reconcile(t, c, blackhole("a", "203.0.113.1/32"))
	eventually(t, "the reason is shown", func() string {
		st := c.Status()
		if st.Ready || st.Announced != 0 || !strings.Contains(st.Peers[0].LastError, "2(open)") {
			return stringOf(st)
		}
		return ""
	})
}

func TestPasswordedSession(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	r := b.bird(t, func(cfg *routertest.Config) { cfg.Password = "s3cret" })
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.cfg.Peers[0].PasswordFile = file
	c := b.client(t)
	reconcile(t, c, blackhole("c", "2001:db8::3/128"))
	expect(t, r, routertest.IPv6, "2001:db8::3/128 ")
}

// TestInProcessPeer runs over IPv6, to the receiver that needs no privilege and no daemon.
func TestInProcessPeer(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	lo := netip.IPv6Loopback()
	cfg := b.peer(t, "peer")
	cfg.Address, cfg.PeerAddress, cfg.Port, cfg.RouterID = lo, lo, uint16(10_000+os.Getpid()%10_000), cfg.Address
	b.cfg.Peers[0].Address, b.cfg.Peers[0].LocalAddress, b.cfg.Peers[0].Port = lo, lo, cfg.Port
	r, err := routertest.StartPeer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stop()
	c := b.client(t)
	m := blackhole("a", "203.0.113.1/32")
	reconcile(t, c, m, blackhole("c", "2001:db8::3/128"), flow("f", mitigate.Match{Destination: host6, Protocols: []uint8{17}}))
	expect(t, r, routertest.IPv4, "203.0.113.1/32 ")
	expect(t, r, routertest.IPv6, "2001:db8::3/128 ")
	expect(t, r, routertest.IPv6FlowSpec, "[destination: 2001:db8::9/128/0][protocol: ==udp] ")
	rs, err := r.Routes(t.Context(), routertest.IPv4)
	if err != nil || rs[0].NextHop.String() != "192.0.2.1" ||
		!slices.Equal(rs[0].Communities, []string{string(Marker(ourASN, "a")), "65535:65281", "65535:666"}) {
		t.Errorf("route is %+v, %v", rs, err)
	}
	if up, err := r.Established(t.Context()); err != nil || !up {
		t.Errorf("established: %t, %v", up, err)
	}
	reconcile(t, c)
	expect(t, r, routertest.IPv4, "")
	expect(t, r, routertest.IPv6FlowSpec, "")
}
