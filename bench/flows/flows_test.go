package flows

import (
	"testing"
	"time"
)

// TestCases runs every case briefly: the measurement itself must not rot.
func TestCases(t *testing.T) {
	for _, c := range Cases(2) {
		c.Hosts = min(c.Hosts, 1<<14)
		c.Records, c.Peer = 1<<16, !c.IPv6
		r, err := Run(c)
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if r.Counted.Best <= 0 || r.Counted.Median < r.Counted.Best || r.Decoded.Best <= 0 || r.Allocations > 0.01 {
			t.Errorf("%+v", r)
		}
		if c.Peer && (r.Peer.Best <= 0 || r.Produced.Best <= r.Peer.Best) {
			t.Errorf("goflow2: %+v", r)
		}
		t.Logf("%s v6=%v hosts=%d: counted %.1f decoded %.1f goflow2 %.0f, with producer %.0f ns, %.3f allocs",
			c.Protocol, c.IPv6, c.Hosts, r.Counted.Median, r.Decoded.Median, r.Peer.Median, r.Produced.Median, r.Allocations)
	}
}

// TestReceive sends a little of everything.
func TestReceive(t *testing.T) {
	for _, c := range ReceiveCases(200 * time.Millisecond) {
		c.Hosts = min(c.Hosts, 1<<14)
		r, err := Receive(t.Context(), c)
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if r.Records == 0 || r.CPU <= 0 || r.Lost > r.Datagrams/10 {
			t.Errorf("%+v", r)
		}
		t.Logf("%s v6=%v hosts=%d spread=%v: %.2f M rec/s, %.2f M rec/s a core, %d lost of %d, tick %v", c.Protocol, c.IPv6, c.Hosts, c.Spread,
			float64(r.Records)/r.Took.Seconds()/1e6, r.PerCore()/1e6, r.Lost, r.Datagrams, r.MaxTick)
	}
}

// BenchmarkMillion is for profiles: go test -run xxx -bench Million -benchtime 1x -cpuprofile p ./bench/flows
func BenchmarkMillion(b *testing.B) {
	for b.Loop() {
		if _, err := Run(Case{Protocol: IPFIX, Hosts: 1 << 20, Records: 5_000_000, Epochs: 3}); err != nil {
			b.Fatal(err)
		}
	}
}
