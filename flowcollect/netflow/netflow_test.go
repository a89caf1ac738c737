package netflow

import (
	"encoding/binary"
	"testing"

	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/dataset"
	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/sampling"
	"github.com/weir-ddos/weir/flowcollect/template"
)

// What the records hold is tested in flowcollect/dataset, with captures, for NetFlow and IPFIX alike. Here: the datagram itself.

func decoder(t testing.TB) *Decoder {
	t.Helper()
	reg, err := template.New(template.Default())
	if err != nil {
		t.Fatal(err)
	}
	table, err := sampling.New(sampling.Default())
	if err != nil {
		t.Fatal(err)
	}
	return New(dataset.Deps{Templates: reg, Sampling: table, Wire: &wire.Decoder{}})
}

func words(v ...uint32) (b []byte) {
	for _, x := range v {
		b = binary.BigEndian.AppendUint32(b, x)
	}
	return b
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		in   []byte
		want record.Header
		code record.Code
	}{
		{"v1", words(1<<16, 5000, 1700000000, 7), record.Header{Protocol: record.NetFlow1, Uptime: 5000, Exported: 1700000000e9 + 7, KnownUnits: true}, record.OK},
		{"v5", words(5<<16, 5000, 1700000000, 7, 99, 0x0102_4064), record.Header{Protocol: record.NetFlow5, Uptime: 5000, Exported: 1700000000e9 + 7, Sequence: 99, HasSequence: true, KnownUnits: true, Domain: 0x0102}, record.OK},
		{"v7", words(7<<16, 5000, 1700000000, 7, 99, 0xffffffff), record.Header{Protocol: record.NetFlow7, Uptime: 5000, Exported: 1700000000e9 + 7, Sequence: 99, HasSequence: true, KnownUnits: true}, record.OK},
		{"v9", words(9<<16, 5000, 1700000000, 99, 0xdeadbeef), record.Header{Protocol: record.NetFlow9, Uptime: 5000, Exported: 1700000000e9, Sequence: 99, Units: 1, HasSequence: true, KnownUnits: true, Domain: 0xdeadbeef}, record.OK},
		{"v8", words(8<<16, 5000, 1700000000, 99, 5, 5, 5), record.Header{}, record.BadVersion},
		{"IPFIX", words(10<<16|16, 5, 5, 5), record.Header{}, record.BadVersion},
		{"v5 cut", words(5<<16, 5000, 1700000000, 7, 99), record.Header{}, record.ShortDatagram},
	} {
		var st record.Stats
		code := decoder(t).Decode(&record.Datagram{Payload: c.in}, &st, record.SinkFunc(func(*record.Record) { t.Errorf("%s: a record", c.name) }))
		if code != c.code || st.Last != c.want || st.Codes[c.code] != 1 || st.Datagrams != 1 {
			t.Errorf("%s: %v, %+v, want %v, %+v", c.name, code, st.Last, c.code, c.want)
		}
	}
}

// FuzzDecode sends one datagram twice, so that its templates serve it: no panic, every datagram ends in a code, no more records than bytes.
func FuzzDecode(f *testing.F) {
	f.Add(append(words(9<<16|2, 5000, 1700000000, 99, 1), 0, 0, 0, 16, 1, 0, 0, 2, 0, 8, 0, 4, 0, 1, 0, 4, 1, 0, 0, 12, 10, 0, 0, 1, 0, 0, 0, 9))
	f.Add(append(words(9<<16|2, 5000, 1700000000, 99, 1), 0, 1, 0, 18, 1, 0, 0, 4, 0, 4, 0, 1, 0, 4, 0, 34, 0, 4, 1, 0, 0, 12, 10, 0, 0, 1, 0, 0, 0, 9))
	for _, v := range []uint32{1, 5, 7} {
		f.Add(append(words(v<<16|2, 5000, 1700000000, 7, 99, 0x40640000), make([]byte, 104)...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		d := decoder(t)
		var st record.Stats
		seen := uint64(0)
		for range 2 {
			d.Decode(&record.Datagram{Payload: in, Arrived: 1}, &st, record.SinkFunc(func(r *record.Record) {
				if seen++; r.Duration < 0 {
					t.Fatalf("%+v", *r)
				}
			}))
		}
		ended := uint64(0)
		for c, n := range st.Codes {
			if record.Code(c) == record.OK || record.Code(c).Trouble() {
				ended += n
			}
		}
		if st.Datagrams != 2 || ended < 2 || st.Records > uint64(4*len(in)) || seen < st.Records {
			t.Fatalf("%+v, %d records seen", st, seen)
		}
	})
}
