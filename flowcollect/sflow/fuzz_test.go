package sflow

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/dataplane/packetbuild"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/record"
)

// full is a datagram of seven samples with 128-byte headers, as switches send them.
func full() x {
	var samples []x
	for i := range 7 {
		frame := packetbuild.Ether().IPv4("10.0.0.1", "192.168.1.9").TCP(uint16(1000+i), 443, wire.FlagACK).Payload(1400).Bytes()
		if i%2 == 1 {
			frame = packetbuild.Ether().IPv6("2001:db8::1", "2001:db8::2").UDP(uint16(1000+i), 443).Payload(1200).Bytes()
		}
		samples = append(samples, flow(raw(frame), item(1001, 10, 0, 20, 0)))
	}
	return v5(samples...)
}

// checker holds each record to what every record must be.
type checker struct {
	t       *testing.T
	data, n uint64
}

func (c *checker) Record(r *record.Record) {
	c.n++
	if r.Kind != record.SectionTunnel && r.Kind != record.Discard {
		c.data++
	}
	if r.Packets != 1 || r.Protocol < record.SFlow2 || r.Protocol > record.SFlow5 || r.Bytes > 1<<32 {
		c.t.Errorf("%+v", r)
	}
	if r.Traffic() && r.Class() > 9 {
		c.t.Errorf("class of %+v", r)
	}
}

func FuzzDecode(f *testing.F) {
	for _, b := range []x{
		vector4(), vector2(), full(), v5(discard(257, raw(tcp6(9)))),
		v5(expanded([2]uint32{0, 5}, [2]uint32{1, 261}, raw(udp4(9)), item(1024, fields4(150, 17, "203.0.113.1", "203.0.113.2", 4000, 4789, 0, 0)))),
		v5(flow(item(1003, "172.16.0.2", 65000, 65001, 65002, 2, 2, 2, 65010, 65011, 1, 1, 65012, 1, 7, 100), item(1, 13, 136, 0, udp4(9)[10:]))),
		v5(item(4, 1, 0, 3, 1, item(1, generic))),
	} {
		f.Add([]byte(b))
	}
	if files, err := filepath.Glob(filepath.Join("..", "..", "..", "shared", "data", "flow", "*sflow*.pcap")); err == nil {
		for _, name := range files {
			for _, u := range payloads(f, name) {
				f.Add(u.payload)
			}
		}
	}
	var both Config
	for i := range both.Wire.Charge {
		both.Wire.Charge[i] = wire.ChargeBoth
	}
	both.Bytes = IPLength
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, cfg := range []Config{{}, both} {
			var st record.Stats
			c := &checker{t: t}
			var counters counterSink
			d := New(cfg, &counters)
			d.Decode(&record.Datagram{Payload: b}, &st, c)
			if st.Records != c.data || st.Datagrams != 1 || c.n > uint64(len(b)) {
				t.Errorf("%d records counted, %d given, %d in all", st.Records, c.data, c.n)
			}
			if uint64(len(counters.got)) > 0 && st.CounterSamples == 0 && d.version == record.SFlow5 {
				t.Error("counters of no sample")
			}
		}
	})
}

type nothing struct{ n uint64 }

func (s *nothing) Record(r *record.Record) { s.n += r.Bytes }

func (s *nothing) Counters(c *Counters) { s.n += c.InOctets }

func TestAllocs(t *testing.T) {
	var st record.Stats
	var sink nothing
	d := New(Config{}, &sink)
	for name, b := range map[string]x{
		"v5": full(), "v4": vector4(), "v2": vector2(), "short": full()[:500], "discards": v5(discard(1, raw(tcp6(5)))),
		"counters": v5(item(2, 1, 3, 1, item(1, generic))),
	} {
		dg := record.Datagram{Payload: b}
		if n := testing.AllocsPerRun(100, func() { d.Decode(&dg, &st, &sink) }); n != 0 {
			t.Errorf("%s: %v allocations a datagram", name, n)
		}
	}
	if sink.n == 0 {
		t.Error("nothing was decoded")
	}
}

// BenchmarkDecode: seven samples of 128-byte headers a datagram.
func BenchmarkDecode(b *testing.B) {
	var st record.Stats
	var sink nothing
	d := New(Config{}, nil)
	dg := record.Datagram{Payload: full()}
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		d.Decode(&dg, &st, &sink)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(st.Records), "ns/record")
	b.ReportMetric(float64(cpuTime(b)-before)/float64(st.Records), "cpu-ns/record") // what counts on a shared machine
}

// cpuTime is what this process has used, in ns.
func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
