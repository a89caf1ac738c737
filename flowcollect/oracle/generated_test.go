package oracle

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/tools/trafficgen/export"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// exporter is who sends the datagrams that these tests make: 192.0.2.1.
var exporter = [16]byte{10: 0xff, 11: 0xff, 12: 192, 14: 2, 15: 1}

// exports are datagrams of trafficgen's exporters: floods in both families and a background.
func exports(t testing.TB, p export.Protocol, sampling uint32) (out []datagram) {
	t.Helper()
	second := gen.Duration(time.Second)
	g, err := gen.New(gen.Scenario{Seed: 9, Background: 500, Length: 4 * second, Streams: []gen.Stream{
		{Kind: "syn", Target: "10.0.0.5", PPS: 1000, Start: second, Duration: 2 * second},
		{Kind: "udp", Target: "2001:db8::5", PPS: 1000, Start: second, Duration: 2 * second},
	}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := export.New(export.Config{Protocol: p, Sampling: sampling, Active: time.Second, Inactive: time.Second, WithoutFCS: true},
		func(at int64, payload []byte) error {
			out = append(out, datagram{exporter: exporter, at: at, payload: append([]byte(nil), payload...)})
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	var f gen.Frame
	for g.Next(&f) {
		if err := e.Add(&f); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestGenerated compares what trafficgen exports: no deviation but the named ones that such datagrams can have.
func TestGenerated(t *testing.T) {
	t.Parallel()
	o := start(t)
	// What each protocol's datagrams may meet; a deviation that explains too much would show here.
	allowed := map[export.Protocol][]string{
		export.NetFlow5: {"v5 without sampling"}, export.NetFlow9: {}, export.IPFIX: {"305 without 306"},
		export.SFlow: {"type of service of a sampled header", "IPv6 extension headers"},
	}
	for _, p := range export.Protocols() {
		for _, sampling := range []uint32{1, 10} {
			o.t = t
			c := newComparison(t, o)
			for _, dg := range exports(t, p, sampling) {
				c.compare(dg)
			}
			c.report()
			if c.records < 100 {
				t.Errorf("%s 1:%d: only %d records compared", p, sampling, c.records)
			}
			for name, n := range c.seen {
				found := false
				for _, a := range allowed[p] {
					found = found || a == name
				}
				if !found {
					t.Errorf("%s 1:%d: %d differences explained by %q, which cannot be here", p, sampling, n, name)
				}
			}
		}
	}
}

// builder makes v9 and IPFIX datagrams.
type builder struct{ b []byte }

func message(version uint16) *builder {
	n := 20
	if version == 10 {
		n = 16
	}
	m := &builder{make([]byte, n)}
	binary.BigEndian.PutUint16(m.b, version)
	if version == 9 {
		binary.BigEndian.PutUint16(m.b[2:], 100) // records, more than there are sets
	}
	binary.BigEndian.PutUint32(m.b[8-4*int(version-9):], 1_700_000_000)
	return m
}

// set appends a set of 16-bit words and bytes.
func (m *builder) set(id uint16, parts ...any) *builder {
	at := len(m.b)
	m.b = append(m.b, 0, 0, 0, 0)
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			m.b = binary.BigEndian.AppendUint16(m.b, uint16(p))
		case []byte:
			m.b = append(m.b, p...)
		}
	}
	binary.BigEndian.PutUint16(m.b[at:], id)
	binary.BigEndian.PutUint16(m.b[at+2:], uint16(len(m.b)-at))
	return m
}

func (m *builder) datagram() datagram {
	if m.b[1] == 10 {
		binary.BigEndian.PutUint16(m.b[2:], uint16(len(m.b)))
	}
	return datagram{exporter: exporter, at: 1_700_000_000e9, payload: m.b}
}

// plain is a record of src, dst, sport, dport, proto, bytes, packets as template plainFields describes it.
func plain(last byte, bytes, packets uint16) []byte {
	b := []byte{10, 0, 0, last, 192, 0, 2, last, 0x30, 0x39, 0, 53, 17, 0, 0}
	b = binary.BigEndian.AppendUint16(b, bytes)
	return binary.BigEndian.AppendUint32(b, uint32(packets))
}

var plainFields = []any{8, 4, 12, 4, 7, 2, 11, 2, 4, 1, 1, 4, 2, 4}

func template256(fields ...any) []any { return append([]any{256, len(fields) / 2}, fields...) }

// TestNamedCases builds the quirks of FLOWS.md 3.4 and checks what both make of them: ours by the standard, goflow2's by its deviation.
func TestNamedCases(t *testing.T) {
	t.Parallel()
	o := start(t)
	for _, c := range []struct {
		name      string
		datagrams []datagram
		records   int    // ours
		deviation string // of goflow2; "" for none
	}{
		{"plain v9", []datagram{message(9).set(0, template256(plainFields...)...).set(256, plain(1, 1000, 2), plain(2, 60, 1)).datagram()}, 2, ""},
		{"plain IPFIX", []datagram{message(10).set(2, template256(plainFields...)...).set(256, plain(1, 1000, 2), plain(2, 60, 1)).datagram()}, 2, ""},
		{"padding of three", []datagram{message(9).set(0, template256(plainFields...)...).set(256, plain(1, 9, 9), []byte{0, 0, 0}).datagram()}, 1, ""},
		{"reduced size", []datagram{message(10).set(2, template256(8, 4, 12, 4, 1, 3, 2, 1)...).
			set(256, []byte{10, 0, 0, 1, 10, 0, 0, 2, 1, 2, 3, 9}).datagram()}, 1, ""},
		{"variable length", []datagram{message(10).set(2, template256(8, 4, 12, 4, 82, 65535, 1, 4, 2, 4)...).
			set(256, []byte{10, 0, 0, 1, 10, 0, 0, 2, 3, 'a', 'b', 'c', 0, 0, 1, 0, 0, 0, 0, 1}).datagram()}, 1, ""},
		{"long variable length in v9", []datagram{message(9).set(0, template256(8, 4, 12, 4, 82, 65535, 1, 4, 2, 4)...).
			set(256, []byte{10, 0, 0, 1, 10, 0, 0, 2, 255, 0, 3, 'a', 'b', 'c', 0, 0, 1, 0, 0, 0, 0, 1}).datagram()}, 1, ""},
		{"variable length and padding", []datagram{message(10).set(2, template256(8, 4, 12, 4, 1, 4, 2, 4, 82, 65535)...).
			set(256, []byte{10, 0, 0, 1, 10, 0, 0, 2, 0, 0, 1, 0, 0, 0, 0, 1, 1, 'a', 0, 0}).datagram()}, 1, ""},
		{
			"cut in a variable length",
			[]datagram{message(10).set(2, template256(8, 4, 12, 4, 1, 4, 2, 4, 82, 65535, 82, 65535)...).
				set(256, []byte{10, 0, 0, 1, 10, 0, 0, 2, 0, 0, 1, 0, 0, 0, 0, 1, 1, 'a', 1, 'b'}, []byte{10, 0, 0, 1, 10, 0, 0, 2, 0, 0, 1, 0, 0, 0, 0, 1, 1, 'a'}).datagram()},
			1, "an error drops the set",
		},
		{"withdrawal", []datagram{
			message(10).set(2, template256(plainFields...)...).datagram(), message(10).set(2, 256, 0).datagram(),
			message(10).set(256, plain(1, 9, 9)).datagram(),
		}, 0, "a withdrawal is an empty template"},
		{"withdrawal of all", []datagram{
			message(10).set(2, template256(plainFields...)...).datagram(), message(10).set(2, 2, 0).datagram(),
			message(10).set(256, plain(1, 9, 9)).datagram(),
		}, 0, "withdrawal of all is not known"},
		{"empty template", []datagram{message(9).set(0, template256(8, 0, 12, 0)...).set(256, []byte{1, 2, 3, 4}).datagram()}, 0, "an empty template hangs it"},
		{"no template", []datagram{message(9).set(256, plain(1, 9, 9)).datagram()}, 0, ""},
		{
			"reserved set",
			[]datagram{message(9).set(0, template256(plainFields...)...).set(77, []byte{1, 2, 3, 4}).set(256, plain(1, 9, 9)).datagram()},
			1,
			"v9 error ends the datagram",
		},
		{"v9 count", []datagram{count(1, message(9).set(0, template256(plainFields...)...).set(256, plain(1, 9, 9)).datagram())}, 1, "v9 count bounds flow sets"},
		{
			"v9 count and template",
			[]datagram{count(0, message(9).set(0, template256(plainFields...)...).datagram()), message(9).set(256, plain(1, 9, 9)).datagram()},
			1,
			"v9 count hid the template",
		},
		{"OUT counters", []datagram{message(9).set(0, template256(8, 4, 12, 4, 1, 4, 2, 4, 23, 4, 24, 4)...).
			set(256, []byte{10, 0, 0, 1, 10, 0, 0, 2, 0, 0, 0, 152, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0}).datagram()}, 1, "OUT counters overwrite IN"},
		{"totals", []datagram{message(10).set(2, template256(8, 4, 12, 4, 85, 4, 86, 4)...).
			set(256, []byte{10, 0, 0, 1, 10, 0, 0, 2, 0, 0, 0, 152, 0, 0, 0, 3}).datagram()}, 1, "totals are not read"},
		{"initiator and responder", []datagram{message(9).set(0, template256(8, 4, 12, 4, 231, 4, 232, 4, 298, 4, 299, 4)...).
			set(256, []byte{10, 0, 0, 1, 10, 0, 0, 2, 0, 0, 0, 152, 0, 0, 1, 0, 0, 0, 0, 3, 0, 0, 0, 4}).datagram()}, 1, "initiator and responder are not read"},
		{"layer 2 bytes", []datagram{message(10).set(2, template256(8, 4, 12, 4, 352, 4, 2, 4)...).
			set(256, []byte{10, 0, 0, 1, 10, 0, 0, 2, 0, 0, 0, 152, 0, 0, 0, 3}).datagram()}, 1, "layer 2 counters are not read"},
		{"rate in the record", []datagram{message(9).set(0, template256(8, 4, 12, 4, 1, 4, 2, 4, 34, 4)...).
			set(256, []byte{10, 0, 0, 1, 10, 0, 0, 2, 0, 0, 0, 152, 0, 0, 0, 3, 0, 0, 8, 0}).datagram()}, 1, "rate in the record is not read"},
		{"rate of one byte", []datagram{message(10).set(2, template256(plainFields...)...).set(3, 300, 3, 1, 144, 4, 305, 1, 306, 1, []byte{0, 0}).
			set(300, []byte{0, 0, 0, 1, 1, 9}).set(256, plain(1, 9, 9)).datagram()}, 1, "rates have four bytes"},
		{"interval and space", []datagram{message(10).set(2, template256(plainFields...)...).set(3, 300, 3, 1, 144, 4, 305, 4, 306, 4, []byte{0, 0}).
			set(300, []byte{0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 3, 231}).set(256, plain(1, 9, 9)).datagram()}, 1, "305 without 306"},
		{"two samplers", []datagram{message(9).set(0, template256(append([]any{48, 1}, plainFields...)...)...).set(1, 300, 4, 8, 1, 4, 48, 1, 50, 4, []byte{0, 0}).
			set(300, []byte{0, 0, 0, 1, 1, 0, 0, 0, 100}, []byte{0, 0, 0, 1, 2, 0, 0, 0, 200}).
			set(256, []byte{1}, plain(1, 9, 9), []byte{2}, plain(1, 9, 9)).datagram()}, 2, "one rate for all samplers"},
		{"rate of another domain", []datagram{
			domain(6, message(9).set(1, 300, 4, 4, 1, 4, 34, 4, []byte{0, 0}).set(300, []byte{0, 0, 0, 1, 0, 0, 0, 100}).datagram()),
			message(9).set(0, template256(plainFields...)...).set(256, plain(1, 9, 9)).datagram(),
		}, 1, "rate of another domain"},
		{"v5 count", []datagram{v5(3, 1)}, 1, "v5 count is believed"},
	} {
		o.t = t
		cmp := newComparison(t, o)
		total := 0
		for _, dg := range c.datagrams {
			cmp.compare(dg)
			total += len(cmp.ours.list)
		}
		for _, u := range cmp.unexplained {
			t.Errorf("%s: no deviation explains: %s", c.name, u)
		}
		_, seen := cmp.seen[c.deviation]
		delete(cmp.seen, c.deviation)
		delete(cmp.seen, "v5 without sampling")
		if total != c.records || (c.deviation != "") != seen || len(cmp.seen) != 0 {
			t.Errorf("%s: %d records, want %d; deviation %q met: %v; others %v", c.name, total, c.records, c.deviation, seen, cmp.seen)
		}
	}
}

// count overwrites a v9 header's count.
func count(n uint16, dg datagram) datagram {
	binary.BigEndian.PutUint16(dg.payload[2:], n)
	return dg
}

// domain overwrites a v9 header's source id.
func domain(id uint32, dg datagram) datagram {
	binary.BigEndian.PutUint32(dg.payload[16:], id)
	return dg
}

// v5 is a datagram that says it has count records, and has some.
func v5(count uint16, records int) datagram {
	b := make([]byte, 24+48*records)
	b[1] = 5
	binary.BigEndian.PutUint16(b[2:], count)
	for r := b[24:]; len(r) > 0; r = r[48:] {
		copy(r, []byte{10, 0, 0, 1, 192, 0, 2, 1})
		r[19], r[23], r[38] = 1, 60, 17
	}
	return datagram{exporter: exporter, payload: b}
}

// Every deviation has a name, a reason and a field, and no name is used twice.
func TestDeviationsAreNamed(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, d := range deviations {
		if d.name == "" || len(d.why) < 20 || len(d.fields) == 0 || d.explains == nil || seen[d.name] {
			t.Errorf("%q is incomplete, or twice there", d.name)
		}
		seen[d.name] = true
	}
}

// FuzzDifferential: what both read without trouble, they read alike, but for named deviations; and goflow2 alone hangs.
func FuzzDifferential(f *testing.F) {
	join := func(list ...datagram) []byte {
		var b []byte
		for _, dg := range list {
			b = binary.BigEndian.AppendUint16(b, uint16(len(dg.payload)))
			b = append(b, dg.payload...)
		}
		return b
	}
	f.Add(join(message(9).set(0, template256(plainFields...)...).datagram(), message(9).set(256, plain(1, 9, 9), plain(2, 8, 8)).datagram()))
	f.Add(join(message(10).set(2, template256(8, 4, 12, 4, 82, 65535, 1, 3, 2, 8)...).datagram(), message(10).set(256, make([]byte, 60)).datagram()))
	f.Add(join(message(10).set(3, 300, 3, 1, 144, 4, 305, 4, 306, 4).datagram(), message(10).set(300, make([]byte, 12)).datagram()))
	f.Add(join(v5(2, 2)))
	for _, p := range export.Protocols() {
		f.Add(join(exports(f, p, 10)[:2]...))
	}
	o := start(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		o.t = t
		c := newComparison(t, o)
		c.fuzz = true
		clean := true
		for n := 0; len(in) >= 2 && n < 4; n++ {
			size := min(int(binary.BigEndian.Uint16(in)), len(in)-2)
			dg := datagram{exporter: exporter, at: 1_700_000_000e9, payload: in[2 : 2+size]}
			in = in[2+size:]
			if known(version(dg.payload)) {
				clean = c.compare(dg) && clean
			}
		}
		for _, u := range c.unexplained {
			field, _, _ := strings.Cut(u, ":")
			switch fromSFlow := strings.Contains(u, "Protocol:sflow5"); {
			case field == "rate" && !fromSFlow:
				continue // what mutated options mean is for TestNamedCases and for nfacctd to say
			case fromSFlow && slices.Contains([]string{"src", "dst", "proto", "src_port", "dst_port", "flags"}, field):
				continue // mutated packet heads: dataplane/wire has its own oracles for those
			}
			if clean || field == "hang" {
				t.Errorf("no deviation explains: %s", u)
			}
		}
	})
}
