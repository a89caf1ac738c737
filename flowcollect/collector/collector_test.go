package collector

import (
	"context"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/flowcollect/filter"
	"github.com/weir-ddos/weir/flowcollect/listen/freeport"
	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/spread"
)

var be = binary.BigEndian

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func addr16(s string) [16]byte { return netip.MustParseAddr(s).As16() }

func table(t testing.TB) *nets.Table {
	t.Helper()
	n, err := nets.New(nets.Spec{Networks: []netip.Prefix{pfx("10.0.0.0/8"), pfx("2001:db8::/32")}})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func deps(t testing.TB) Deps {
	t.Helper()
	begin := time.Now()
	return Deps{
		Nets: table(t), Seed: traffic.NewSeed(rand.New(rand.NewPCG(1, 2)).Uint64), Clock: func() int64 { return int64(time.Since(begin)) },
		Traffic: traffic.Config{Hosts: 1 << 12}, Tick: time.Second, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}
}

// loopback is a configuration with one listener on a free port.
func loopback(t testing.TB, address string, sockets int) Config {
	t.Helper()
	at, err := freeport.UDP(netip.MustParseAddr(address))
	if err != nil {
		t.Skipf("no %s here: %v", address, err)
	}
	cfg := DefaultConfig()
	cfg.Templates.Path = ""
	cfg.SpreadHosts = spread.MinEntries
	cfg.Listeners = []Listener{{Address: at.Addr(), Ports: []uint16{at.Port()}, Sockets: sockets, Buffer: 4 << 20}}
	return cfg
}

// running is a collector that receives, and somebody who sends to it.
type running struct {
	*Collector
	t    *testing.T
	conn *net.UDPConn
}

func run(t *testing.T, cfg Config, d Deps) *running {
	t.Helper()
	c, err := New(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{Collector: c, t: t}
	t.Cleanup(r.end)
	if err := c.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(c.Addresses()[0]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.conn.Close() })
	return r
}

func (r *running) end() {
	if err := r.Stop(); err != nil {
		r.t.Error(err)
	}
	if err := r.Free(); err != nil && !strings.Contains(err.Error(), "freed") {
		r.t.Error(err)
	}
}

func (r *running) send(b []byte) {
	r.t.Helper()
	if _, err := r.conn.Write(b); err != nil {
		r.t.Fatal(err)
	}
}

// wait polls until the collector has read n datagrams.
func (r *running) wait(n uint64) Stats {
	r.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		s := r.Stats()
		if s.Sums.Datagrams >= n {
			return s
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%d of %d datagrams were read", s.Sums.Datagrams, n)
		}
		time.Sleep(time.Millisecond)
	}
}

// counted takes what all shards have counted: rows by address and direction, and the totals.
func (r *running) counted() (rows map[string]traffic.Cells, records traffic.Counter) {
	r.t.Helper()
	rows = make(map[string]traffic.Cells)
	for _, s := range r.Shards() {
		for range 2 {
			s.Request()
			var h *traffic.Half
			for deadline := time.Now().Add(time.Minute); h == nil; h = s.Collect() {
				if time.Now().After(deadline) {
					r.t.Fatal("a worker does not answer")
				}
			}
			records.Add(h.Records)
			for i := range h.Table().Len() {
				var row traffic.Host
				h.Table().Read(i, &row)
				key := netip.AddrFrom16(row.Addr).Unmap().String() + " " + row.Direction.String()
				cells := rows[key]
				cells.Add(&row.Cells)
				rows[key] = cells
			}
			s.Clear()
		}
	}
	return rows, records
}

// flow5 is a record of NetFlow v5.
type flow5 struct {
	src, dst        string
	packets, octets uint32
	first, last     uint32 // uptime in ms
	proto, flags    byte
	input, output   uint16
}

// netflow5 builds a datagram: uptime 100 s.
func netflow5(sequence uint32, sampling uint16, flows ...flow5) []byte {
	b := make([]byte, 24, 24+48*len(flows))
	be.PutUint16(b, 5)
	be.PutUint16(b[2:], uint16(len(flows)))
	be.PutUint32(b[4:], 100_000)
	be.PutUint32(b[8:], uint32(time.Now().Unix()))
	be.PutUint32(b[16:], sequence)
	be.PutUint16(b[22:], 1<<14|sampling)
	for _, f := range flows {
		r := make([]byte, 48)
		src, dst := netip.MustParseAddr(f.src).As4(), netip.MustParseAddr(f.dst).As4()
		copy(r, src[:])
		copy(r[4:], dst[:])
		be.PutUint16(r[12:], f.input)
		be.PutUint16(r[14:], f.output)
		be.PutUint32(r[16:], f.packets)
		be.PutUint32(r[20:], f.octets)
		be.PutUint32(r[24:], f.first)
		be.PutUint32(r[28:], f.last)
		be.PutUint16(r[32:], 1234)
		be.PutUint16(r[34:], 53)
		r[37], r[38] = f.flags, f.proto
		b = append(b, r...)
	}
	return b
}

// v9set appends a set.
func v9set(b []byte, id uint16, body []byte) []byte {
	b = be.AppendUint16(b, id)
	b = be.AppendUint16(b, uint16(4+len(body)))
	return append(b, body...)
}

func v9header(sequence uint32) []byte {
	b := make([]byte, 20)
	be.PutUint16(b, 9)
	be.PutUint16(b[2:], 1)
	be.PutUint32(b[4:], 100_000)
	be.PutUint32(b[8:], uint32(time.Now().Unix()))
	be.PutUint32(b[12:], sequence)
	be.PutUint32(b[16:], 7)
	return b
}

// v9template announces template 256: IPv6 source and destination, protocol, packets, bytes.
func v9template(sequence uint32) []byte {
	body := []byte{}
	for _, f := range []uint16{256, 5, 27, 16, 28, 16, 4, 1, 2, 4, 1, 4} {
		body = be.AppendUint16(body, f)
	}
	return v9set(v9header(sequence), 0, body)
}

func v9data(sequence uint32, src, dst string, proto byte, packets, octets uint32) []byte {
	s, d := addr16(src), addr16(dst)
	body := append(append([]byte{}, s[:]...), d[:]...)
	body = append(body, proto)
	body = be.AppendUint32(body, packets)
	body = be.AppendUint32(body, octets)
	return v9set(v9header(sequence), 256, body)
}

func TestDatagramsReachTheCounters(t *testing.T) {
	t.Parallel()
	for _, sockets := range []int{1, 3} {
		for _, at := range []string{"127.0.0.1", "::1"} {
			r := run(t, loopback(t, at, sockets), deps(t))
			r.send(v9template(0))
			r.wait(1)
			for i := range uint32(50) {
				r.send(netflow5(2*i, 10, flow5{src: "192.0.2.1", dst: "10.0.0.1", packets: 3, octets: 300, proto: 17, first: 99_000, last: 99_500},
					flow5{src: "10.0.0.2", dst: "192.0.2.1", packets: 1, octets: 40, proto: 6, flags: 2, first: 99_000, last: 99_000}))
				r.send(v9data(i+1, "2001:db9::1", "2001:db8::1", 58, 7, 700))
			}
			s := r.wait(101)
			rows, records := r.counted()
			if got := rows["10.0.0.1 incoming"][traffic.ClassUDP]; got != (traffic.Counter{Packets: 1500, Bytes: 150_000}) {
				t.Errorf("%s, %d sockets: v5 incoming %+v", at, sockets, got)
			}
			if got := rows["10.0.0.2 outgoing"][traffic.ClassTCPSYN]; got != (traffic.Counter{Packets: 500, Bytes: 20_000}) {
				t.Errorf("%s, %d sockets: v5 outgoing %+v", at, sockets, got)
			}
			if got := rows["2001:db8::1 incoming"][traffic.ClassICMP]; got != (traffic.Counter{Packets: 350, Bytes: 35_000}) {
				t.Errorf("%s, %d sockets: v9 incoming %+v", at, sockets, got)
			}
			if want := (traffic.Counter{Packets: 2350, Bytes: 205_000}); records != want || s.Counted != want {
				t.Errorf("%s, %d sockets: records %+v, counted %+v, want %+v", at, sockets, records, s.Counted, want)
			}
			r.checkExporter(at)
		}
	}
}

func (r *running) checkExporter(at string) {
	r.t.Helper()
	list := r.Exporters()
	if len(list) != 1 || list[0].Address != netip.MustParseAddr(at) {
		r.t.Fatalf("%s: exporters %+v", at, list)
	}
	e := list[0]
	if e.Datagrams["netflow5"] != 50 || e.Datagrams["netflow9"] != 51 || e.Records != 150 || e.Templates != 1 || len(e.Lost) != 0 || e.Restarts != 0 {
		r.t.Errorf("%s: %+v", at, e)
	}
	if e.ClockSkew < -60 || e.ClockSkew > 60 || time.Since(e.LastSeen) > time.Minute || e.UnknownRate != 50 {
		r.t.Errorf("%s: %+v", at, e)
	}
	if n := len(r.Rates()); n != 0 && r.Rates()[0].Rate != 10 {
		r.t.Errorf("%s: rates %+v", at, r.Rates())
	}
}

// The false positive that this exists for: 6 GB in one record of a minute. At 1 Gbit/s of threshold the record taken at once is
// 48 times above it for a second; spread it is 0.8 of it.
func TestALongDownloadIsNoFlood(t *testing.T) {
	t.Parallel()
	const limit = 1e9 / 8
	for _, mode := range []string{"on", "off"} {
		cfg := loopback(t, "127.0.0.1", 1)
		cfg.Spread = mode
		r := run(t, cfg, deps(t))
		r.send(netflow5(0, 1000, flow5{src: "192.0.2.1", dst: "10.0.0.1", packets: 4000, octets: 6_000_000, proto: 6, flags: 0x1b, first: 40_000, last: 100_000}))
		r.wait(1)
		rows, _ := r.counted()
		var sum traffic.Counter
		for _, c := range rows["10.0.0.1 incoming"] {
			sum.Add(c)
		}
		if above := float64(sum.Bytes) > limit; above == (mode == "on") {
			t.Errorf("spread %s: %d bytes are charged in the first two epochs, the limit is %d", mode, sum.Bytes, int64(limit))
		}
		if mode == "on" {
			if p := r.Stats().Spread.Pending.Bytes; p < 5_700_000_000 {
				t.Errorf("%d bytes are still to be charged", p)
			}
			// Its SYN was one sampled packet, not 4000.
			if syn := rows["10.0.0.1 incoming"][traffic.ClassTCPSYN].Packets; syn > 1000 {
				t.Errorf("%d SYNs", syn)
			}
		}
	}
}

func TestRefusedSendersAreCounted(t *testing.T) {
	t.Parallel()
	cfg := loopback(t, "127.0.0.1", 1)
	cfg.Allow = []netip.Prefix{pfx("192.0.2.0/24")}
	r := run(t, cfg, deps(t))
	r.send(netflow5(0, 0, flow5{src: "192.0.2.1", dst: "10.0.0.1", packets: 1, octets: 100, proto: 17}))
	deadline := time.Now().Add(time.Minute)
	for len(r.Stats().Refused) == 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	s := r.Stats()
	if len(s.Refused) != 1 || s.Refused[0].Network != pfx("127.0.0.0/24") || s.Refused[0].Datagrams != 1 || s.Counted.Packets != 0 {
		t.Errorf("%+v", s)
	}
	if list := r.Exporters(); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

func TestGarbageAndForeignProtocols(t *testing.T) {
	t.Parallel()
	cfg := loopback(t, "127.0.0.1", 1)
	cfg.Listeners[0].Protocol = "sflow"
	r := run(t, cfg, deps(t))
	r.send([]byte{})
	r.send([]byte{0, 5})
	r.send([]byte("GET / HTTP/1.0\r\n\r\n"))
	r.send(netflow5(0, 0, flow5{src: "192.0.2.1", dst: "10.0.0.1", packets: 1, octets: 100, proto: 17}))
	s := r.wait(4)
	if s.Sums.Codes[record.BadVersion] != 4 || s.Counted.Packets != 0 || s.Panics != 0 {
		t.Errorf("%+v", s.Sums)
	}
}

// keep is a function that is a keeper.
type keep func(netip.Addr, *record.Record) bool

func (f keep) Keep(a netip.Addr, r *record.Record) bool { return f(a, r) }
func (keep) Flush()                                     {}
func (keep) Close()                                     {}

func TestFilterAndPanic(t *testing.T) {
	t.Parallel()
	r := run(t, loopback(t, "127.0.0.1", 1), deps(t))
	judge := keep(func(a netip.Addr, r *record.Record) bool {
		if r.Proto == 99 {
			panic("a script that goes wrong")
		}
		return a == netip.MustParseAddr("127.0.0.1") && r.Proto != 17
	})
	r.filters.Store(&filters{worker: func() (keeper, error) { return judge, nil }, stats: func() filter.Stats { return filter.Stats{} }})
	r.send(netflow5(0, 0, flow5{src: "192.0.2.1", dst: "10.0.0.1", packets: 1, octets: 100, proto: 17}))
	r.send(netflow5(1, 0, flow5{src: "192.0.2.1", dst: "10.0.0.1", packets: 1, octets: 100, proto: 99}))
	r.send(netflow5(2, 0, flow5{src: "192.0.2.1", dst: "10.0.0.1", packets: 5, octets: 500, proto: 6}))
	s := r.wait(3)
	if s.Filtered != 1 || s.Panics != 1 || s.Counted.Packets != 5 {
		t.Errorf("filtered %d, panics %d, counted %+v", s.Filtered, s.Panics, s.Counted)
	}
	if err := r.SetFilter(filter.Default()); err != nil {
		t.Fatal(err)
	}
	r.send(netflow5(3, 0, flow5{src: "192.0.2.1", dst: "10.0.0.1", packets: 7, octets: 500, proto: 17}))
	if s := r.wait(4); s.Counted.Packets != 12 {
		t.Errorf("without a filter: %+v", s.Counted)
	}
}

// Rules and scripts change while records come, and one that is wrong leaves the old one in force.
func TestRulesAndScripts(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "netflow.lua")
	if err := os.WriteFile(script, []byte("function process_netflow(agent, flow) return not (agent == '127.0.0.1' and flow.packets == 3) end"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := loopback(t, "127.0.0.1", 1)
	cfg.Filter.Rules = []string{"drop udp and dst port 53 from 127.0.0.0/8"}
	cfg.Filter.LuaNetflow = script
	r := run(t, cfg, deps(t))
	send := func(sequence uint32) {
		r.send(netflow5(sequence, 0, flow5{src: "192.0.2.1", dst: "10.0.0.1", packets: 1, octets: 100, proto: 17},
			flow5{src: "192.0.2.1", dst: "10.0.0.1", packets: 3, octets: 100, proto: 6}, flow5{src: "192.0.2.1", dst: "10.0.0.1", packets: 5, octets: 100, proto: 6}))
	}
	send(0)
	s := r.wait(1)
	if s.Counted.Packets != 5 || s.Filtered != 2 || s.Filter.Dropped != 2 || s.Filter.Rules[0].Records != 1 || s.Filter.Hooks[0].Dropped != 1 {
		t.Errorf("counted %+v, filtered %d, %+v", s.Counted, s.Filtered, s.Filter)
	}
	next := cfg.Filter
	next.LuaNetflow = ""
	if err := r.SetFilter(next); err != nil {
		t.Fatal(err)
	}
	send(3)
	if s := r.wait(2); s.Counted.Packets != 13 {
		t.Errorf("without the script: %+v", s.Counted)
	}
	next.Rules = []string{"drop nonsense"}
	if err := r.SetFilter(next); err == nil {
		t.Error("nonsense is a rule")
	}
	send(6)
	if s := r.wait(3); s.Counted.Packets != 21 {
		t.Errorf("after a wrong one: %+v", s.Counted)
	}
}

// A restart decodes at once: templates and rates are on disk, and a successor has them from its predecessor.
func TestWhatExportersSaidSurvives(t *testing.T) {
	t.Parallel()
	cfg := loopback(t, "::1", 1)
	cfg.Templates.Path = filepath.Join(t.TempDir(), "templates.json")
	cfg.OtherDomains = true
	first := run(t, cfg, deps(t))
	first.send(v9template(0))
	// Options template 257, scope system: sampling interval (34), and its data.
	options := be.AppendUint16(nil, 257)
	for _, f := range []uint16{4, 4, 1, 4, 34, 4} {
		options = be.AppendUint16(options, f)
	}
	first.send(v9set(v9header(1), 1, options))
	first.send(v9set(v9header(2), 257, []byte{0, 0, 0, 0, 0, 0, 0, 100}))
	first.send(v9data(3, "2001:db9::1", "2001:db8::1", 17, 2, 200))
	if s := first.wait(4); s.Counted.Packets != 200 {
		t.Fatalf("before: %+v, rates %+v", s.Counted, first.Rates())
	}
	first.end()

	fromDisk := run(t, cfg, deps(t))
	fromDisk.send(v9data(4, "2001:db9::1", "2001:db8::1", 17, 3, 300))
	if s := fromDisk.wait(1); s.Counted.Packets != 300 || s.Sums.UnknownTemplateSets != 0 {
		t.Errorf("from disk: %+v, unknown templates %d", s.Counted, s.Sums.UnknownTemplateSets)
	}
	fromDisk.end()

	d := deps(t)
	d.After = fromDisk.Collector
	after := run(t, cfg, d)
	after.send(v9data(5, "2001:db9::1", "2001:db8::1", 17, 4, 400))
	if s := after.wait(2); s.Counted.Packets != 700 {
		t.Errorf("after another: %+v", s.Counted)
	}
}

// A change of listeners loses no counter, and what long records are still to be charged with is charged by the successor.
func TestSuccessorGoesOn(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"127.0.0.1", "::1"} {
		cfg := loopback(t, at, 2)
		first := run(t, cfg, deps(t))
		for i := range uint32(20) {
			first.send(netflow5(i, 0, flow5{src: "192.0.2.1", dst: "10.0.0.1", packets: 600, octets: 600_000, proto: 6, first: 98_000, last: 100_000}))
		}
		first.wait(20)
		if err := first.Stop(); err != nil {
			t.Fatal(err)
		}
		_, before := first.counted() // as the merger does with shards whose owner is gone
		first.end()
		cfg.Listeners[0].Sockets = 1
		d := deps(t)
		d.After = first.Collector
		second := run(t, cfg, d)
		second.send(netflow5(20, 0, flow5{src: "192.0.2.1", dst: "10.0.0.1", packets: 600, octets: 600_000, proto: 6, first: 100_000, last: 100_000}))
		if s := second.wait(21); s.Counted.Packets != 21*600 || s.Datagrams[record.NetFlow5] != 21 || s.Records[record.NetFlow5] != 21 {
			t.Errorf("%s: %+v", at, s)
		}
		if list := second.Exporters(); len(list) != 1 || list[0].Records != 21 || len(list[0].Lost) != 0 || list[0].Restarts != 0 {
			t.Errorf("%s: %+v", at, list)
		}
		after := traffic.Counter{}
		for deadline := time.Now().Add(time.Minute); before.Packets+after.Packets < 21*600; {
			_, n := second.counted()
			after.Add(n)
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d before and %d after, %d together", at, before.Packets, after.Packets, 21*600)
			}
		}
		if before.Packets+after.Packets != 21*600 || before.Bytes+after.Bytes != 21*600_000 {
			t.Errorf("%s: %+v before and %+v after", at, before, after)
		}
	}
}

func TestStopIsIdempotentAndPortsAreFree(t *testing.T) {
	t.Parallel()
	cfg := loopback(t, "127.0.0.1", 2)
	r := run(t, cfg, deps(t))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { _ = r.Stop() })
	}
	wg.Wait()
	again, err := New(cfg, deps(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Stop(); err != nil {
		t.Error(err)
	}
	if err := again.Free(); err != nil {
		t.Error(err)
	}
}

// BenchmarkDatagram is a full datagram of 30 short records, from the batch to the shard: decoding, sampling, counting.
func BenchmarkDatagram(b *testing.B) {
	for _, bench := range []struct {
		name  string
		hosts uint32
		long  bool
	}{{"hot", 1000, false}, {"1M hosts", 1 << 20, false}, {"hot, a minute each", 1000, true}} {
		b.Run(bench.name, func(b *testing.B) {
			cfg := loopback(b, "127.0.0.1", 1)
			d := deps(b)
			d.Traffic.Hosts = 1 << 21
			cfg.SpreadHosts = 1 << 14
			c, err := New(cfg, d)
			if err != nil {
				b.Fatal(err)
			}
			w := c.workers[0]
			w.shard.Enter()
			w.poll()
			r := rand.New(rand.NewPCG(5, 6))
			list := make([][]byte, 4096)
			for i := range list {
				flows := make([]flow5, 30)
				for j := range flows {
					n := r.Uint32N(bench.hosts)
					flows[j] = flow5{src: "192.0.2.1", dst: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}).String(), packets: 3, octets: 900, proto: 17, first: 99_500, last: 99_700}
					if bench.long {
						flows[j].first = 39_700
					}
				}
				list[i] = netflow5(0, 100, flows...)
			}
			source := addr16("127.0.0.1")
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				w.datagram(&source, list[i&4095])
				if i++; i%64 == 0 {
					w.burst.Flush(w.half)
				}
			}
			b.ReportMetric(float64(b.N)*30/b.Elapsed().Seconds()/1e6, "Mrec/s")
			w.shard.Leave()
			if err := c.Stop(); err != nil {
				b.Fatal(err)
			}
			if err := c.Free(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// Each message of a datagram has a sequence number of its own, per observation domain.
func TestMessagesInOneDatagram(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"127.0.0.1", "::1"} {
		r := run(t, loopback(t, at, 1), deps(t))
		message := func(domain, sequence uint32, sets ...[]byte) []byte {
			b := []byte{0, 10, 0, 0}
			b = words(b, uint32(time.Now().Unix()), sequence, domain)
			for _, s := range sets {
				b = append(b, s...)
			}
			be.PutUint16(b[2:], uint16(len(b)))
			return b
		}
		template := v9template(0)[20:]
		be.PutUint16(template, 2)
		data := v9data(0, "2001:db9::1", "2001:db8::1", 17, 2, 200)[20:]
		r.send(append(message(1, 0, template, data), message(2, 0, template, data, data)...))
		r.send(append(message(1, 1, data), message(2, 2, data)...))
		r.send(append(message(1, 2, data), message(2, 5, data)...)) // two records of domain 2 are missing
		s := r.wait(3)
		if e := r.Exporters()[0]; s.Counted.Packets != 14 || e.Lost["ipfix"] != 2 || e.Restarts != 0 || e.Datagrams["ipfix"] != 3 {
			t.Errorf("%s: counted %+v, %+v", at, s.Counted, e)
		}
	}
}
