package dataset_test

import (
	"encoding/binary"
	"testing"

	"github.com/weir-ddos/weir/flowcollect/sampling"
	"github.com/weir-ddos/weir/flowcollect/template"
)

// seeds are whole conversations: datagrams behind their lengths of 2 bytes each.
func seeds(t testing.TB) [][]byte {
	t.Helper()
	pack := func(ds ...[]byte) (out []byte) {
		for _, d := range ds {
			out = cat(out, u16(len(d)), d)
		}
		return out
	}
	f := flow(a4, b4, 100, 2)
	out := [][]byte{
		pack(v5msg(1, 0x400a, v5flow())),
		pack(msg9(1, set(0, v4tpl), set(300, f)), msg9(1, set(1, opt9(256, 1, el{1, 4, 0}, el{48, 1, 0}, el{50, 4, 0})), set(256, u32(0), []byte{1}, u32(10)))),
		pack(msg10(1, set(300, f), set(2, v4tpl)), msg10(1, set(2, tpl(300))), msg10(1, set(300, f))),
		pack(msg10(1, set(2, tpl(300, el{82, 65535, 0}, el{315, 65535, 0}, el{1, 8, 29305}, el{137, 2, 2636}))), msg10(1, set(300, []byte{1, 'x', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}))),
	}
	for _, b := range benches(t) {
		out = append(out, pack(b.setup, b.payload))
	}
	return out
}

// FuzzDecode feeds conversations to the decoders with small tables: whatever comes, no panic, bounded state, every datagram accounted for, no
// more records than bytes, and the same conversation gives the same records.
func FuzzDecode(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	tc := template.Default()
	tc.PerExporter, tc.Total, tc.Fields, tc.HoldSets, tc.HoldBytes, tc.HoldTotal = 4, 8, 64, 3, 2000, 4000
	sc := sampling.Default()
	sc.Exporters, sc.Rates = 1, 4
	f.Fuzz(func(t *testing.T, in []byte) {
		converse := func() *collector {
			c := newCollector(t, tc, sc)
			now := arrived
			for rest := in; len(rest) >= 2; now += second {
				n := min(int(binary.BigEndian.Uint16(rest)), len(rest)-2)
				c.decode(exporter, now, rest[2:2+n])
				rest = rest[2+n:]
			}
			return c
		}
		a := converse()
		st := a.deps.Templates.Stats()
		if st.Templates > 4 || st.HeldBytes > 2000 || len(a.deps.Sampling.All()) > 4 {
			t.Fatalf("grown: %+v, %d rates", st, len(a.deps.Sampling.All()))
		}
		if s := &a.stats; s.Records+s.OptionRecords > uint64(len(in))*4 { // held sets may be read again after a replay
			t.Fatalf("%d records of %d bytes", s.Records, len(in))
		}
		for i := range a.list {
			if r := &a.list[i]; r.Duration < 0 || !(r.SamplingRate >= 0 && r.SamplingRate <= sampling.MaxRate) {
				t.Fatalf("record %+v", *r)
			}
		}
		if b := converse(); a.stats != b.stats || len(a.list) != len(b.list) {
			t.Fatalf("not deterministic:\n%s\n%s", codes(&a.stats), codes(&b.stats))
		}
	})
}
