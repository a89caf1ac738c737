package dataset_test

import (
	"math"
	"net/netip"
	"testing"

	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/sampling"
	"github.com/weir-ddos/weir/flowcollect/template"
)

// TestSamplingTable walks the combinations of FLOWS.md 1.2 and 5 that real exporters send. Each case is an options template, its data and
// flows of one packet whose rates are written out; a flow's extra fields stand behind those of v4fields or v6fields.
func TestSamplingTable(t *testing.T) {
	t.Parallel()
	name := make([]byte, 90)
	for _, c := range []struct {
		name   string
		v9     bool
		scopes int
		opt    []el
		data   [][]byte // options records
		domain uint32   // of the options; the flows' is 0
		extra  []el
		flows  [][]byte // extra fields of each flow
		want   []float64
		from   record.RateSource
	}{
		{
			name: "v9 SRX, system scope of length 0", v9: true, scopes: 1, opt: []el{{1, 0, 0}, {34, 4, 0}, {35, 1, 0}},
			data: [][]byte{cat(u32(1000), []byte{2})}, flows: [][]byte{nil}, want: []float64{1000}, from: record.RateDomain,
		},
		{
			name: "v9 softflowd, interface scope 0 is all", v9: true, scopes: 1, opt: []el{{2, 4, 0}, {34, 4, 0}, {35, 1, 0}},
			data: [][]byte{cat(u32(0), u32(10), []byte{2})}, flows: [][]byte{nil}, want: []float64{10}, from: record.RateDomain,
		},
		{
			name: "v9 interface scope", v9: true, scopes: 1, opt: []el{{2, 4, 0}, {34, 4, 0}}, extra: []el{{10, 4, 0}, {14, 4, 0}},
			data:  [][]byte{cat(u32(3), u32(10)), cat(u32(7), u32(70))},
			flows: [][]byte{cat(u32(3), u32(9)), cat(u32(9), u32(7)), cat(u32(7), u32(3)), cat(u32(9), u32(9))},
			want:  []float64{10, 70, 70, 0}, from: record.RateInterface,
		},
		{
			name: "v9 ASR9k, samplers 1 and 2 of one domain", v9: true, scopes: 1, opt: []el{{1, 4, 0}, {48, 2, 0}, {50, 4, 0}, {49, 1, 0}, {84, 32, 0}}, extra: []el{{48, 2, 0}},
			data:  [][]byte{cat(u32(0), u16(1), u32(2000), []byte{2}, name[:32]), cat(u32(0), u16(2), u32(4000), []byte{2}, name[:32])},
			flows: [][]byte{u16(1), u16(2), u16(1), u16(3)}, want: []float64{2000, 4000, 2000, 0}, from: record.RateSelector,
		},
		{
			name: "v9 NCS, sampler 1 30000 with 34 besides", v9: true, scopes: 1, opt: []el{{1, 4, 0}, {48, 2, 0}, {50, 4, 0}, {49, 1, 0}, {34, 4, 0}}, extra: []el{{48, 4, 0}},
			data: [][]byte{cat(u32(0), u16(1), u32(30000), []byte{2}, u32(1))}, flows: [][]byte{u32(1)}, want: []float64{30000}, from: record.RateSelector,
		},
		{
			name: "v9 pmacct, sampler id of 1 byte", v9: true, scopes: 1, opt: []el{{1, 4, 0}, {48, 1, 0}, {49, 1, 0}, {50, 4, 0}}, extra: []el{{48, 1, 0}},
			data: [][]byte{cat(u32(0), []byte{1, 2}, u32(10))}, flows: [][]byte{{1}}, want: []float64{10}, from: record.RateSelector,
		},
		{
			name: "v9 FortiGate, timeouts and totals besides", v9: true, scopes: 1, opt: []el{{1, 2, 0}, {40, 8, 0}, {41, 8, 0}, {42, 8, 0}, {36, 2, 0}, {37, 2, 0}, {34, 4, 0}, {35, 1, 0}},
			data: [][]byte{cat(u16(0), u64(1), u64(2), u64(3), u16(60), u16(15), u32(1), []byte{0})}, flows: [][]byte{nil}, want: []float64{1}, from: record.RateDomain,
		},
		{
			name: "v9 mode 2 interval 0 is unsampled, not times zero", v9: true, scopes: 1, opt: []el{{1, 4, 0}, {48, 1, 0}, {49, 1, 0}, {50, 4, 0}}, extra: []el{{48, 1, 0}},
			data: [][]byte{cat(u32(0), []byte{0, 2}, u32(0))}, flows: [][]byte{{0}}, want: []float64{1}, from: record.RateSelector,
		},
		{
			name: "v9 Huawei, rate in the record, 0 is unsampled", v9: true, extra: []el{{34, 4, 0}, {35, 1, 0}},
			flows: [][]byte{cat(u32(2048), []byte{1}), cat(u32(0), []byte{0})}, want: []float64{2048, 1}, from: record.RateRecord,
		},
		{
			name: "IPFIX Juniper MX, scope 144", scopes: 1, opt: []el{{144, 4, 0}, {34, 4, 0}, {36, 2, 0}, {37, 2, 0}},
			data: [][]byte{cat(u32(9), u32(1000), u16(60), u16(15))}, flows: [][]byte{nil}, want: []float64{1000}, from: record.RateDomain,
		},
		{
			name: "IPFIX softflowd, 305 and 306", scopes: 1, opt: []el{{143, 4, 0}, {160, 8, 0}, {305, 4, 0}, {306, 4, 0}, {304, 2, 0}},
			data: [][]byte{cat(u32(0), u64(1e12), u32(1), u32(9), u16(1))}, flows: [][]byte{nil}, want: []float64{10}, from: record.RateDomain,
		},
		{
			name: "IPFIX 3 of 10, systematic", scopes: 1, opt: []el{{143, 4, 0}, {305, 4, 0}, {306, 4, 0}},
			data: [][]byte{cat(u32(0), u32(3), u32(7))}, flows: [][]byte{nil}, want: []float64{10.0 / 3}, from: record.RateDomain,
		},
		{
			name: "IPFIX by template, 149 and 145 (mpls 1/9, physical interfaces 1/999)", scopes: 2, opt: []el{{149, 4, 0}, {145, 2, 0}, {304, 2, 0}, {305, 4, 0}, {306, 4, 0}},
			data: [][]byte{cat(u32(0), u16(300), u16(1), u32(1), u32(9)), cat(u32(0), u16(301), u16(1), u32(1), u32(999))}, flows: [][]byte{nil}, want: []float64{10}, from: record.RateTemplate,
		},
		{
			name: "IPFIX IOS-XR, selector scope, 305 alone is 1:n, flows name a sampler", scopes: 1, opt: []el{{302, 4, 0}, {305, 4, 0}, {304, 2, 0}, {84, 90, 0}}, extra: []el{{48, 4, 0}},
			data:  [][]byte{cat(u32(3), u32(256), u16(1), name), cat(u32(4), u32(1024), u16(1), name)},
			flows: [][]byte{u32(3), u32(4)}, want: []float64{256, 1024}, from: record.RateSelector,
		},
		{
			name: "IPFIX IOS-XR 7, 309 and 310 beat 305, a name of variable length", scopes: 1,
			opt:   []el{{302, 4, 0}, {305, 4, 0}, {304, 2, 0}, {309, 4, 0}, {310, 4, 0}, {84, 90, 0}, {335, 65535, 0}},
			extra: []el{{302, 8, 0}},
			data:  [][]byte{cat(u32(1), u32(1), u16(3), u32(1), u32(256), name, []byte{4}, []byte("sampl"[:4]))}, flows: [][]byte{u64(1)}, want: []float64{256}, from: record.RateSelector,
		},
		{
			name: "IPFIX pmacct, scope 144, sampler 1", scopes: 1, opt: []el{{144, 4, 0}, {48, 1, 0}, {49, 1, 0}, {50, 4, 0}}, extra: []el{{48, 1, 0}},
			data: [][]byte{cat(u32(0), []byte{1, 2}, u32(10))}, flows: [][]byte{{1}}, want: []float64{10}, from: record.RateSelector,
		},
		{
			name: "IPFIX probability, float64 and float32", scopes: 1, opt: []el{{302, 4, 0}, {311, 8, 0}}, extra: []el{{302, 4, 0}},
			data: [][]byte{cat(u32(1), u64(math.Float64bits(0.25)))}, flows: [][]byte{u32(1)}, want: []float64{4}, from: record.RateSelector,
		},
		{
			name: "IPFIX options of another domain", scopes: 1, domain: 123, opt: []el{{144, 4, 0}, {34, 4, 0}},
			data: [][]byte{cat(u32(9), u32(64))}, flows: [][]byte{nil}, want: []float64{64}, from: record.RateOther,
		},
		{
			name: "IPFIX, in the record beats the options", scopes: 1, opt: []el{{144, 4, 0}, {34, 4, 0}}, extra: []el{{305, 4, 0}, {306, 4, 0}},
			data: [][]byte{cat(u32(9), u32(64))}, flows: [][]byte{cat(u32(1), u32(1))}, want: []float64{2}, from: record.RateRecord,
		},
		{name: "OVS, nothing announced", extra: []el{{61, 1, 0}}, flows: [][]byte{{0}}, want: []float64{0}, from: record.RateUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, fields []el, src, dst string) {
				col := fresh(t)
				msg, tset, oset, opt := msg10, 2, 3, opt10
				if c.v9 {
					msg, tset, oset, opt = msg9, 0, 1, opt9
				}
				if c.opt != nil {
					code := col.send(msg(c.domain, set(oset, opt(256, c.scopes, c.opt...)), set(256, c.data...)))
					if code != record.OK || int(col.stats.OptionRecords) != len(c.data) {
						t.Fatalf("options: %v, %d records (%s)", code, col.stats.OptionRecords, codes(&col.stats))
					}
				}
				var data [][]byte
				for _, extra := range c.flows {
					data = append(data, cat(flow(src, dst, 100, 1), extra))
				}
				if code := col.send(msg(0, set(tset, tpl(300, append(fields[:len(fields):len(fields)], c.extra...)...)), set(300, data...))); code != record.OK {
					t.Fatalf("flows: %v (%s)", code, codes(&col.stats))
				}
				if len(col.list) != len(c.want) {
					t.Fatalf("%d records, want %d", len(col.list), len(c.want))
				}
				unknown := uint64(0)
				for i, want := range c.want {
					r := &col.list[i]
					if r.SamplingRate != want {
						t.Errorf("flow %d: rate %v, want %v", i, r.SamplingRate, want)
					}
					switch {
					case want == 0:
						unknown++
					case r.RateFrom != c.from:
						t.Errorf("flow %d: rate from %v, want %v", i, r.RateFrom, c.from)
					}
				}
				if col.stats.UnknownRate != unknown {
					t.Errorf("%d records of unknown rate were counted, want %d", col.stats.UnknownRate, unknown)
				}
			})
		})
	}
}

// Two samplers that announce different rates in two domains must not lend theirs to a third.
func TestOtherDomainsMustAgree(t *testing.T) {
	t.Parallel()
	c := fresh(t)
	o := opt10(256, 1, el{144, 4, 0}, el{34, 4, 0})
	c.send(msg10(1, set(3, o), set(256, u32(1), u32(100))))
	f := msg10(9, set(2, tpl(300, v4fields...)), set(300, flow("198.51.100.1", "203.0.113.9", 1, 1)))
	c.send(f, msg10(2, set(3, o), set(256, u32(1), u32(200))), f)
	if len(c.list) != 2 || c.list[0].SamplingRate != 100 || c.list[1].SamplingRate != 0 {
		t.Errorf("got %v and %v, want 100 while one domain speaks and unknown when two disagree", c.list[0].SamplingRate, c.list[1].SamplingRate)
	}
	strict := sampling.Default()
	strict.OtherDomains = false
	c = newCollector(t, template.Default(), strict)
	c.send(msg10(1, set(3, o), set(256, u32(1), u32(100))), f)
	if c.list[0].RateFrom != record.RateUnknown {
		t.Errorf("other domains are forbidden, yet the rate is from %v", c.list[0].RateFrom)
	}
}

// Options that come later do not rewrite the past.
func TestOptionsAfterFlows(t *testing.T) {
	t.Parallel()
	c := fresh(t)
	f := set(300, flow("2001:db8::1", "2001:db8::2", 100, 1))
	c.send(msg10(0, set(2, tpl(300, v6fields...)), f, set(3, opt10(256, 1, el{144, 4, 0}, el{34, 4, 0})), set(256, u32(1), u32(50)), f))
	if c.list[0].SamplingRate != 0 || c.list[1].SamplingRate != 50 || c.scaledPackets != 51 {
		t.Errorf("rates %v, %v, %d packets", c.list[0].SamplingRate, c.list[1].SamplingRate, c.scaledPackets)
	}
}

// The configuration: a default for the silent, an override for the liars, nothing for those that scale themselves.
func TestSamplingConfigured(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		rule sampling.Rule
		want float64
		from record.RateSource
	}{
		{"default is asked last", sampling.Rule{Default: 512}, 100, record.RateDomain},
		{"override", sampling.Rule{Override: 512}, 512, record.RateOverride},
		{"prescaled", sampling.Rule{Prescaled: true}, 1, record.RatePrescaled},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := sampling.Default()
			c.rule.Exporters = netip.MustParsePrefix("192.0.2.0/24")
			cfg.Rules = []sampling.Rule{{Exporters: netip.MustParsePrefix("0.0.0.0/0"), Override: 7}, c.rule}
			col := newCollector(t, template.Default(), cfg)
			f := msg9(0, set(0, tpl(300, v4fields...)), set(300, flow("198.51.100.1", "203.0.113.9", 1, 1)))
			col.send(f)
			if want := c.rule; want.Default != 0 && (col.list[0].SamplingRate != 512 || col.list[0].RateFrom != record.RateConfigured) {
				t.Errorf("before the options: %v from %v", col.list[0].SamplingRate, col.list[0].RateFrom)
			}
			col.send(msg9(0, set(1, opt9(256, 1, el{1, 0, 0}, el{34, 4, 0})), set(256, u32(100))), f)
			if r := col.list[1]; r.SamplingRate != c.want || r.RateFrom != c.from {
				t.Errorf("got %v from %v, want %v from %v", r.SamplingRate, r.RateFrom, c.want, c.from)
			}
		})
	}
}

// NetFlow v5 tells in its header; mode 0 with an interval is valid (Juniper), 0 is unsampled.
func TestSamplingOfV5(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		header int
		want   float64
	}{{0x400a, 10}, {0x03e8, 1000}, {0x8014, 20}, {0, 1}, {0x4000, 1}} {
		col := fresh(t)
		col.send(v5msg(1, c.header, v5flow()))
		if r := col.list[0]; r.SamplingRate != c.want || r.RateFrom != record.RateHeader {
			t.Errorf("%#x: got %v from %v, want %v", c.header, r.SamplingRate, r.RateFrom, c.want)
		}
	}
	// Interval 0 says nothing where the configuration has something to say.
	for header, want := range map[int]float64{0: 500, 0x4000: 500, 0x400a: 10} {
		cfg := sampling.Default()
		cfg.Rules = []sampling.Rule{{Exporters: netip.MustParsePrefix("192.0.2.0/24"), Default: 500}}
		col := newCollector(t, template.Default(), cfg)
		col.send(v5msg(1, header, v5flow()))
		if r := col.list[0]; r.SamplingRate != want {
			t.Errorf("%#x with a default: got %v from %v, want %v", header, r.SamplingRate, r.RateFrom, want)
		}
	}
}
