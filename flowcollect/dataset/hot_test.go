package dataset_test

import (
	"encoding/binary"
	"testing"

	"github.com/weir-ddos/weir/dataplane/packetbuild"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/dataset"
	"github.com/weir-ddos/weir/flowcollect/ipfix"
	"github.com/weir-ddos/weir/flowcollect/netflow"
	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/sampling"
	"github.com/weir-ddos/weir/flowcollect/template"
)

// counter is a Sink that only adds.
type counter struct{ records, bytes uint64 }

func (c *counter) Record(r *record.Record) {
	c.records++
	c.bytes += r.Bytes
}

// twenty are the 20 fields of a typical router.
var twenty = []el{
	{8, 4, 0},
	{12, 4, 0},
	{5, 1, 0},
	{4, 1, 0},
	{7, 2, 0},
	{11, 2, 0},
	{32, 2, 0},
	{10, 4, 0},
	{58, 2, 0},
	{9, 1, 0},
	{13, 1, 0},
	{16, 4, 0},
	{17, 4, 0},
	{15, 4, 0},
	{6, 1, 0},
	{14, 4, 0},
	{1, 8, 0},
	{2, 8, 0},
	{22, 4, 0},
	{21, 4, 0},
}

func twentyFlow(i int) []byte {
	return cat(u32(0xc6336400+uint32(i)), ip(b4), []byte{0, 17}, u16(1000+i), u16(53), u16(0), u32(3), u16(7), []byte{24, 22}, u32(65001), u32(65002), ip("192.0.2.254"),
		[]byte{0x10}, u32(7), u64(1000), u64(10), u32(uptime-2000), u32(uptime-1000))
}

// bench is a steady state: what was announced, and the datagrams that come again and again.
type bench struct {
	name    string
	records int
	setup   []byte
	payload []byte
}

func benches(t testing.TB) []bench {
	t.Helper()
	many := func(n int, f func(int) []byte) (out []byte) {
		for i := range n {
			out = append(out, f(i)...)
		}
		return out
	}
	v5 := make([][]byte, 30)
	for i := range v5 {
		v5[i] = v5flow()
	}
	varFields := append(twenty[:len(twenty):len(twenty)], el{82, 65535, 0})
	frame := packetbuild.Ether().IPv6(a6, b6).UDP(53, 4242).Payload(66).Bytes()
	sampled := append(twenty[:len(twenty):len(twenty)], el{48, 2, 0})
	options := cat(set(1, opt9(256, 1, el{1, 4, 0}, el{48, 2, 0}, el{50, 4, 0})), set(256, u32(0), u16(1), u32(2000)))
	return []bench{
		{"v5", 30, nil, v5msg(30, 0x4064, v5...)},
		{"v9-20fields", 20, msg9(0, set(0, tpl(300, twenty...))), msg9(0, set(300, many(20, twentyFlow)))},
		{"v9-sampler", 20, msg9(0, set(0, tpl(300, sampled...)), options), msg9(0, set(300, many(20, func(i int) []byte { return cat(twentyFlow(i), u16(1)) })))},
		{"ipfix-20fields", 20, msg10(0, set(2, tpl(300, twenty...))), msg10(0, set(300, many(20, twentyFlow)))},
		{"ipfix-varlen", 20, msg10(0, set(2, tpl(300, varFields...))), msg10(0, set(300, many(20, func(i int) []byte { return cat(twentyFlow(i), []byte("\x05hello")) })))},
		{"ipfix-template-each", 20, nil, msg10(0, set(2, tpl(300, twenty...)), set(300, many(20, twentyFlow)))},
		{"ipfix-315", 10, msg10(0, set(2, tpl(300, el{312, 2, 0}, el{315, 65535, 0}))), msg10(0, set(300, many(10, func(int) []byte { return cat(u16(len(frame)), []byte{byte(len(frame))}, frame) })))},
		{
			"ipfix-biflow", 20, msg10(0, set(2, tpl(300, append(twenty[:len(twenty):len(twenty)], el{1, 8, 29305}, el{2, 8, 29305})...))),
			msg10(0, set(300, many(20, func(i int) []byte { return cat(twentyFlow(i), u64(5), u64(1)) }))),
		},
	}
}

// steady returns a function that decodes the bench's datagram once.
func (b *bench) steady(t testing.TB) (func(), *counter, *record.Stats) {
	t.Helper()
	reg, err := template.New(template.Default())
	if err != nil {
		t.Fatal(err)
	}
	table, err := sampling.New(sampling.Default())
	if err != nil {
		t.Fatal(err)
	}
	deps := dataset.Deps{Templates: reg, Sampling: table, Wire: &wire.Decoder{}}
	n9, n10 := netflow.New(deps), ipfix.New(deps)
	sink, st := &counter{}, &record.Stats{}
	dg := &record.Datagram{Exporter: exporter, Arrived: arrived}
	one := func(payload []byte) {
		dg.Payload = payload
		if binary.BigEndian.Uint16(payload) == 10 {
			n10.Decode(dg, st, sink)
		} else {
			n9.Decode(dg, st, sink)
		}
	}
	if b.setup != nil {
		one(b.setup)
	}
	return func() { one(b.payload) }, sink, st
}

func TestNoAllocations(t *testing.T) {
	for _, b := range benches(t) {
		run, sink, st := b.steady(t)
		run() // the first sizes the buffers
		if int(st.Records) != b.records || sink.records < uint64(b.records) {
			t.Fatalf("%s: %d records, want %d (%s)", b.name, st.Records, b.records, codes(st))
		}
		if n := testing.AllocsPerRun(200, run); n != 0 {
			t.Errorf("%s: %v allocations a datagram", b.name, n)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range benches(b) {
		b.Run(c.name, func(b *testing.B) {
			run, _, st := c.steady(b)
			run()
			before := st.Records
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(st.Records-before), "ns/record")
			b.ReportMetric(float64(st.Records-before)/b.Elapsed().Seconds()/1e6, "Mrec/s")
		})
	}
}
