// Package lab builds a small real network around the real program: a generator, the appliance, and routers, each in a
// network namespace of its own, joined by veth. End-to-end tests, benchmarks and the demo use it.
//
// A Lab belongs to one goroutine; Weir's methods are safe from any. Everything that a Lab starts ends with Close, by
// its process id, also a BGP speaker that outlived its appliance. It never touches the host's own network.
package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/weir-ddos/weir/controlplane/mitigate/bgp/routertest"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
	"github.com/weir-ddos/weir/tools/trafficgen/send"
)

// Names and numbers that every Lab has.
const (
	// Wire is the generator's device.
	Wire = "g0"
	// Watch is the appliance's end of the same cable: the mirror port.
	Watch = "w0"
	// ASN is the appliance's autonomous system.
	ASN = 64512
	// RouterASN is the routers' autonomous system.
	RouterASN = 65001
)

// Addresses of the BGP sessions: the appliance, BIRD, and FRR.
var (
	Appliance = netip.MustParseAddr("10.99.0.1")
	BIRD      = netip.MustParseAddr("10.99.0.2")
	FRR       = netip.MustParseAddr("10.99.0.3")
)

// Lab is one network.
type Lab struct {
	// Gen is the generator's namespace, App the appliance's, Router the routers'.
	Gen, App, Router *netns.NS
	// Dir holds configuration, sockets, journal and logs; it is removed by Close.
	Dir string

	binary  string
	closers []func() error // called last first
}

// New makes the namespaces and cables, with queues receive queues at the appliance. binary is the weir program.
// The error says which right or tool is missing.
func New(binary string, queues int) (l *Lab, err error) {
	if why := netns.Missing(); why != "" {
		return nil, errors.New(why)
	}
	l = &Lab{binary: binary}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if l.Dir, err = os.MkdirTemp("", "weir-lab-"); err != nil {
		return l, err
	}
	l.closers = append(l.closers, func() error { return os.RemoveAll(l.Dir) })
	for _, n := range []struct {
		ns   **netns.NS
		word string
	}{{&l.Gen, "gen"}, {&l.App, "app"}, {&l.Router, "router"}} {
		ns, err := netns.Create(n.word)
		if err != nil {
			return l, err
		}
		*n.ns = ns
		l.closers = append(l.closers, ns.Delete)
	}
	if err := netns.Cable(&netns.Link{NS: l.Gen, Name: Wire}, &netns.Link{NS: l.App, Name: Watch}, queues); err != nil {
		return l, err
	}
	if err := netns.Cable(&netns.Link{NS: l.App, Name: "b0"}, &netns.Link{NS: l.Router, Name: "b1"}, 1); err != nil {
		return l, err
	}
	return l, errors.Join(
		l.App.IP("addr", "add", Appliance.String()+"/24", "dev", "b0"),
		l.Router.IP("addr", "add", BIRD.String()+"/24", "dev", "b1"),
		l.Router.IP("addr", "add", FRR.String()+"/24", "dev", "b1"),
	)
}

// Close ends everything.
func (l *Lab) Close() error {
	var errs []error
	for i := len(l.closers) - 1; i >= 0; i-- {
		errs = append(errs, l.closers[i]())
	}
	l.closers = nil
	return errors.Join(errs...)
}

// OnClose has f called by Close, before what was there already is undone.
func (l *Lab) OnClose(f func() error) { l.closers = append(l.closers, f) }

// startTime bounds how long a router or the appliance may take to come up, or to answer. It is long because the machine may be busy.
const startTime = time.Minute

func (l *Lab) routerConfig(addr netip.Addr, name string) routertest.Config {
	return routertest.Config{
		Name: name, Prefix: []string{"ip", "netns", "exec", l.Router.Name}, Address: addr, ASN: RouterASN,
		PeerAddress: Appliance, PeerASN: ASN,
	}
}

// StartBIRD starts BIRD at the address BIRD. edit may change its configuration; nil leaves it.
func (l *Lab) StartBIRD(ctx context.Context, edit func(*routertest.Config)) (*routertest.BIRD, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	cfg := l.routerConfig(BIRD, "bird")
	if edit != nil {
		edit(&cfg)
	}
	r, err := routertest.StartBIRD(ctx, cfg)
	if err == nil {
		l.OnClose(r.Stop)
	}
	return r, err
}

// StartFRR starts FRR's bgpd at the address FRR.
func (l *Lab) StartFRR(ctx context.Context) (*routertest.FRR, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	r, err := routertest.StartFRR(ctx, l.routerConfig(FRR, "frr"))
	if err == nil {
		l.OnClose(r.Stop)
	}
	return r, err
}

// Send plays a scenario onto the mirror port, in its own time, and returns what was sent.
func (l *Lab) Send(ctx context.Context, s gen.Scenario, cfg send.Config) (st send.Stats, err error) {
	g, err := gen.New(s)
	if err != nil {
		return st, err
	}
	if cfg.Device == "" {
		cfg.Device = Wire
	}
	err = l.Gen.Do(func() error {
		st, err = send.Run(ctx, g, cfg)
		return err
	})
	return st, err
}

// WireLost is how many frames were lost between sender and appliance since the cable was made: a virtual cable holds 256 frames a
// queue, and drops what comes while the kernel has no time to hand them over. No program sees these.
func (l *Lab) WireLost() (uint64, error) {
	out, err := l.Gen.Command(context.Background(), "ip", "-s", "-j", "link", "show", "dev", Wire).Output()
	if err != nil {
		return 0, fmt.Errorf("statistics of %s: %w", Wire, err)
	}
	var list []struct {
		Stats struct {
			TX struct {
				Dropped uint64 `json:"dropped"`
			} `json:"tx"`
		} `json:"stats64"`
	}
	if err := json.Unmarshal(out, &list); err != nil || len(list) != 1 {
		return 0, fmt.Errorf("statistics of %s: %q: %w", Wire, out, err)
	}
	return list[0].Stats.TX.Dropped, nil
}

// Path is a file in the lab's directory.
func (l *Lab) Path(name string) string { return filepath.Join(l.Dir, name) }

// Wait polls f until it says true; the error after limit names what was waited for.
func Wait(ctx context.Context, limit time.Duration, what string, f func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for {
		ok, err := f()
		if ok {
			return nil
		}
		last = err
		select {
		case <-ctx.Done():
			if last != nil {
				return fmt.Errorf("no %s within %v: %w", what, limit, last)
			}
			return fmt.Errorf("no %s within %v", what, limit)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
