package flows

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Child()
	os.Exit(m.Run())
}

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
		t.Logf("%s v6=%v hosts=%d spread=%v single=%v: %.2f M rec/s, %.2f M rec/s a core, %d lost of %d, tick %v", c.Protocol, c.IPv6, c.Hosts, c.Spread, c.Single,
			float64(r.Records)/r.Took.Seconds()/1e6, r.PerCore()/1e6, r.Lost, r.Datagrams, r.MaxTick)
	}
}

// TestBeside gives every collector that is installed a few records.
func TestBeside(t *testing.T) {
	for _, c := range BesideCases(300 * time.Millisecond) {
		c.Rate = 50_000
		t.Run(string(c.Side)+"/"+string(c.Protocol), func(t *testing.T) {
			r, err := RunBeside(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if r.Missing != "" {
				t.Skip(r.Missing)
			}
			if r.Sent == 0 || r.Records == 0 || r.CPU <= 0 || c.Side == Weir && r.Lost > r.Sent/10 { // a busy machine may lose some, and says so
				t.Errorf("%+v", r)
			}
			t.Logf("%.0f ns a record, %d of %d datagrams lost, %.0f records/s offered", r.Nanoseconds(), r.Lost, r.Sent, r.Offered)
		})
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	for _, v := range Versions(t.Context()) {
		if name, number, ok := strings.Cut(v, " "); !ok || name == "" || !version.MatchString(number) {
			t.Errorf("%q", v)
		}
	}
}

func TestSocketState(t *testing.T) {
	t.Parallel()
	const text = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  100: 0100007F:0807 00000000:0000 07 00000000:00000A00 00:00000000 00000000     0        0 77 2 0000000000000000 12
  101: 0100007F:0807 0100007F:9C40 07 00000000:00000B00 00:00000000 00000000     0        0 78 2 0000000000000000 99
  102: 0100007F:0808 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 79 2 0000000000000000 3
`
	var st socketState
	if st.parse(text, 2055); st != (socketState{found: true, queued: 0xa00, dropped: 12}) {
		t.Errorf("%+v", st)
	}
	if pid, group := groupOf("123 (a) b (c)) S 1 77 77 0"); pid != 123 || group != 77 {
		t.Errorf("process %d of group %d", pid, group)
	}
}

// BenchmarkMillion and BenchmarkReceive are for profiles: go test -run xxx -bench Million/IPFIX -benchtime 1x -cpuprofile p ./bench/flows
func BenchmarkMillion(b *testing.B) {
	for _, p := range Protocols() {
		b.Run(string(p), func(b *testing.B) {
			for b.Loop() {
				r, err := Run(Case{Protocol: p, Hosts: 1 << 20, Records: 5_000_000, Epochs: 3})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(r.Counted.Median, "counted-ns")
				b.ReportMetric(r.Decoded.Median, "decoded-ns")
			}
		})
	}
}

// BenchmarkHot is one host: the best of many short epochs, for a noisy machine.
func BenchmarkHot(b *testing.B) {
	for _, p := range Protocols() {
		b.Run(string(p), func(b *testing.B) {
			for b.Loop() {
				r, err := Run(Case{Protocol: p, Hosts: 1, Records: 200_000, Epochs: 15})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(r.Counted.Best, "counted-ns")
				b.ReportMetric(r.Decoded.Best, "decoded-ns")
			}
		})
	}
}

func BenchmarkReceive(b *testing.B) {
	for _, c := range ReceiveCases(3 * time.Second) {
		b.Run(fmt.Sprintf("%s/v6=%v/hosts=%d/spread=%v/single=%v", c.Protocol, c.IPv6, c.Hosts, c.Spread, c.Single), func(b *testing.B) {
			for b.Loop() {
				r, err := Receive(b.Context(), c)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(1e9/r.PerCore(), "ns/record")
				b.ReportMetric(r.PerCore()/1e6, "M/core")
			}
		})
	}
}
