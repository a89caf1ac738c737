package dataset_test

import (
	"math/rand/v2"
	"testing"

	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/dataset"
	"github.com/weir-ddos/weir/flowcollect/ipfix"
	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/sampling"
	"github.com/weir-ddos/weir/flowcollect/template"
)

// elements are what random templates are made of: every element that is read, at a length that it may have.
var elements = []el{
	{8, 4, 0},
	{12, 4, 0},
	{27, 16, 0},
	{28, 16, 0},
	{15, 4, 0},
	{62, 16, 0},
	{7, 2, 0},
	{11, 2, 0},
	{4, 1, 0},
	{6, 1, 0},
	{6, 2, 0},
	{5, 1, 0},
	{10, 4, 0},
	{14, 2, 0},
	{16, 4, 0},
	{17, 2, 0},
	{58, 2, 0},
	{59, 2, 0},
	{9, 1, 0},
	{13, 1, 0},
	{70, 3, 0},
	{70, 4, 0},
	{61, 1, 0},
	{89, 1, 0},
	{88, 2, 0},
	{197, 1, 0},
	{32, 2, 0},
	{176, 1, 0},
	{177, 1, 0},
	{136, 1, 0},
	{132, 8, 0},
	{133, 4, 0},
	{1, 8, 0},
	{1, 4, 0},
	{23, 8, 0},
	{2, 8, 0},
	{2, 3, 0},
	{24, 4, 0},
	{352, 8, 0},
	{85, 8, 0},
	{86, 8, 0},
	{152, 8, 0},
	{153, 8, 0},
	{22, 4, 0},
	{21, 4, 0},
	{161, 4, 0},
	{34, 4, 0},
	{48, 2, 0},
	{302, 8, 0},
	{1, 8, 29305},
	{2, 8, 29305},
	{137, 2, 2636},
	{82, 65535, 0},
	{4, 65535, 0},
	{999, 5, 0},
}

// TestRecordsStandAlone: what a record says does not depend on the records before it, whatever the template.
func TestRecordsStandAlone(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		fields := make([]el, 1+rng.IntN(12))
		for i := range fields {
			fields[i] = elements[rng.IntN(len(elements))]
		}
		records := make([][]byte, 5)
		for i := range records {
			records[i] = randomRecord(rng, fields)
		}
		announce := msg10(0, set(2, tpl(300, fields...)))
		together := decodeAll(t, announce, msg10(0, set(300, records...)))
		var apart []record.Record
		for _, r := range records {
			apart = append(apart, decodeAll(t, announce, msg10(0, set(300, r)))...)
		}
		if len(together) != len(apart) {
			t.Fatalf("%v: %d records together, %d apart", fields, len(together), len(apart))
		}
		for i := range apart {
			if together[i] != apart[i] {
				t.Fatalf("%v: record %d together\n%+v\napart\n%+v", fields, i, together[i], apart[i])
			}
		}
	}
}

// randomRecord is a data record; half of its fields are zero. Its first byte is not, so that it is no padding.
func randomRecord(rng *rand.Rand, fields []el) (b []byte) {
	for i, f := range fields {
		n := f.length
		if f.length == 65535 {
			n = 1 + rng.IntN(9)
			b = append(b, byte(n))
		}
		v := make([]byte, n)
		if i == 0 || rng.IntN(2) == 0 {
			for k := range v {
				v[k] = byte(1 + rng.IntN(255))
			}
		}
		if f.id == 4 && rng.IntN(2) == 0 {
			v[n-1] = wire.ProtoICMP
		}
		b = append(b, v...)
	}
	return b
}

// decodeAll decodes the datagrams one after the other and returns the records.
func decodeAll(t *testing.T, datagrams ...[]byte) (list []record.Record) {
	t.Helper()
	reg, err := template.New(template.Default())
	if err != nil {
		t.Fatal(err)
	}
	table, err := sampling.New(sampling.Default())
	if err != nil {
		t.Fatal(err)
	}
	d := ipfix.New(dataset.Deps{Templates: reg, Sampling: table, Wire: &wire.Decoder{}})
	var st record.Stats
	for _, b := range datagrams {
		d.Decode(&record.Datagram{Exporter: exporter, Arrived: arrived, Payload: b}, &st, record.SinkFunc(func(r *record.Record) { list = append(list, *r) }))
	}
	return list
}
