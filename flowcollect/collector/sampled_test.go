package collector

import (
	"net/netip"
	"testing"
	"time"
)

// words appends 32-bit words.
func words(b []byte, list ...uint32) []byte {
	for _, w := range list {
		b = be.AppendUint32(b, w)
	}
	return b
}

// sflow5 builds a datagram of version 5 from samples, which begin with their format and length.
func sflow5(sequence, uptime uint32, samples ...[]byte) []byte {
	b := words(nil, 5, 1, 0xc0000263, 0, sequence, uptime, uint32(len(samples)))
	for _, s := range samples {
		b = append(b, s...)
	}
	return b
}

func item(format uint32, body []byte) []byte {
	return append(words(nil, format, uint32(len(body))), body...)
}

// flowSample is one packet of UDP from 192.0.2.1 to 10.0.0.1, or in IPv6, as sampled_ipv4 or sampled_ipv6.
func flowSample(sequence, source, rate, pool, drops uint32, v6 bool) []byte {
	packet := item(3, words(nil, 100, 17, 0xc0000201, 0x0a000001, 1234, 53, 0, 0))
	if v6 {
		src, dst := addr16("2001:db9::1"), addr16("2001:db8::1")
		packet = item(4, append(append(append(words(nil, 100, 17), src[:]...), dst[:]...), words(nil, 1234, 53, 0, 0)...))
	}
	return item(1, append(words(nil, sequence, source, rate, pool, drops, source, 99, 1), packet...))
}

// counterSample is a generic interface block.
func counterSample(sequence, index uint32, octets uint64, unicast, discards uint32) []byte {
	block := words(nil, index, 6, 2, 0x540be400, 1, 3, uint32(octets>>32), uint32(octets), unicast, 1, 1<<32-1, discards, 0, 0,
		0, 1000, 10, 0, 0, 0, 5, 0)
	return item(2, append(words(nil, sequence, index, 1), item(1, block)...))
}

// What a sample stands for: its own rate, the configured one, or nothing, in the order of precedence.
func TestSFlowRates(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"127.0.0.1", "::1"} {
		for _, c := range []struct {
			name     string
			exporter Exporter
			standard uint32
			rate     uint32
			packets  uint64
			from     string
			unknown  uint64
		}{
			{"the agent's", Exporter{}, 7, 512, 512, "record", 0},
			{"override", Exporter{Sampling: "override", SamplingRate: 100}, 7, 512, 100, "override", 0},
			{"counts are multiplied already", Exporter{Sampling: "ignore"}, 7, 512, 1, "prescaled", 0},
			{"the agent's before the exporter's default", Exporter{SamplingRate: 100}, 7, 512, 512, "record", 0},
			{"the exporter's default", Exporter{SamplingRate: 100}, 7, 0, 100, "configured", 1},
			{"the default of all", Exporter{}, 7, 0, 7, "configured", 1},
			{"nobody knows", Exporter{}, 0, 0, 1, "unknown", 1},
		} {
			cfg := loopback(t, at, 1)
			cfg.DefaultSamplingRate = c.standard
			if c.exporter.Sampling != "" || c.exporter.SamplingRate != 0 {
				c.exporter.Prefix = netip.PrefixFrom(netip.MustParseAddr(at), netip.MustParseAddr(at).BitLen())
				cfg.Exporters = []Exporter{c.exporter}
			}
			r := run(t, cfg, deps(t))
			r.send(sflow5(1, 1000, flowSample(1, 3, c.rate, 512, 0, at == "::1")))
			s := r.wait(1)
			if s.Counted.Packets != c.packets {
				t.Errorf("%s, %s: %d packets, want %d", at, c.name, s.Counted.Packets, c.packets)
			}
			if e := r.Exporters()[0]; e.SamplingFrom != c.from || len(e.Sources) != 1 || e.Sources[0].Announced != c.rate {
				t.Errorf("%s, %s: %+v", at, c.name, e)
			}
		}
	}
}

// The agent says 1:512 and counts 700 packets a sample, since it drops some: both are shown.
func TestEffectiveRate(t *testing.T) {
	t.Parallel()
	r := run(t, loopback(t, "127.0.0.1", 2), deps(t))
	n := uint64(0)
	for i := range uint32(400) {
		var samples [][]byte
		for j := range uint32(7) {
			k := 7*i + j
			samples = append(samples, flowSample(k, 3, 512, k*700, k/4, j%2 == 0))
		}
		samples = append(samples, flowSample(i, 4, 512, 0, 0, false)) // counts no packets
		r.send(sflow5(i, 10*i, samples...))
		n++
		if i%20 == 0 {
			r.wait(n)
		}
	}
	r.wait(n)
	e := r.Exporters()[0]
	if len(e.Sources) != 2 || e.EffectiveRate != 700 || !e.RateOff || e.SamplingRate != 512 || e.SamplingFrom != "record" {
		t.Fatalf("%+v", e)
	}
	if x := e.Sources[0]; x.Index != 3 || x.Announced != 512 || x.Effective != 700 || x.Taken < 1000 || x.Dropped < x.Taken/5 {
		t.Errorf("%+v", x)
	}
	if x := e.Sources[1]; x.Index != 4 || x.Effective != 0 {
		t.Errorf("%+v", x)
	}
}

func TestInterfaceCounters(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"127.0.0.1", "::1"} {
		cfg := loopback(t, at, 1)
		cfg.Exporters = []Exporter{{Prefix: netip.PrefixFrom(netip.MustParseAddr(at), netip.MustParseAddr(at).BitLen()), Name: "edge"}}
		r := run(t, cfg, deps(t))
		r.send(sflow5(1, 1000, counterSample(1, 7, 1000, 1<<32-11, 3)))
		r.send(sflow5(2, 21_000, counterSample(2, 7, 1000+25_000_000, 9, 5)))
		r.send(sflow5(3, 22_000, counterSample(2, 7, 1, 1, 1))) // the same sample again
		r.wait(3)
		list := r.Interfaces()
		if len(list) != 1 {
			t.Fatalf("%s: %+v", at, list)
		}
		x := list[0]
		if x.Exporter != netip.MustParseAddr(at) || x.Agent != netip.MustParseAddr("192.0.2.99") || x.Name != "edge" || x.Index != 7 || x.Speed != 10e9 || !x.AdminUp || !x.OperUp {
			t.Errorf("%s: %+v", at, x)
		}
		if x.Interval != 20*time.Second || x.In.BitsPerSecond != 10e6 || x.In.PacketsPerSecond != 1 || x.In.DiscardsPerSecond != 0.1 || x.In.Bytes != 25_001_000 || x.Out.Bytes != 1000 {
			t.Errorf("%s: %+v", at, x)
		}
		r.send(sflow5(4, 3000, counterSample(1, 7, 500, 2, 0))) // the agent began anew
		r.wait(4)
		if x := r.Interfaces()[0]; x.Interval != 0 || x.In.BitsPerSecond != 0 || x.In.Bytes != 500 {
			t.Errorf("%s: after a restart: %+v", at, x)
		}
	}
}

// Interfaces are bounded: a sender that nobody knows has room for few.
func TestInterfacesAreBounded(t *testing.T) {
	t.Parallel()
	r := run(t, loopback(t, "127.0.0.1", 1), deps(t))
	for i := range uint32(100) {
		r.send(sflow5(i, 1000, counterSample(1, i, 1, 1, 1)))
	}
	r.wait(100)
	if n := len(r.Interfaces()); n != maxForeignInterfaces || r.Exporters()[0].Interfaces != n {
		t.Errorf("%d interfaces", n)
	}
}
