package export

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// listen is a collector's socket on a loopback address.
func listen(t *testing.T, addr string) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 0)))
	if err != nil {
		t.Skipf("%s cannot be listened on: %v", addr, err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetReadBuffer(4 << 20) // whatever the system grants: a test reads when all has been sent
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestRun(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"127.0.0.1", "::1"} {
		t.Run(addr, func(t *testing.T) {
			t.Parallel()
			c, to := listen(t, addr)
			g, err := gen.New(gen.Scenario{Seed: 5, Background: 200, Length: seconds(0.6), Streams: []gen.Stream{
				{Kind: "syn", Target: "10.0.0.1", PPS: 500, Start: seconds(0.3)}, {Kind: "udp", Target: "2001:db8::1", PPS: 500, Start: seconds(0.3)},
			}})
			if err != nil {
				t.Fatal(err)
			}
			truth, err := gen.NewTruth(g, gen.Options{})
			if err != nil {
				t.Fatal(err)
			}
			starts := map[int]time.Time{}
			all, stats, err := Run(context.Background(), g, truth, Config{Protocol: SFlow, Domain: 77, Linger: 50 * time.Millisecond},
				Live{Collector: to, AttackStarts: func(i int, at time.Time) { starts[i] = at }})
			if err != nil || stats.Refused != 0 {
				t.Fatalf("%v, %+v", err, stats)
			}
			if d := stats.End.Sub(stats.Start); d < 500*time.Millisecond || len(starts) != 2 || starts[0].Sub(stats.Start) < 200*time.Millisecond {
				t.Errorf("took %v, attacks start at %v", d, starts)
			}
			r := &reader{t: t}
			buf := make([]byte, 2000)
			for range all.Export.Datagrams {
				_ = c.SetReadDeadline(time.Now().Add(time.Minute))
				n, err := c.Read(buf)
				if err != nil {
					t.Fatalf("after %d of %d datagrams: %v", len(r.datagrams), all.Export.Datagrams, err)
				}
				_ = r.take(0, buf[:n])
			}
			r.parse(SFlow)
			if uint64(len(r.records)) != all.Export.Records || all.Export.Frames != all.Traffic.Packets || all.Export.Frames != uint64(g.Packets()) || len(r.datagrams) < 5 {
				t.Errorf("%d records in %d datagrams, truth %+v", len(r.records), len(r.datagrams), all.Export)
			}
		})
	}
}

// refusing is an address that nobody listens at and nobody else can get meanwhile: its socket takes datagrams of another peer only.
func refusing(t *testing.T) netip.AddrPort {
	t.Helper()
	_, peer := listen(t, "127.0.0.1")
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(peer))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// TestRunAlone: no collector listens, and the scenario is cut short.
func TestRunAlone(t *testing.T) {
	t.Parallel()
	to := refusing(t)
	g, err := gen.New(gen.Scenario{Length: seconds(3600), Streams: []gen.Stream{{Kind: "fin", Target: "10.0.0.1", PPS: 50}}})
	if err != nil {
		t.Fatal(err)
	}
	truth, err := gen.NewTruth(g, gen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	begin := time.Now()
	all, stats, err := Run(ctx, g, truth, Config{Protocol: IPFIX, Linger: time.Millisecond}, Live{
		Collector: to, AttackStarts: func(int, time.Time) { time.AfterFunc(300*time.Millisecond, cancel) },
	})
	if err != nil || time.Since(begin) > time.Minute || all.Export.Frames == 0 || all.Export.Exported.Packets != all.Export.Frames {
		t.Errorf("%v after %v: %+v, %+v", err, time.Since(begin), all.Export, stats)
	}
	if all.Export.Datagrams > 2 && stats.Refused == 0 {
		t.Errorf("%d datagrams to nobody, none refused", all.Export.Datagrams)
	}
}
