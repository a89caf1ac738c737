package latency

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/mitigate/bgp"
	"github.com/weir-ddos/weir/controlplane/mitigate/bgp/routertest"
	"github.com/weir-ddos/weir/tools/lab"
)

// Many is what a number of blackholes at once gave.
type Many struct {
	// Routes is how many there were, half of them IPv4 and half IPv6.
	Routes int
	// Announced are the times from the wanted set to the last route seen at BIRD, Withdrawn from the empty set to
	// none, one a repetition, in order.
	Announced, Withdrawn []time.Duration
}

// Blackholes has the speaker of the program weir announce so many routes to BIRD, and withdraw them, repeat times.
func Blackholes(ctx context.Context, weir string, routes, repeat int) (m Many, err error) {
	m.Routes = routes
	l, err := lab.New(weir, 1)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	bird, err := l.StartBIRD(ctx, nil)
	if err != nil {
		return m, err
	}
	log, err := os.Create(l.Path("speaker.log"))
	if err != nil {
		return m, err
	}
	defer log.Close()
	client, err := newSpeaker(l, weir, log, routes)
	if err != nil {
		return m, err
	}
	if err := client.Start(ctx); err != nil {
		return m, errors.Join(err, client.Stop(false))
	}
	defer func() { err = errors.Join(err, client.Stop(false)) }()
	// A speaker opens no session before it knows what is wanted: an empty table would withdraw what a router kept.
	if err := client.Reconcile(ctx, nil); err != nil {
		return m, err
	}
	err = lab.Wait(ctx, patience, "BGP session", func() (bool, error) { return bird.Established(ctx) })
	if err != nil {
		return m, err
	}
	want := wanted(routes, time.Now())
	for range repeat {
		up, err := change(ctx, client, bird, want, routes/2)
		if err != nil {
			return m, err
		}
		down, err := change(ctx, client, bird, nil, 0)
		if err != nil {
			return m, err
		}
		m.Announced, m.Withdrawn = append(m.Announced, up), append(m.Withdrawn, down)
	}
	return m, nil
}

func newSpeaker(l *lab.Lab, weir string, log *os.File, routes int) (*bgp.Client, error) {
	cfg := bgp.Default()
	cfg.ASN, cfg.RouterID = lab.ASN, lab.Appliance
	cfg.Peers = []bgp.Peer{{Name: "bird", Address: lab.BIRD, RemoteASN: lab.RouterASN, MaxRoutes: 2 * routes}}
	return bgp.New(bgp.Options{
		Socket: l.Path("speaker.sock"), Config: cfg, Stderr: log, Now: time.Now,
		Log:     slog.New(slog.NewTextHandler(log, nil)),
		Command: []string{"ip", "netns", "exec", l.App.Name, weir, "speaker"},
	})
}

// wanted is a set of blackholes, IPv4 and IPv6 in turn.
func wanted(routes int, now time.Time) (list []mitigate.Mitigation) {
	for i := range routes {
		m := mitigate.Mitigation{
			ID: fmt.Sprint("m", i), Kind: mitigate.Blackhole, Reason: "benchmark",
			Communities: []mitigate.Community{"blackhole", "no-export"}, Created: now, Expires: now.Add(time.Hour),
		}
		if n := i / 2; i%2 == 0 {
			m.Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1 + byte(n>>16), byte(n >> 8), byte(n)}), 32)
			m.NextHop = netip.MustParseAddr("192.0.2.1")
		} else {
			m.Prefix = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)}), 128)
			m.NextHop = netip.MustParseAddr("100::1")
		}
		list = append(list, m)
	}
	return list
}

// change reconciles and waits until BIRD has so many routes of each family.
func change(ctx context.Context, c *bgp.Client, r *routertest.BIRD, want []mitigate.Mitigation, each int) (time.Duration, error) {
	begin := time.Now()
	if err := c.Reconcile(ctx, want); err != nil {
		return 0, err
	}
	for _, f := range []routertest.Family{routertest.IPv4, routertest.IPv6} {
		err := lab.Wait(ctx, patience, fmt.Sprintf("%d routes of %s at BIRD", each, f), func() (bool, error) {
			n, err := r.Count(ctx, f)
			if err == nil && n != each {
				err = fmt.Errorf("%d", n)
			}
			return n == each, err
		})
		if err != nil {
			return 0, err
		}
	}
	return time.Since(begin), nil
}
