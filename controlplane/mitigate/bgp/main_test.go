package bgp

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/mitigate/bgp/routertest"
)

// speakerEnv makes the test binary a speaker, so that the tests run real child processes.
const speakerEnv = "WEIR_TEST_SPEAKER"

func TestMain(m *testing.M) {
	if os.Getenv(speakerEnv) != "" {
		if err := RunSpeaker(context.Background(), os.Args[2:], os.Stderr, time.Now); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(applianceEnv) != "" {
		os.Exit(runTestAppliance(os.Args[1:]))
	}
	// The tests wait for routers rather than compute: more of them at a time than there are cores.
	flag.Parse()
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

const (
	ourASN    = 64512
	routerASN = 65001
)

// loopback hands out addresses of 127/8, so that tests run side by side without sharing ports.
var loopback atomic.Uint32

func nextLoopback() netip.Addr {
	n := loopback.Add(1) + uint32(os.Getpid())<<8
	return netip.AddrFrom4([4]byte{127, byte(64 + n>>16&0x3f), byte(n >> 8), byte(n)})
}

func quietLog(t *testing.T) *slog.Logger {
	t.Helper()
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	return slog.New(slog.DiscardHandler)
}

// testbed is a speaker's configuration and the addresses of both sides.
type testbed struct {
	cfg    Config
	us     netip.Addr
	socket string
}

func newTestbed(t *testing.T) *testbed {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-bgp-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &testbed{cfg: Default(), us: nextLoopback(), socket: filepath.Join(dir, "s")}
	b.cfg.ASN, b.cfg.RouterID = ourASN, b.us
	return b
}

// peer adds a router to the configuration and returns what the router must be configured with.
func (b *testbed) peer(t *testing.T, name string) routertest.Config {
	t.Helper()
	addr := nextLoopback()
	b.cfg.Peers = append(b.cfg.Peers, Peer{
		Name: name, Address: addr, Port: routerPort, RemoteASN: routerASN, LocalAddress: b.us, MultihopTTL: 5, MaxRoutes: 20_000,
	})
	return routertest.Config{
		Name: name, Address: addr, Port: routerPort, ASN: routerASN, PeerAddress: b.us, PeerASN: ourASN, Multihop: true,
	}
}

// routerPort is free on every address of nextLoopback, and outside the range of ports that the kernel hands out.
const routerPort = 1790

// bird starts BIRD for the testbed, or skips.
func (b *testbed) bird(t *testing.T, change func(*routertest.Config)) *routertest.BIRD {
	t.Helper()
	cfg := b.peer(t, "bird")
	if change != nil {
		change(&cfg)
	}
	return startBIRD(t, cfg)
}

func startBIRD(t *testing.T, cfg routertest.Config) *routertest.BIRD {
	t.Helper()
	r, err := routertest.StartBIRD(deadline(t, limit), cfg)
	keepRouter(t, r, err)
	return r
}

func (b *testbed) frr(t *testing.T) *routertest.FRR {
	t.Helper()
	r, err := routertest.StartFRR(deadline(t, limit), b.peer(t, "frr"))
	keepRouter(t, r, err)
	return r
}

func keepRouter(t *testing.T, r routertest.Router, err error) {
	t.Helper()
	if errors.Is(err, routertest.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(r.Log())
		}
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// client starts a client whose speakers are this test binary.
func (b *testbed) client(t *testing.T) *Client {
	t.Helper()
	c, err := New(b.options(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(false); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (b *testbed) options(t *testing.T) Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Socket: b.socket, Config: b.cfg, Command: []string{self, "speaker"}, Env: []string{speakerEnv + "=1"},
		Log: quietLog(t), Now: time.Now,
	}
}

func deadline(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// limit bounds every wait. It is long because the machine may be busy, and costs nothing when all is well.
const limit = time.Minute

// eventually polls until check returns nothing, and fails with what it returned last.
func eventually(t *testing.T, what string, check func() string) {
	t.Helper()
	end := time.Now().Add(limit)
	for {
		problem := check()
		if problem == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s, not within %s: %s", what, limit, problem)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func blackhole(id, prefix string) mitigate.Mitigation {
	p := netip.MustParsePrefix(prefix)
	nh := netip.MustParseAddr("192.0.2.1")
	if p.Addr().Is6() {
		nh = netip.MustParseAddr("100::1")
	}
	now := time.Now()
	return mitigate.Mitigation{
		ID: id, Kind: mitigate.Blackhole, Prefix: p, NextHop: nh, Reason: "test",
		Communities: []mitigate.Community{"blackhole", "no-export"}, Created: now, Expires: now.Add(time.Hour),
	}
}

func flow(id string, m mitigate.Match) mitigate.Mitigation {
	b := blackhole(id, "203.0.113.0/24")
	b.Kind, b.NextHop, b.Action, b.Match, b.Communities = mitigate.FlowSpec, netip.Addr{}, mitigate.Discard, m, nil
	b.Prefix = m.Destination
	if !b.Prefix.IsValid() {
		b.Prefix = m.Source
	}
	return b
}

// reconcile fails the test on an error.
func reconcile(t *testing.T, c *Client, want ...mitigate.Mitigation) {
	t.Helper()
	if err := c.Reconcile(deadline(t, limit), want); err != nil {
		t.Fatal(err)
	}
}

// prefixes lists a router's unicast prefixes as text.
func prefixes(ctx context.Context, r routertest.Router, f routertest.Family) string {
	rs, err := r.Routes(ctx, f)
	if err != nil {
		return err.Error()
	}
	text := ""
	for _, x := range rs {
		if x.Rule != "" {
			text += x.Rule + " "
		} else {
			text += x.Prefix.String() + " "
		}
	}
	return text
}

// expect polls until the router holds exactly these prefixes or rules, separated by spaces.
func expect(t *testing.T, r routertest.Router, f routertest.Family, want string) {
	t.Helper()
	eventually(t, string(f)+" is "+want, func() string {
		if got := prefixes(t.Context(), r, f); got != want {
			return "router has " + got
		}
		return ""
	})
}
