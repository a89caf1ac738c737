package dataset_test

import (
	"testing"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// The other direction of a biflow has times of its own where the exporter sends them (RFC 5103 6.2): else it has those of the whole.
func TestReverseTimes(t *testing.T) {
	t.Parallel()
	const ms = int64(1e6)
	begin := uint64(exported) * 1000
	both(t, func(t *testing.T, fields []el, src, dst string) {
		counts := []el{{1, 4, 0}, {2, 4, 0}, {1, 4, 29305}, {2, 4, 29305}}
		data := cat(u32(100), u32(1), u32(5000), u32(4))
		for _, c := range []struct {
			name     string
			extra    []el
			data     []byte
			duration int64 // ms of the reverse, -1 unknown
			start    int64 // ms, of the reverse, before the export
		}{
			{"none of its own", []el{{152, 8, 0}, {153, 8, 0}}, cat(u64(begin-10_000), u64(begin-1000)), 9000, 10_000},
			{"its own", []el{{152, 8, 0}, {153, 8, 0}, {152, 8, 29305}, {153, 8, 29305}}, cat(u64(begin-10_000), u64(begin-1000), u64(begin-8000), u64(begin-2000)), 6000, 8000},
			{"only its own", []el{{152, 8, 29305}, {153, 8, 29305}}, cat(u64(begin-8000), u64(begin-2000)), 6000, 8000},
			{"in seconds", []el{{150, 4, 0}, {151, 4, 0}, {150, 4, 29305}, {151, 4, 29305}}, cat(u32(exported-9), u32(exported-1), u32(exported-7), u32(exported-2)), 5000, 7000},
			{"only its start: the end is nobody's", []el{{152, 8, 0}, {153, 8, 0}, {152, 8, 29305}}, cat(u64(begin-10_000), u64(begin-1000), u64(begin-8000)), 9000, 10_000},
			{"backwards", []el{{152, 8, 0}, {153, 8, 0}, {152, 8, 29305}, {153, 8, 29305}}, cat(u64(begin-10_000), u64(begin-1000), u64(begin-2000), u64(begin-8000)), 9000, 10_000},
			{"durations", []el{{161, 4, 0}, {161, 4, 29305}}, cat(u32(9000), u32(3000)), 3000, 0},
			{"no times at all", nil, nil, -1, 0},
		} {
			t.Run(c.name, func(t *testing.T) {
				col := fresh(t)
				tmpl := append(append(fields[:2:2], counts...), c.extra...)
				one := cat(ip(src), ip(dst), data, c.data)
				if code := col.send(msg10(0, set(2, tpl(300, tmpl...)), set(300, one, one))); code != record.OK || len(col.list) != 4 {
					t.Fatalf("%v, %d records (%s)", code, len(col.list), codes(&col.stats))
				}
				for _, r := range []record.Record{col.list[1], col.list[3]} {
					known := r.Has&record.HasDuration != 0
					if r.Kind != record.BiflowReverse || known != (c.duration >= 0) || known && r.Duration != c.duration*ms {
						t.Errorf("%+v", r)
					}
					if c.start > 0 && r.Start != int64(exported)*second-c.start*ms {
						t.Errorf("starts at %d", r.Start)
					}
				}
				if a, b := col.list[0], col.list[2]; a.Duration != b.Duration || a.Start != b.Start || a.Has != b.Has {
					t.Errorf("%+v\n%+v", a, b)
				}
			})
		}
	})
}

// Active and idle timeout (IE 36, 37) in options or in the records themselves.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	options := []el{{144, 4, 0}, {36, 2, 0}, {37, 2, 0}}
	values := cat(u32(1), u16(60), u16(15))
	for _, c := range []struct {
		name         string
		msg          []byte
		active, idle int64
	}{
		{"IPFIX options", msg10(1, set(3, opt10(256, 1, options...)), set(256, values)), 60, 15},
		{"v9 options", msg9(1, set(1, opt9(256, 1, el{1, 4, 0}, el{36, 2, 0}, el{37, 2, 0})), set(256, values)), 60, 15},
		{"of records", msg10(1, set(2, tpl(300, el{8, 4, 0}, el{12, 4, 0}, el{1, 4, 0}, el{36, 4, 0})), set(300, ip(a4), ip(b4), u32(100), u32(1800))), 1800, 0},
		{"absurd", msg10(1, set(3, opt10(256, 1, el{144, 4, 0}, el{36, 4, 0}, el{37, 2, 0})), set(256, u32(1), u32(1<<31), u16(15))), 0, 15},
		{"nothing said", msg10(1, set(2, v4tpl), set(300, flow(a4, b4, 1, 1))), 0, 0},
	} {
		col := fresh(t)
		if code := col.send(c.msg); code != record.OK {
			t.Fatalf("%s: %v", c.name, code)
		}
		if h := col.stats.Last; h.ActiveTimeout != c.active*second || h.IdleTimeout != c.idle*second {
			t.Errorf("%s: active %d, idle %d", c.name, h.ActiveTimeout, h.IdleTimeout)
		}
	}
}

// A record is charged to the addresses that its packets had when they came: what a NAT made of them (225 to 228, 281, 282) is read over,
// for the other direction too. So the networks of a configuration are those on the side where packets are metered.
func TestAddressesAreBeforeNAT(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		src, dst string
		nat      []el
		data     []byte
	}{
		{a4, b4, []el{{225, 4, 0}, {226, 4, 0}, {227, 2, 0}, {228, 2, 0}}, cat(ip("10.9.9.9"), ip("10.8.8.8"), u16(1), u16(2))},
		{a6, b6, []el{{281, 16, 0}, {282, 16, 0}, {227, 2, 0}, {228, 2, 0}}, cat(ip("2001:db8:9::9"), ip("2001:db8:8::8"), u16(1), u16(2))},
	} {
		fields := v4fields
		if len(ip(c.src)) == 16 {
			fields = v6fields
		}
		f := append(append(append(c.nat[:len(c.nat):len(c.nat)], fields[:4]...), el{231, 4, 0}, el{232, 4, 0}), c.nat...) // first and last
		col := fresh(t)
		col.send(msg10(0, set(2, tpl(300, f...)), set(300, c.data, ip(c.src), ip(c.dst), u16(1234), u16(53), u32(100), u32(5000), c.data)))
		if len(col.list) != 2 {
			t.Fatalf("%d records (%s)", len(col.list), codes(&col.stats))
		}
		a, b := col.list[0], col.list[1]
		if addr(a.Src) != c.src || addr(a.Dst) != c.dst || a.SrcPort != 1234 || a.DstPort != 53 || addr(b.Src) != c.dst || addr(b.Dst) != c.src || b.SrcPort != 53 {
			t.Errorf("%+v\n%+v", a, b)
		}
	}
}

// Structured data (RFC 6313: basicList 291, subTemplateList 292, subTemplateMultiList 293) is skipped by its length, whatever is in it.
func TestStructuredData(t *testing.T) {
	t.Parallel()
	list := func(b ...byte) []byte { return append([]byte{byte(len(b))}, b...) }
	long := func(n int) []byte { return cat([]byte{255}, u16(n), make([]byte, n)) }
	both(t, func(t *testing.T, fields []el, src, dst string) {
		f := append([]el{{291, 65535, 0}}, fields[:2]...)
		f = append(f, el{292, 65535, 0}, el{1, 4, 0}, el{293, 65535, 0}, el{2, 4, 0})
		for _, id := range []int{291, 292, 293} { // of fixed length too
			f = append(f, el{id, 6, 0})
		}
		one := func(a, b, c []byte) []byte {
			return cat(a, ip(src), ip(dst), b, u32(100), c, u32(3), make([]byte, 18))
		}
		col := fresh(t)
		code := col.send(msg10(0, set(2, tpl(300, f...)), set(300,
			one(list(3, 0, 1, 0, 4, 9, 9, 9, 9), list(3, 1, 44), list(0)),
			one(list(), list(), list()),
			one(list(3, 0, 1, 255, 255, 255), long(700), list(255, 1, 44, 255, 255)), // what is inside contradicts itself
		)))
		if code != record.OK {
			t.Errorf("%v (%s)", code, codes(&col.stats))
		}
		col.want(t, 3, 300, 9)
		for _, r := range col.list {
			if addr(r.Src) != src || addr(r.Dst) != dst {
				t.Errorf("%+v", r)
			}
		}
		col = fresh(t)
		if code := col.send(msg10(0, set(2, tpl(300, f...)), set(300, one(list(), list(), list()), cut(one(list(), long(700), list()), 300)))); code != record.TruncatedRecord {
			t.Errorf("a list that is cut off: %v", code)
		}
		col.want(t, 1, 100, 3)
	})
}

// Several messages in one datagram are read one after the other; what does not begin like one is not.
func TestMessagesInOneDatagram(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, fields []el, src, dst string) {
		template := set(2, tpl(300, fields...))
		data := set(300, flow(src, dst, 100, 2))
		first, second := msg10(1, template, data), msg10(1, data, data)
		for _, c := range []struct {
			name    string
			in      []byte
			code    record.Code
			records int
			last    uint32 // units of the last message
		}{
			{"two", cat(first, second), record.OK, 3, 2},
			{"three", cat(first, second, msg10(1, data)), record.OK, 4, 1},
			{"of another domain", cat(first, msg10(2, template, data)), record.OK, 2, 1},
			{"an empty one", cat(first, msg10(1)), record.OK, 1, 0},
			{"a rest that is none", cat(first, make([]byte, 20)), record.LengthLies, 1, 1},
			{"cut off", cat(first, cut(second, 3)), record.LengthLies, 1, 1},
			{"of NetFlow v9", cat(first, msg9(1, set(0, tpl(300, fields...)))), record.LengthLies, 1, 1},
		} {
			col := fresh(t)
			code := col.send(c.in)
			if code != c.code || len(col.list) != c.records || col.stats.Datagrams != 1 || col.stats.Last.Units != c.last || !col.stats.Last.KnownUnits {
				t.Errorf("%s: %v, %d records, %+v (%s)", c.name, code, len(col.list), col.stats.Last, codes(&col.stats))
			}
		}
	})
}
