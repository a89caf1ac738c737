package dataset_test

import (
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/packetbuild"
	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/sampling"
	"github.com/weir-ddos/weir/flowcollect/template"
)

const (
	a4, b4 = "198.51.100.1", "203.0.113.9"
	a6, b6 = "2001:db8::1", "2001:db8:1::9"
)

var v4tpl = tpl(300, v4fields...)

// TestFraming is the list of FLOWS.md 3.4 and 6 "framing" by cause: what is there is read, what lies is counted.
func TestFraming(t *testing.T) {
	t.Parallel()
	f := flow(a4, b4, 100, 2)
	for _, c := range []struct {
		name    string
		in      [][]byte
		records int
		bytes   uint64
		codes   map[record.Code]uint64
	}{
		{"v9 count of templates only", [][]byte{msg9(0, set(0, v4tpl), set(300, f, f))}, 2, 200, map[record.Code]uint64{record.CountLies: 1, record.OK: 1}},
		{"two v9 datagrams glued", [][]byte{cat(msg9(0, set(0, v4tpl), set(300, f)), msg9(0, set(300, f)))}, 1, 100, map[record.Code]uint64{record.SetTooShort: 1}},
		{"v9 zero filled tail", [][]byte{cat(msg9(0, set(0, v4tpl), set(300, f)), make([]byte, 400))}, 1, 100, map[record.Code]uint64{record.ZeroFill: 1}},
		{"set length below 4 ends the datagram", [][]byte{cat(msg10(0, set(2, v4tpl), set(300, f), []byte{1, 44, 0, 3}, set(300, f)))}, 1, 100, map[record.Code]uint64{record.SetTooShort: 1}},
		{"set longer than the datagram", [][]byte{msg9(0, set(0, v4tpl), cat(u16(300), u16(500), f))}, 1, 100, map[record.Code]uint64{record.SetTruncated: 1}},
		{"reserved sets", [][]byte{msg10(0, set(2, v4tpl), set(4, f), set(255, f), set(300, f))}, 1, 100, map[record.Code]uint64{record.ReservedSet: 2}},
		{"padding of 7 bytes", [][]byte{msg9(0, set(0, v4tpl), set(300, f, make([]byte, 7)))}, 1, 100, nil},
		{"padding of 21 bytes that are not zero", [][]byte{msg9(0, set(0, v4tpl), set(300, f, f[:21]))}, 1, 100, nil},
		{"IPFIX message shorter than its datagram", [][]byte{cat(msg10(0, set(2, v4tpl), set(300, f)), set(300, f))}, 1, 100, map[record.Code]uint64{record.LengthLies: 1}},
		{"IPFIX message longer than its datagram", [][]byte{cut(msg10(0, set(2, v4tpl), set(300, f, f)), 10)}, 1, 100, map[record.Code]uint64{record.LengthLies: 1, record.SetTruncated: 1}},
		{"IPFIX length below the header", [][]byte{cat(u16(10), u16(3), make([]byte, 12), set(2, v4tpl))}, 0, 0, map[record.Code]uint64{record.LengthLies: 1}},
		{"template truncated", [][]byte{msg10(0, set(2, v4tpl[:30])), msg10(0, set(300, f))}, 0, 0, map[record.Code]uint64{record.TemplateTruncated: 1, record.UnknownTemplate: 1}},
		{"template of more fields than bytes", [][]byte{msg10(0, set(2, u16(300), u16(60000), u16(8), u16(4)))}, 0, 0, map[record.Code]uint64{record.TemplateTruncated: 1}},
		{"template id below 256", [][]byte{msg9(0, set(0, tpl(255, v4fields...)))}, 0, 0, map[record.Code]uint64{record.TemplateBadID: 1}},
		{"template of no width", [][]byte{msg9(0, set(0, tpl(300, el{8, 0, 0}, el{12, 0, 0}))), msg9(0, set(300, f))}, 0, 0, map[record.Code]uint64{record.TemplateZeroWidth: 1, record.UnknownTemplate: 1}},
		{"v9 template of no fields", [][]byte{msg9(0, set(0, tpl(300))), msg9(0, set(300, f))}, 0, 0, map[record.Code]uint64{record.TemplateZeroWidth: 1, record.UnknownTemplate: 1}},
		{"a bad template leaves the good one behind it", [][]byte{msg10(0, set(2, tpl(20, v4fields...), v4tpl), set(300, f))}, 1, 100, map[record.Code]uint64{record.TemplateBadID: 1}},
		{"options template without scope", [][]byte{msg10(0, set(3, opt10(400, 0, el{34, 4, 0})))}, 0, 0, map[record.Code]uint64{record.TemplateBadScope: 1}},
		{"v9 short header", [][]byte{msg9(0)[:19]}, 0, 0, map[record.Code]uint64{record.ShortDatagram: 1}},
		{"IPFIX short header", [][]byte{msg10(0)[:15]}, 0, 0, map[record.Code]uint64{record.ShortDatagram: 1}},
		{"bytes behind the last set", [][]byte{cat(msg9(0, set(0, v4tpl), set(300, f)), []byte{0, 0})}, 1, 100, map[record.Code]uint64{record.TrailingBytes: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			col := fresh(t)
			col.send(c.in...)
			if len(col.list) != c.records || col.bytes != c.bytes {
				t.Errorf("got %d records, %d bytes, want %d, %d (%s)", len(col.list), col.bytes, c.records, c.bytes, codes(&col.stats))
			}
			if c.codes == nil {
				c.codes = map[record.Code]uint64{record.CountLies: col.stats.Codes[record.CountLies]}
			}
			if _, ok := c.codes[record.CountLies]; !ok {
				c.codes[record.CountLies] = col.stats.Codes[record.CountLies]
			}
			c.codes[record.HeldDropped] = 0
			col.wantCodes(t, c.codes)
			if col.stats.Datagrams != uint64(len(c.in)) {
				t.Errorf("%d datagrams were counted", col.stats.Datagrams)
			}
		})
	}
}

// cut takes n bytes off the end.
func cut(b []byte, n int) []byte { return b[:len(b)-n] }

// Fields of variable length, in IPFIX and in H3C's NetFlow v9 alike: between wanted fields, in the long form, and padded sets.
func TestVariableLength(t *testing.T) {
	t.Parallel()
	fields := []el{{8, 4, 0}, {82, 65535, 0}, {12, 4, 0}, {83, 65535, 0}, {1, 4, 0}, {2, 65535, 0}}
	f := func(name, desc, packets []byte) []byte { return cat(ip(a4), name, ip(b4), desc, u32(100), packets) }
	short := f([]byte("\x05hello"), []byte{0}, []byte{1, 9})
	long := f(cat([]byte{255}, u16(300), make([]byte, 300)), []byte("\xff\x00\x01x"), []byte{2, 1, 0})
	for name, msg := range map[string]func(uint32, ...[]byte) []byte{"ipfix": msg10, "netflow9": msg9} {
		tset := 2
		if name == "netflow9" {
			tset = 0
		}
		c := fresh(t)
		c.send(msg(0, set(tset, tpl(300, fields...)), set(300, short, long, short, []byte{0, 0, 0})))
		c.want(t, 3, 300, 9+256+9)
		if r := c.list[1]; addr(r.Src) != a4 || addr(r.Dst) != b4 {
			t.Errorf("%s: %v to %v", name, addr(r.Src), addr(r.Dst))
		}
		c = fresh(t)
		if code := c.send(msg(0, set(tset, tpl(300, fields...)), set(300, short, cut(long, 5)))); code != record.TruncatedRecord {
			t.Errorf("%s: truncated: %v", name, code)
		}
		c.want(t, 1, 100, 9)
	}
}

// IPFIX enterprise fields are read over, whatever their number; the same number without the enterprise is read.
func TestEnterpriseFields(t *testing.T) {
	t.Parallel()
	c := fresh(t)
	c.send(msg10(0, set(2, tpl(300, el{1, 8, 9}, el{8, 4, 35632}, el{8, 4, 0}, el{12, 4, 0}, el{500, 65535, 6871}, el{1, 4, 0}, el{2, 4, 0})),
		set(300, u64(1<<40), u32(1), ip(a4), ip(b4), []byte("\x02ab"), u32(100), u32(3))))
	c.want(t, 1, 100, 3)
	if addr(c.list[0].Src) != a4 {
		t.Errorf("src %v", addr(c.list[0].Src))
	}
}

// Reduced sizes of 1 to 8 bytes, and a field that is there twice: the first counts.
func TestWidths(t *testing.T) {
	t.Parallel()
	for width := 1; width <= 8; width++ {
		c := fresh(t)
		val := u64(0x1122334455667788)[8-width:]
		c.send(msg9(0, set(0, tpl(300, el{1, width, 0}, el{1, 4, 0}, el{2, 1, 0}, el{10, 2, 0}, el{6, 2, 0}, el{27, 16, 0}, el{28, 16, 0})),
			set(300, val, u32(7), []byte{3}, u16(9), u16(0x0102), ip(a6), ip(b6))))
		want := uint64(0x1122334455667788) & (1<<(8*width) - 1)
		if width == 8 {
			want = 0x1122334455667788
		}
		c.want(t, 1, want, 3)
		if r := c.list[0]; r.Input != 9 || r.TCPFlags != 2 || addr(r.Src) != a6 || addr(r.Dst) != b6 {
			t.Errorf("width %d: %+v", width, r)
		}
	}
	c := fresh(t) // what cannot be read is read over
	c.send(msg9(0, set(0, tpl(300, el{1, 9, 0}, el{8, 3, 0}, el{27, 15, 0}, el{2, 0, 0}, el{4, 1, 0})), set(300, make([]byte, 27), []byte{17})))
	if r := c.list[0]; r.Proto != 17 || r.Has != record.HasProto {
		t.Errorf("unreadable widths: %+v", r)
	}
}

// TestCounters is the "counters" row of FLOWS.md 6.
func TestCounters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		fields         []el
		data           []byte
		bytes, packets uint64 // of Counts
		check          func(r *record.Record) bool
	}{
		{"delta beats total, wherever it stands", []el{{85, 8, 0}, {86, 8, 0}, {1, 4, 0}, {2, 4, 0}}, cat(u64(9000), u64(90), u32(100), u32(1)), 100, 1, func(r *record.Record) bool { return !r.Totals }},
		{"a delta of zero beats the total: nothing is new", []el{{85, 8, 0}, {86, 8, 0}, {1, 4, 0}, {2, 4, 0}}, cat(u64(65), u64(1), u32(0), u32(0)), 0, 0, nil},
		{"only totals", []el{{85, 8, 0}, {86, 8, 0}}, cat(u64(9000), u64(90)), 9000, 90, func(r *record.Record) bool { return r.Totals }},
		{"only a total of bytes", []el{{85, 8, 0}}, u64(9000), 9000, 0, func(r *record.Record) bool { return r.Totals }},
		{"a zero OUT does not overwrite IN", []el{{1, 4, 0}, {2, 4, 0}, {23, 4, 0}, {24, 4, 0}}, cat(u32(152), u32(2), u32(0), u32(0)), 152, 2, nil},
		{"OUT only, metered at egress", []el{{2, 4, 0}, {1, 4, 0}, {24, 4, 0}, {23, 4, 0}}, cat(u32(0), u32(0), u32(1), u32(32)), 32, 1, func(r *record.Record) bool { return r.Bytes == 0 && r.PostBytes == 32 }},
		{"OUT is all there is", []el{{23, 4, 0}, {24, 4, 0}}, cat(u32(32), u32(1)), 32, 1, func(r *record.Record) bool { return r.Bytes == 32 }},
		{"IN and OUT are not added", []el{{1, 4, 0}, {2, 4, 0}, {23, 4, 0}, {24, 4, 0}}, cat(u32(100), u32(2), u32(90), u32(2)), 100, 2, nil},
		{"layer 2 besides", []el{{1, 4, 0}, {2, 4, 0}, {352, 8, 0}}, cat(u32(100), u32(1), u64(118)), 100, 1, func(r *record.Record) bool { return r.L2Bytes == 118 }},
		{"layer 2 is all there is", []el{{352, 8, 0}, {2, 4, 0}}, cat(u64(118), u32(1)), 118, 1, func(r *record.Record) bool { return r.L2Bytes == 118 }},
		{"multicast copies are no traffic", []el{{1, 4, 0}, {2, 4, 0}, {20, 4, 0}, {19, 4, 0}}, cat(u32(100), u32(1), u32(9999), u32(99)), 100, 1, nil},
		{
			"dropped counters are apart",
			[]el{{1, 4, 0}, {2, 4, 0}, {132, 8, 0}, {133, 8, 0}},
			cat(u32(100), u32(1), u64(500), u64(5)), 100, 1,
			func(r *record.Record) bool { return r.DroppedBytes == 500 && r.DroppedPackets == 5 && !r.Dropped },
		},
		{
			"dropped totals",
			[]el{{2, 4, 0}, {1, 4, 0}, {134, 8, 0}, {135, 4, 0}},
			cat(u32(1), u32(100), u64(500), u32(5)), 100, 1,
			func(r *record.Record) bool { return r.DroppedBytes == 500 && r.DroppedPackets == 5 },
		},
		{"forwarding status: dropped by an ACL", []el{{1, 4, 0}, {2, 4, 0}, {89, 1, 0}}, cat(u32(100), u32(1), []byte{0x81}), 100, 1, func(r *record.Record) bool { return r.Dropped && r.ForwardingStatus == 0x81 }},
		{"forwarding status of 4 bytes: forwarded", []el{{1, 4, 0}, {2, 4, 0}, {89, 4, 0}}, cat(u32(100), u32(1), u32(0x40)), 100, 1, func(r *record.Record) bool { return !r.Dropped && r.ForwardingStatus == 0x40 }},
		{"forwarding status: consumed is not dropped", []el{{1, 4, 0}, {2, 4, 0}, {89, 1, 0}}, cat(u32(100), u32(1), []byte{0xc0}), 100, 1, func(r *record.Record) bool { return !r.Dropped }},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, fields []el, src, dst string) {
				for name, msg := range map[string]func(uint32, ...[]byte) []byte{"ipfix": msg10, "netflow9": msg9} {
					tset := map[string]int{"ipfix": 2, "netflow9": 0}[name]
					col := fresh(t)
					col.send(msg(0, set(tset, tpl(300, append(fields[:2:2], c.fields...)...)), set(300, ip(src), ip(dst), c.data)))
					if len(col.list) != 1 {
						t.Fatalf("%s: %d records (%s)", name, len(col.list), codes(&col.stats))
					}
					r := &col.list[0]
					if p, b := r.Counts(); b != c.bytes || p != c.packets {
						t.Errorf("%s: got %d bytes, %d packets, want %d, %d", name, b, p, c.bytes, c.packets)
					}
					if c.check != nil && !c.check(r) {
						t.Errorf("%s: got %+v", name, *r)
					}
				}
			})
		})
	}
}

// Juniper's exception code is the value of 2 bytes whose upper 6 bits are 2.
func TestJuniperDropCode(t *testing.T) {
	t.Parallel()
	for value, dropped := range map[int]bool{0x0821: true, 0x0800: false, 0x0c21: false} {
		c := fresh(t)
		c.send(msg10(0, set(2, tpl(300, el{137, 4, 2636}, el{137, 2, 2636}, el{137, 4, 2636}, el{8, 4, 0}, el{12, 4, 0}, el{1, 4, 0})),
			set(300, u32(0x08ffffff), u16(value), u32(7), ip(a4), ip(b4), u32(100))))
		if r := c.list[0]; r.Dropped != dropped || r.Bytes != 100 {
			t.Errorf("%#x: dropped %v", value, r.Dropped)
		}
	}
}

// Two directions in one record: RFC 5103, and initiator and responder of ASA.
func TestBiflow(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, fields []el, src, dst string) {
		head := append(fields[:2:2], el{7, 2, 0}, el{11, 2, 0}, el{4, 1, 0}, el{10, 4, 0}, el{14, 4, 0})
		flow := func(rest ...[]byte) []byte {
			return cat(ip(src), ip(dst), u16(1000), u16(80), []byte{6}, u32(3), u32(7), cat(rest...))
		}
		for _, c := range []struct {
			name  string
			extra []el
			data  []byte
			recs  int
			flags uint8
		}{
			{"RFC 5103", []el{{1, 8, 0}, {2, 8, 0}, {6, 1, 0}, {1, 8, 29305}, {2, 8, 29305}, {6, 1, 29305}}, cat(u64(100), u64(1), []byte{2}, u64(5000), u64(4), []byte{0x12}), 2, 0x12},
			{"RFC 5103 totals", []el{{85, 8, 29305}, {86, 8, 29305}, {85, 8, 0}, {86, 8, 0}}, cat(u64(5000), u64(4), u64(100), u64(1)), 2, 0},
			{"RFC 5103, nothing came back", []el{{1, 8, 0}, {2, 8, 0}, {1, 8, 29305}, {2, 8, 29305}}, cat(u64(100), u64(1), u64(0), u64(0)), 1, 0},
			{"ASA", []el{{231, 4, 0}, {232, 4, 0}, {298, 4, 0}, {299, 4, 0}}, cat(u32(100), u32(5000), u32(1), u32(4)), 2, 0},
			{"responder counters besides own ones are no second direction", []el{{1, 4, 0}, {2, 4, 0}, {232, 4, 0}, {299, 4, 0}}, cat(u32(100), u32(1), u32(5000), u32(4)), 1, 0},
		} {
			t.Run(c.name, func(t *testing.T) {
				col := fresh(t)
				col.send(msg10(0, set(2, tpl(300, append(head[:len(head):len(head)], c.extra...)...)), set(300, flow(c.data))))
				if len(col.list) != c.recs || col.stats.Records != 1 {
					t.Fatalf("%d records, %d counted (%s)", len(col.list), col.stats.Records, codes(&col.stats))
				}
				if r := col.list[0]; r.Bytes != 100 || r.Packets != 1 || addr(r.Src) != src || r.Kind != record.Data {
					t.Errorf("forward: %+v", r)
				}
				if c.recs == 1 {
					return
				}
				if r := col.list[1]; r.Bytes != 5000 || r.Packets != 4 || addr(r.Src) != dst || addr(r.Dst) != src || r.SrcPort != 80 || r.DstPort != 1000 ||
					r.Input != 7 || r.Output != 3 || r.TCPFlags != c.flags || r.Kind != record.BiflowReverse || r.Proto != 6 {
					t.Errorf("reverse: %+v", r)
				}
			})
		}
	})
}

// TestTimes is the "time" row of FLOWS.md 6 and section 1.3: each clock gives the same ten seconds that ended a second before the export.
func TestTimes(t *testing.T) {
	t.Parallel()
	end := int64(exported-1) * second
	start := end - 10*second
	ntp := func(ns int64) []byte { return cat(u32(uint32(ns/second)+2208988800), u32(0)) }
	init := int64(exported)*second - int64(uptime)*1e6
	for _, c := range []struct {
		name       string
		v9         bool
		fields     []el
		data       []byte
		from       record.TimeSource
		start, end int64
		dur        int64 // -1: unknown
	}{
		{"21, 22 of v9", true, []el{{22, 4, 0}, {21, 4, 0}}, cat(u32(uptime-11000), u32(uptime-1000)), record.TimeUptime, start, end, 10 * second},
		{"21, 22 of IPFIX with 160 in the record", false, []el{{22, 4, 0}, {21, 4, 0}, {160, 8, 0}}, cat(u32(uptime-11000), u32(uptime-1000), u64(uint64(init/1e6))), record.TimeInit, start, end, 10 * second},
		{"21, 22 of IPFIX without a base", false, []el{{22, 4, 0}, {21, 4, 0}}, cat(u32(uptime-11000), u32(uptime-1000)), record.TimeDuration, 0, 0, 10 * second},
		{"150, 151", false, []el{{150, 4, 0}, {151, 4, 0}}, cat(u32(uint32(start/second)), u32(uint32(end/second))), record.TimeAbsolute, start, end, 10 * second},
		{"152, 153", false, []el{{152, 8, 0}, {153, 8, 0}}, cat(u64(uint64(start/1e6)), u64(uint64(end/1e6))), record.TimeAbsolute, start, end, 10 * second},
		{"152, 153 in v9", true, []el{{152, 8, 0}, {153, 8, 0}}, cat(u64(uint64(start/1e6)), u64(uint64(end/1e6))), record.TimeAbsolute, start, end, 10 * second},
		{"154, 155", false, []el{{154, 8, 0}, {155, 8, 0}}, cat(ntp(start), ntp(end)), record.TimeAbsolute, start, end, 10 * second},
		{"156, 157", false, []el{{157, 8, 0}, {156, 8, 0}}, cat(ntp(end), ntp(start)), record.TimeAbsolute, start, end, 10 * second},
		{"158, 159", false, []el{{158, 4, 0}, {159, 4, 0}}, cat(u32(11e6), u32(1e6)), record.TimeDelta, start, end, 10 * second},
		{"21, 22 and 152, 153", true, []el{{22, 4, 0}, {21, 4, 0}, {152, 8, 0}, {153, 8, 0}}, cat(u32(5), u32(6), u64(uint64(start/1e6)), u64(uint64(end/1e6))), record.TimeAbsolute, start, end, 10 * second},
		{"161 alone", false, []el{{161, 4, 0}}, u32(10000), record.TimeDuration, 0, 0, 10 * second},
		{"162 alone", false, []el{{162, 4, 0}}, u32(10e6), record.TimeDuration, 0, 0, 10 * second},
		{"152 alone", false, []el{{152, 8, 0}}, u64(uint64(start / 1e6)), record.TimeAbsolute, start, 0, -1},
		{"153 alone", false, []el{{153, 8, 0}}, u64(uint64(end / 1e6)), record.TimeAbsolute, 0, end, -1},
		{"324, a packet's time", false, []el{{324, 8, 0}}, ntp(end), record.TimeAbsolute, end, end, 0},
		{"none", false, []el{{5, 1, 0}}, []byte{0}, record.TimeUnknown, 0, 0, -1},
		{"absurd milliseconds", false, []el{{152, 8, 0}, {153, 8, 0}}, cat(u64(1<<63), u64(1<<63+5)), record.TimeUnknown, 0, 0, -1},
		{"backwards", false, []el{{152, 8, 0}, {153, 8, 0}}, cat(u64(uint64(end/1e6)), u64(uint64(start/1e6))), record.TimeAbsolute, end, start, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			col := fresh(t)
			msg, tset := msg10, 2
			if c.v9 {
				msg, tset = msg9, 0
			}
			col.send(msg(0, set(tset, tpl(300, append(v6fields[:2:2], c.fields...)...)), set(300, ip(a6), ip(b6), c.data)))
			r := col.list[0]
			dur := int64(-1)
			if r.Has&record.HasDuration != 0 {
				dur = r.Duration
			}
			if r.TimeFrom != c.from || r.Start != c.start || r.End != c.end || dur != c.dur {
				t.Errorf("got %v: %d to %d, %d ns; want %v: %d to %d, %d", r.TimeFrom, r.Start, r.End, dur, c.from, c.start, c.end, c.dur)
			}
			if c.dur < 0 && c.start > c.end && c.end != 0 && col.stats.Codes[record.TimeBackwards] != 1 {
				t.Errorf("not counted: %s", codes(&col.stats))
			}
		})
	}
}

// 160 may be in options data only (softflowd), and then serves the records of the domain.
func TestSystemInitInOptions(t *testing.T) {
	t.Parallel()
	c := fresh(t)
	init := int64(exported)*second - int64(uptime)*1e6
	c.send(msg10(5, set(3, opt10(256, 1, el{143, 4, 0}, el{160, 8, 0})), set(256, u32(0), u64(uint64(init/1e6)))),
		msg10(5, set(2, tpl(300, append(v4fields[:2:2], el{22, 4, 0}, el{21, 4, 0})...)), set(300, ip(a4), ip(b4), u32(uptime-11000), u32(uptime-1000))))
	if r := c.list[0]; r.TimeFrom != record.TimeInit || r.End != int64(exported-1)*second || r.Duration != 10*second {
		t.Errorf("got %v, end %d, duration %d", r.TimeFrom, r.End, r.Duration)
	}
}

// Packet heads come through the packet decoder: fixed and zero filled with 410, of variable length, IP only (313), NetFlow-Lite's 104.
func TestPacketSections(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, _ []el, src, dst string) {
		const l3 = 18 // Ethernet and a tag
		p := packetbuild.Ether().VLAN(7)
		if len(ip(src)) == 4 {
			p.IPv4(src, dst)
		} else {
			p.IPv6(src, dst)
		}
		frame := p.UDP(53, 4242).Payload(10).Bytes()
		ipLen := uint64(len(frame) - l3)
		for _, c := range []struct {
			name   string
			fields []el
			data   []byte
			code   record.Code
			l2     uint64
		}{
			{"315 of fixed length with 410", []el{{410, 2, 0}, {315, 200, 0}}, cat(u16(len(frame)), frame, make([]byte, 200-len(frame))), record.OK, 0},
			{"315 of variable length with 312", []el{{312, 2, 0}, {315, 65535, 0}}, cat(u16(1500), []byte{byte(len(frame))}, frame), record.OK, 1500},
			{"313", []el{{313, 65535, 0}}, cat([]byte{byte(len(frame) - l3)}, frame[l3:]), record.OK, 0},
			{"104", []el{{104, len(frame), 0}, {103, 2, 0}}, cat(frame, u16(len(frame))), record.OK, 0},
			{"cut before the IP header ends", []el{{315, 30, 0}}, frame[:30], record.SectionUnreadable, 0},
			{"nothing exported", []el{{315, 65535, 0}, {312, 2, 0}}, cat([]byte{0}, u16(1500)), record.SectionUnreadable, 1500},
		} {
			t.Run(c.name, func(t *testing.T) {
				col := fresh(t)
				if code := col.send(msg10(0, set(2, tpl(300, c.fields...)), set(300, c.data))); code != c.code || len(col.list) != 1 {
					t.Fatalf("%v, %d records (%s)", code, len(col.list), codes(&col.stats))
				}
				r := col.list[0]
				if r.Kind != record.Section || r.Packets != 1 || r.L2Bytes != c.l2 {
					t.Errorf("got %+v", r)
				}
				if c.code == record.OK && (addr(r.Src) != src || addr(r.Dst) != dst || r.SrcPort != 53 || r.DstPort != 4242 || r.Proto != 17 || r.Bytes != ipLen) {
					t.Errorf("got %s to %s, %+v, want %d bytes", addr(r.Src), addr(r.Dst), r, ipLen)
				}
			})
		}
	})
}

// Fields that only some exporters send, each where the record keeps it.
func TestRareFields(t *testing.T) {
	t.Parallel()
	c := fresh(t)
	c.send(msg10(77, set(2, tpl(300, el{8, 4, 0}, el{12, 4, 0}, el{27, 16, 0}, el{28, 16, 0}, el{70, 3, 0}, el{58, 2, 0}, el{59, 2, 0}, el{61, 1, 0}, el{88, 2, 0},
		el{32, 2, 0}, el{136, 1, 0}, el{16, 4, 0}, el{17, 2, 0}, el{5, 1, 0}, el{62, 16, 0}, el{9, 1, 0}, el{30, 1, 0}, el{180, 2, 0}, el{183, 2, 0}, el{253, 4, 0}, el{10, 4, 0}, el{252, 4, 0})),
		set(300, make([]byte, 8), ip(a6), ip(b6), []byte{0x12, 0x34, 0x51}, u16(0xf007), u16(8), []byte{1}, u16(185), u16(0x0301), []byte{3}, u32(4200000000), u16(65000), []byte{0xb8},
			ip("2001:db8::ff"), []byte{24, 48}, u16(1), u16(2), u32(70), u32(30), u32(31))))
	r := c.list[0]
	if addr(r.Src) != a6 || addr(r.Dst) != b6 || r.MPLSLabel != 0x12345 || r.SrcVLAN != 7 || r.DstVLAN != 8 || r.Direction != record.Egress || !r.Fragment || r.FragmentOffset != 185 ||
		r.ICMPType != 3 || r.ICMPCode != 1 || r.FlowEndReason != 3 || r.SrcAS != 4200000000 || r.DstAS != 65000 || r.TOS != 0xb8 || addr(r.NextHop) != "2001:db8::ff" ||
		r.SrcMask != 24 || r.DstMask != 48 || r.SrcPort != 1 || r.DstPort != 2 || r.Input != 30 || r.Output != 70 || r.Domain != 77 || r.Template != 300 || r.Exporter != exporter {
		t.Errorf("got %+v", r)
	}
	c = fresh(t) // both families, the IPv4 one used
	c.send(msg10(0, set(2, tpl(300, el{27, 16, 0}, el{28, 16, 0}, el{8, 4, 0}, el{12, 4, 0})), set(300, make([]byte, 32), ip(a4), ip(b4))))
	if r := c.list[0]; addr(r.Src) != a4 || addr(r.Dst) != b4 {
		t.Errorf("got %v to %v", addr(r.Src), addr(r.Dst))
	}
	for _, proto := range []byte{1, 58} { // ICMP in the port, as NetFlow has it
		c = fresh(t)
		f := flow(a4, b4, 1, 1)
		f[12] = proto
		copy(f[10:], u16(0x0803))
		c.send(msg9(0, set(0, v4tpl), set(300, f)))
		if r := c.list[0]; r.ICMPType != 8 || r.ICMPCode != 3 {
			t.Errorf("protocol %d: type %d, code %d", proto, r.ICMPType, r.ICMPCode)
		}
	}
}

// Templates: the key is (address, version, domain, id); a new layout replaces the old; withdrawals are obeyed.
func TestTemplateLife(t *testing.T) {
	t.Parallel()
	f := set(300, flow(a4, b4, 100, 2))
	t.Run("domains and versions are apart", func(t *testing.T) {
		c := fresh(t)
		c.send(msg10(1, set(2, v4tpl)), msg10(2, f), msg9(1, f))
		c.want(t, 0, 0, 0)
		if c.stats.UnknownTemplateSets != 2 {
			t.Errorf("%d unknown sets", c.stats.UnknownTemplateSets)
		}
	})
	t.Run("exporters are apart", func(t *testing.T) {
		c := fresh(t)
		c.send(msg10(1, set(2, v4tpl)))
		c.decode([16]byte{1}, arrived, msg10(1, f))
		c.want(t, 0, 0, 0)
	})
	t.Run("replaced", func(t *testing.T) {
		c := fresh(t)
		other := append(v4fields[:6:6], el{2, 4, 0}, el{1, 4, 0})
		if code := c.send(msg10(1, set(2, v4tpl), f, set(2, tpl(300, other...)), f)); code != record.OK {
			t.Errorf("code %v", code)
		}
		c.want(t, 2, 102, 102)
		if c.stats.Codes[record.TemplateChanged] != 1 {
			t.Errorf("changes: %s", codes(&c.stats))
		}
	})
	t.Run("withdrawn", func(t *testing.T) {
		for name, w := range map[string][]byte{"one": set(2, tpl(300)), "all": set(2, tpl(2))} {
			c := fresh(t)
			c.send(msg10(1, set(2, v4tpl), f), msg10(1, w), msg10(1, f))
			c.want(t, 1, 100, 2)
			if c.stats.Codes[record.Withdrawn] != 1 || c.stats.UnknownTemplateSets != 1 {
				t.Errorf("%s: %s", name, codes(&c.stats))
			}
		}
	})
	t.Run("withdrawing all of one kind leaves the other", func(t *testing.T) {
		c := fresh(t)
		c.send(msg10(1, set(2, v4tpl)), msg10(1, set(3, tpl(3))), msg10(1, f))
		c.want(t, 1, 100, 2)
	})
}

// Data before its template waits, within its bounds, and is read once.
func TestHeld(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, fields []el, src, dst string) {
		f := set(300, flow(src, dst, 100, 2))
		announce := set(2, tpl(300, fields...))
		t.Run("template behind the data in one datagram", func(t *testing.T) {
			c := fresh(t)
			c.send(msg10(1, f, announce, f))
			c.want(t, 2, 200, 4)
			if c.stats.Codes[record.Held] != 1 || c.stats.Codes[record.Replayed] != 1 || c.stats.UnknownTemplateSets != 1 {
				t.Errorf("%s", codes(&c.stats))
			}
		})
		t.Run("a second later, with options", func(t *testing.T) {
			c := fresh(t)
			c.send(msg10(1, f), msg10(1, announce, set(3, opt10(256, 1, el{144, 4, 0}, el{34, 4, 0})), set(256, u32(1), u32(100))), msg10(1, announce))
			c.want(t, 1, 100, 2)
			if r := c.list[0]; r.Arrived != arrived || r.SamplingRate != 100 {
				t.Errorf("arrived %d, rate %v: a held record keeps its own time and is scaled by what is known by now", r.Arrived, r.SamplingRate)
			}
			if st := c.deps.Templates.Stats(); st.HeldBytes != 0 || st.Held != 1 || st.Replayed != 1 {
				t.Errorf("stats %+v", st)
			}
		})
		t.Run("too late", func(t *testing.T) {
			c := fresh(t)
			c.decode(exporter, arrived, msg10(1, f))
			c.decode(exporter, arrived+6*second, msg10(1, announce))
			c.want(t, 0, 0, 0)
			if st := c.deps.Templates.Stats(); st.HeldBytes != 0 || st.HeldDropped != 1 {
				t.Errorf("stats %+v", st)
			}
		})
		t.Run("bounded, one exporter takes no other's room", func(t *testing.T) {
			cfg := template.Default()
			cfg.HoldSets = 4
			c := newCollector(t, cfg, sampling.Default())
			for range 10 {
				c.decode(exporter, arrived, msg10(1, f))
			}
			c.decode([16]byte{9}, arrived, msg10(1, f))
			if c.stats.Codes[record.Held] != 5 || c.stats.Codes[record.HeldDropped] != 6 {
				t.Errorf("%s", codes(&c.stats))
			}
			c.decode(exporter, arrived, msg10(1, announce))
			c.want(t, 4, 400, 8)
			c.deps.Templates.Expire(arrived + int64(time.Minute))
			if st := c.deps.Templates.Stats(); st.HeldBytes != 0 {
				t.Errorf("%d bytes are still held", st.HeldBytes)
			}
		})
	})
}

// The unit of IPFIX sequence numbers is data records, options included; it is not known when a set could not be counted.
func TestSequenceUnits(t *testing.T) {
	t.Parallel()
	c := fresh(t)
	f := flow(a4, b4, 100, 2)
	c.send(msg10(1, set(2, v4tpl), set(300, f, f), set(3, opt10(256, 1, el{144, 4, 0}, el{34, 4, 0})), set(256, u32(1), u32(100))))
	if h := c.stats.Last; h.Units != 3 || !h.KnownUnits || h.Sequence != 7 || !h.HasSequence {
		t.Errorf("%+v", h)
	}
	c.send(msg10(1, set(300, f), set(301, f)))
	if h := c.stats.Last; h.Units != 1 || h.KnownUnits {
		t.Errorf("%+v", h)
	}
}
