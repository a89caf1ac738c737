package collector

import (
	"net/netip"
	"testing"

	"github.com/weir-ddos/weir/dataplane/traffic"
)

// metered is a record of a template with direction and interfaces: v6 says which family.
func metered(v6 bool, direction byte, input, output uint32) []byte {
	src, dst := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.0.0.1")
	if v6 {
		src, dst = netip.MustParseAddr("2001:db9::1"), netip.MustParseAddr("2001:db8::1")
	}
	b := append(append(src.AsSlice(), dst.AsSlice()...), 17, direction)
	return words(b, 1, 100, input, output)
}

// meteredTemplate describes it; with withDirection unset IE 61 is one that nobody reads.
func meteredTemplate(v6, withDirection bool) []byte {
	src, dst, size, direction := uint16(8), uint16(12), uint16(4), uint16(61)
	if v6 {
		src, dst, size = 27, 28, 16
	}
	if !withDirection {
		direction = 95
	}
	b := []byte{}
	for _, f := range []uint16{300, 8, src, size, dst, size, 4, 1, direction, 1, 2, 4, 1, 4, 10, 4, 14, 4} {
		b = be.AppendUint16(b, f)
	}
	return v9set(v9header(0), 0, b)
}

// One packet crosses two routers, each of which exports it where it comes in and where it goes out. What counts is chosen per exporter, so
// that it counts once.
func TestOnePacketCountsOnce(t *testing.T) {
	t.Parallel()
	const in, out = 0, 1
	for _, c := range []struct {
		name          string
		border, core  Exporter
		withDirection bool
		want          uint64
	}{
		{"nothing is said: four records", Exporter{}, Exporter{}, true, 4},
		{"both at ingress: each router once", Exporter{Count: "ingress"}, Exporter{Count: "ingress"}, true, 2},
		{"one router only", Exporter{Count: "ingress"}, Exporter{Count: "none"}, true, 1},
		{"where it leaves", Exporter{Count: "none"}, Exporter{Count: "egress"}, true, 1},
		{"at the interfaces to the world", Exporter{Count: "interfaces", Interfaces: []uint32{1}}, Exporter{Count: "interfaces", Interfaces: []uint32{99}}, true, 1},
		{"at both interfaces of one router", Exporter{Count: "interfaces", Interfaces: []uint32{1, 2}}, Exporter{Count: "none"}, true, 2},
		{"no direction is exported: the interface decides", Exporter{Count: "interfaces", Interfaces: []uint32{1}}, Exporter{Count: "none"}, false, 2},
		{"no direction is exported: ingress cannot tell", Exporter{Count: "ingress"}, Exporter{Count: "none"}, false, 2},
	} {
		for _, v6 := range []bool{false, true} {
			border, core, host := "192.0.2.251", "192.0.2.252", "10.0.0.1"
			if v6 {
				border, core, host = "2001:db8::251", "2001:db8::252", "2001:db8::1"
			}
			cfg := loopback(t, "127.0.0.1", 1)
			cfg.DefaultSamplingRate = 10
			for at, e := range map[string]Exporter{border: c.border, core: c.core} {
				a := netip.MustParseAddr(at)
				e.Prefix = netip.PrefixFrom(a, a.BitLen())
				cfg.Exporters = append(cfg.Exporters, e)
			}
			col := newOffline(t, cfg)
			for _, r := range []struct {
				at            string
				input, output uint32
			}{{border, 1, 2}, {core, 3, 4}} {
				col.send(r.at, meteredTemplate(v6, c.withDirection), v9set(v9header(1), 300, metered(v6, in, r.input, r.output)),
					v9set(v9header(2), 300, metered(v6, out, r.input, r.output)))
			}
			s := col.Stats()
			at, ok := col.w.half.Table().Find(new(addr16(host)), traffic.Incoming)
			var row traffic.Host
			if ok {
				col.w.half.Table().Read(at, &row)
			}
			if got := row.Cells[traffic.ClassUDP]; got != (traffic.Counter{Packets: 10 * c.want, Bytes: 1000 * c.want}) || s.Skipped != 4-c.want || s.Counted != got {
				t.Errorf("%s (%s): %+v, counted %+v, %d skipped", c.name, host, got, s.Counted, s.Skipped)
			}
		}
	}
}

// What a record counts where its counters are no plain ones: totals repeat what was counted before, and who meters at egress only has
// nothing in its counters of ingress.
func TestCountersOfAnotherKind(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		src, dst, elements, size := "192.0.2.1", "10.0.0.1", []uint16{8, 12}, uint16(4)
		if v6 {
			src, dst, elements, size = "2001:db9::1", "2001:db8::1", []uint16{27, 28}, 16
		}
		ends := append(netip.MustParseAddr(src).AsSlice(), netip.MustParseAddr(dst).AsSlice()...)
		template := func(fields ...uint16) []byte {
			b := []byte{}
			for _, f := range append([]uint16{300, uint16(2 + len(fields)/2), elements[0], size, elements[1], size}, fields...) {
				b = be.AppendUint16(b, f)
			}
			return v9set(v9header(0), 0, b)
		}
		one := func(values ...uint32) []byte {
			return v9set(v9header(1), 300, words(ends[:len(ends):len(ends)], values...))
		}
		for _, c := range []struct {
			name string
			in   [][]byte
			want traffic.Counter
		}{
			{"totals", [][]byte{template(86, 4, 85, 4, 22, 4), one(10, 1000, 77), one(25, 2500, 77), one(25, 2500, 77), one(30, 3000, 77)}, traffic.Counter{Packets: 30, Bytes: 3000}},
			{"totals of two flows", [][]byte{template(86, 4, 85, 4, 22, 4), one(10, 1000, 77), one(5, 500, 99)}, traffic.Counter{Packets: 15, Bytes: 1500}},
			{"at egress only", [][]byte{template(2, 4, 1, 4, 24, 4, 23, 4), one(0, 0, 7, 700), one(1, 100, 1, 90)}, traffic.Counter{Packets: 8, Bytes: 800}},
		} {
			cfg := loopback(t, "127.0.0.1", 1)
			cfg.Spread = "off"
			col := newOffline(t, cfg)
			col.send("192.0.2.251", c.in...)
			if s := col.Stats(); s.Counted != c.want || col.w.half.Records != c.want {
				t.Errorf("%s, %s: counted %+v, in the shard %+v, want %+v", c.name, dst, s.Counted, col.w.half.Records, c.want)
			}
		}
	}
}
