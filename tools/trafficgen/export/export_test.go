package export

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// mixed has both families, floods and a benign background.
func mixed() gen.Scenario {
	return gen.Scenario{Seed: 3, Background: 2000, Length: seconds(4), Streams: []gen.Stream{
		{Kind: "syn", Target: "10.0.0.5", PPS: 3000, Start: seconds(1), Duration: seconds(2)},
		{Kind: "udp", Target: "2001:db8::5", PPS: 3000, Start: seconds(1), Duration: seconds(2)},
	}}
}

// TestSums: what is in the datagrams is the truth, and the truth is the traffic.
func TestSums(t *testing.T) {
	t.Parallel()
	for _, p := range Protocols() {
		for _, n := range []uint32{1, 10} {
			t.Run(string(p)+map[uint32]string{1: " all", 10: " one of ten"}[n], func(t *testing.T) {
				t.Parallel()
				r, res, traffic := play(t, mixed(), Config{Protocol: p, Sampling: n, Seed: 5})
				var sum gen.C
				hosts := map[string]*Host{}
				for _, x := range r.records {
					sum.Packets += x.packets
					sum.Bytes += x.bytes
					hosts[x.dst.String()] = nil
				}
				if sum != res.Exported || uint64(len(r.records)) != res.Records || uint64(len(r.datagrams)) != res.Datagrams || res.Protocol != p {
					t.Errorf("read %+v in %d records, truth %+v in %d", sum, len(r.records), res.Exported, res.Records)
				}
				checkTraffic(t, p, n, res, traffic)
				checkAnnounced(t, p, n, r, res)
				if p != SFlow {
					checkHosts(t, r, res)
				}
			})
		}
	}
}

func checkTraffic(t *testing.T, p Protocol, n uint32, res Result, traffic gen.Result) {
	t.Helper()
	if res.Frames != traffic.Packets {
		t.Errorf("%d frames, %d made", res.Frames, traffic.Packets)
	}
	metered := res.Frames - res.Unexported
	if n == 1 {
		if res.Exported.Packets != metered {
			t.Errorf("%d packets exported of %d", res.Exported.Packets, metered)
		}
		if p == SFlow && res.Exported.Bytes != traffic.Bytes+4*traffic.Packets {
			t.Errorf("%d bytes exported of %d without FCS", res.Exported.Bytes, traffic.Bytes)
		}
	}
	// A run of n gives one packet; sFlow has a run at each of two interfaces.
	if low, high := metered/uint64(n), metered/uint64(n)+2; res.Exported.Packets < low || res.Exported.Packets > high {
		t.Errorf("%d of %d packets exported, want %d to %d", res.Exported.Packets, metered, low, high)
	}
	want := map[Protocol]bool{NetFlow9: true, IPFIX: true}[p]
	for _, h := range []string{"10.0.0.5", "2001:db8::5"} {
		var got, in *gen.C
		for i := range res.Hosts {
			if res.Hosts[i].Addr.String() == h {
				got = &res.Hosts[i].Incoming
			}
		}
		for i := range traffic.Hosts {
			if traffic.Hosts[i].Addr.String() == h {
				in = &traffic.Hosts[i].Incoming.Total
			}
		}
		switch {
		case p == NetFlow5 && h == "2001:db8::5":
			if got != nil {
				t.Error("NetFlow v5 exports IPv6")
			}
		case got == nil || in == nil:
			t.Errorf("%s is not in the truth", h)
		case n == 1 && want && *got != *in:
			t.Errorf("%s: exported %+v, sent %+v", h, *got, *in)
		case math.Abs(float64(got.Packets*uint64(n))/float64(in.Packets)-1) > 0.15:
			t.Errorf("%s: %d packets stand for %d", h, got.Packets*uint64(n), in.Packets)
		}
	}
}

func checkAnnounced(t *testing.T, p Protocol, n uint32, r *reader, res Result) {
	t.Helper()
	for _, rate := range r.rates {
		if rate != n {
			t.Fatalf("rate %d announced, want %d", rate, n)
		}
	}
	switch {
	case p == SFlow:
		return
	case (len(r.rates) == 0) != (n == 1):
		t.Errorf("%d announcements of a rate of %d", len(r.rates), n)
	case p == NetFlow5:
		return
	}
	if res.Templates != 2*uint64(r.announced) || r.announced != (len(r.datagrams)+19)/20 || n > 1 && res.OptionRecords != uint64(r.announced) {
		t.Errorf("announced in %d of %d datagrams, truth %+v", r.announced, len(r.datagrams), res)
	}
}

// checkHosts adds the records up by host, as the truth says it did.
func checkHosts(t *testing.T, r *reader, res Result) {
	t.Helper()
	var in, out, wantIn, wantOut gen.C
	for _, x := range r.records {
		if x.out == Inside {
			in.Packets, in.Bytes = in.Packets+x.packets, in.Bytes+x.bytes
		}
		if x.in == Inside {
			out.Packets, out.Bytes = out.Packets+x.packets, out.Bytes+x.bytes
		}
	}
	for _, h := range res.Hosts {
		wantIn.Packets, wantIn.Bytes = wantIn.Packets+h.Incoming.Packets, wantIn.Bytes+h.Incoming.Bytes
		wantOut.Packets, wantOut.Bytes = wantOut.Packets+h.Outgoing.Packets, wantOut.Bytes+h.Outgoing.Bytes
	}
	if in != wantIn || out != wantOut || in.Packets == 0 || out.Packets == 0 {
		t.Errorf("hosts: in %+v, want %+v; out %+v, want %+v", in, wantIn, out, wantOut)
	}
}

// TestTimeouts: a long flow is reported by parts no longer than the active timeout, a silent one after the inactive timeout.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	s := gen.Scenario{Length: seconds(400), Streams: []gen.Stream{
		{Kind: "udp", Target: "10.0.0.5", PPS: 2, Flows: 1, Duration: seconds(400)},
		{Kind: "udp", Target: "2001:db8::5", PPS: 2, Flows: 1, Start: seconds(10), Duration: seconds(5)},
	}}
	const ms, slack = int64(time.Millisecond), int64(1001 * time.Millisecond) // v9's clock has seconds
	for _, p := range []Protocol{NetFlow5, NetFlow9, IPFIX} {
		r, _, _ := play(t, s, Config{Protocol: p})
		long, short, packets := 0, 0, uint64(0)
		for _, x := range r.records {
			if x.src.Is6() {
				short++
				if wait := x.at - x.last; x.packets != 10 || wait < int64(14*time.Second) || wait > int64(15*time.Second)+int64(300*time.Millisecond)+slack {
					t.Errorf("%s: silent flow of %d packets reported after %v", p, x.packets, time.Duration(wait))
				}
				if p != NetFlow5 && x.reason != endIdle {
					t.Errorf("%s: reason %d", p, x.reason)
				}
				continue
			}
			long++
			packets += x.packets
			if d := x.last - x.first; d > int64(time.Minute) || x.at-x.first > int64(time.Minute)+300*ms+slack {
				t.Errorf("%s: a part of %v, reported after %v", p, time.Duration(d), time.Duration(x.at-x.first))
			}
		}
		if want := map[Protocol]int{NetFlow5: 0}; long < 7 || long > 8 || packets != 800 || short != 1 && p != NetFlow5 || short != want[p] && p == NetFlow5 {
			t.Errorf("%s: %d parts of %d packets, %d silent flows", p, long, packets, short)
		}
	}
}

func TestCacheLimits(t *testing.T) {
	t.Parallel()
	s := gen.Scenario{Length: seconds(1), Streams: []gen.Stream{{Kind: "udp", Target: "2001:db8::5", PPS: 500}}}
	r, res, _ := play(t, s, Config{Protocol: IPFIX, MaxFlows: 10})
	full := 0
	for _, x := range r.records {
		if x.reason == endResources {
			full++
		}
	}
	if full != 490 || res.Exported.Packets != 500 {
		t.Errorf("%d flows made room, %d packets", full, res.Exported.Packets)
	}
	r, _, _ = play(t, gen.Scenario{Length: seconds(1), Streams: []gen.Stream{{Kind: "fin", Target: "10.0.0.5", PPS: 100, Flows: 1}}}, Config{Protocol: NetFlow9})
	if len(r.records) != 100 || r.records[0].reason != endDetected || r.records[0].flags&1 == 0 {
		t.Errorf("%d flows ended by FIN", len(r.records))
	}
}

// TestTemplatesAgain: templates are repeated by time, too.
func TestTemplatesAgain(t *testing.T) {
	t.Parallel()
	s := gen.Scenario{Length: seconds(120), Streams: []gen.Stream{{Kind: "udp", Target: "10.0.0.5", PPS: 1}}}
	r, _, _ := play(t, s, Config{Protocol: NetFlow9, Templates: 1000, Sampling: 2})
	if r.announced < 4 || r.announced > 5 {
		t.Errorf("announced %d times in two minutes", r.announced)
	}
}

func TestCounters(t *testing.T) {
	t.Parallel()
	s := gen.Scenario{Length: seconds(61), Streams: []gen.Stream{{Kind: "udp", Target: "2001:db8::5", PPS: 3}}}
	r, res, _ := play(t, s, Config{Protocol: SFlow})
	if r.counters != 6 || res.CounterSamples != 6 {
		t.Errorf("%d counter samples read, %d in the truth", r.counters, res.CounterSamples)
	}
	if r, _, _ = play(t, s, Config{Protocol: SFlow, Counters: -1}); r.counters != 0 {
		t.Errorf("%d counter samples though they are off", r.counters)
	}
}

func TestSameAgain(t *testing.T) {
	t.Parallel()
	for _, p := range Protocols() {
		a, _, _ := play(t, mixed(), Config{Protocol: p, Sampling: 7, Seed: 1})
		b, _, _ := play(t, mixed(), Config{Protocol: p, Sampling: 7, Seed: 1})
		if len(a.datagrams) != len(b.datagrams) {
			t.Fatalf("%s: %d and %d datagrams", p, len(a.datagrams), len(b.datagrams))
		}
		for i := range a.datagrams {
			if a.datagrams[i].at != b.datagrams[i].at || string(a.datagrams[i].payload) != string(b.datagrams[i].payload) {
				t.Fatalf("%s: datagram %d differs", p, i)
			}
		}
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]Config{
		`"netflow8" is none of netflow5, netflow9, ipfix, sflow`: {Protocol: "netflow8"},
		"14 bits":              {Protocol: NetFlow5, Sampling: 20000},
		"must not be negative": {Protocol: IPFIX, Active: -1},
		"outside 512":          {Protocol: IPFIX, MaxDatagram: 100},
	} {
		if _, err := New(cfg, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", cfg, err, want)
		}
	}
}

func TestSendError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, p := range Protocols() {
		g, err := gen.New(mixed())
		if err != nil {
			t.Fatal(err)
		}
		e, err := New(Config{Protocol: p}, func(int64, []byte) error { return broken })
		if err != nil {
			t.Fatal(err)
		}
		var f gen.Frame
		for err == nil && g.Next(&f) {
			err = e.Add(&f)
		}
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), string(p)) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestSampler(t *testing.T) {
	t.Parallel()
	s := newSampler(7, 1, 2)
	places := map[int]int{}
	for run := range 7000 {
		taken := 0
		for i := range 7 {
			if s.next() {
				taken++
				places[i]++
			}
		}
		if taken != 1 {
			t.Fatalf("run %d: %d taken", run, taken)
		}
	}
	for i := range 7 {
		if places[i] < 850 || places[i] > 1150 {
			t.Errorf("place %d: taken %d times of 7000", i, places[i])
		}
	}
}
