package collector

import (
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/spread"
)

func TestSequences(t *testing.T) {
	t.Parallel()
	type step struct {
		seq, units, uptime   uint32
		options              uint32
		lost, late, restarts uint64
		unknown              bool
	}
	for _, c := range []struct {
		name     string
		protocol record.Protocol
		steps    []step
	}{
		{"in order", record.NetFlow9, []step{{seq: 5, units: 1}, {seq: 6, units: 1, uptime: 1}, {seq: 7, units: 1, uptime: 2}}},
		{"lost datagrams", record.NetFlow9, []step{{seq: 5, units: 1}, {seq: 9, units: 1, lost: 3}}},
		{"lost records of v5", record.NetFlow5, []step{{seq: 100, units: 30}, {seq: 160, units: 30, lost: 30}}},
		{"late, and so not lost", record.SFlow5, []step{{seq: 5, units: 1}, {seq: 7, units: 1, lost: 1}, {seq: 6, units: 1, late: 1}, {seq: 8, units: 1, late: 1}}},
		{"wraps", record.NetFlow9, []step{{seq: 1<<32 - 1, units: 1}, {seq: 0, units: 1}, {seq: 2, units: 1, lost: 1}}},
		{"restart", record.NetFlow5, []step{{seq: 1 << 20, units: 30, uptime: 1 << 30}, {seq: 0, units: 30, uptime: 1000, restarts: 1}, {seq: 30, units: 30, uptime: 2000, restarts: 1}}},
		{"restart of a young one", record.NetFlow9, []step{{seq: 500, units: 1, uptime: 90_000}, {seq: 0, units: 1, uptime: 1000, restarts: 1}}},
		{"far ahead is another sequence", record.IPFIX, []step{{seq: 0, units: 10}, {seq: 1 << 28, units: 10, restarts: 1}}},
		{"counts its own records in", record.IPFIX, []step{{seq: 10, units: 10}, {seq: 15, units: 5}, {seq: 35, units: 20}, {seq: 65, units: 10, lost: 20}}},
		{"a loss that looks like it", record.NetFlow5, []step{{seq: 100, units: 20}, {seq: 130, units: 30}, {seq: 160, units: 10}, {seq: 170, units: 10}}},
		{"softflowd: its own records in, options out", record.IPFIX, []step{
			{seq: 24, units: 25, options: 1},
			{seq: 57, units: 33},
			{seq: 83, units: 26},
			{seq: 103, units: 21, options: 1},
			{seq: 120, units: 17},
			{seq: 140, units: 20},
			{seq: 160, units: 21, options: 1},
			{seq: 190, units: 10, lost: 20},
			{seq: 200, units: 11, options: 1, lost: 20},
			{seq: 202, units: 2, lost: 20},
		}},
		{"softflowd, full messages", record.IPFIX, []step{
			{seq: 20, units: 21, options: 1},
			{seq: 40, units: 20},
			{seq: 60, units: 20},
			{seq: 80, units: 21, options: 1},
			{seq: 100, units: 20},
			{seq: 107, units: 7},
			{seq: 127, units: 21, options: 1},
			{seq: 167, units: 20, lost: 20},
			{seq: 174, units: 7, lost: 20},
		}},
		{"options count, and are lost", record.IPFIX, []step{
			{seq: 0, units: 20}, {seq: 20, units: 5, options: 5}, {seq: 25, units: 20}, {seq: 45, units: 7, options: 2}, {seq: 54, units: 1, lost: 2}, {seq: 55, units: 3, lost: 2},
		}},
		{"options are left out", record.IPFIX, []step{
			{seq: 0, units: 21, options: 1}, {seq: 20, units: 5}, {seq: 25, units: 8, options: 1}, {seq: 32, units: 20}, {seq: 62, units: 1, lost: 10},
		}},
		{"nobody knows how many", record.IPFIX, []step{{seq: 0, units: 1, unknown: true}, {seq: 20, units: 1}, {seq: 25, units: 1, lost: 4}}},
	} {
		var s sequence
		for i, st := range c.steps {
			s.see(&record.Header{Protocol: c.protocol, Sequence: st.seq, Units: st.units, HasSequence: true, Options: st.options, KnownUnits: !st.unknown, Uptime: st.uptime})
			if s.lost != st.lost || s.late != st.late || s.restart != st.restarts {
				t.Errorf("%s, step %d: lost %d late %d restarts %d, want %+v", c.name, i, s.lost, s.late, s.restart, st)
			}
		}
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.DefaultSamplingRate = 7
	cfg.Exporters = []Exporter{
		{Prefix: pfx("192.0.2.0/24"), Name: "all of them", Count: "ingress", SamplingRate: 100},
		{Prefix: pfx("192.0.2.1/32"), Name: "edge", Count: "interfaces", Interfaces: []uint32{9, 3}, Spread: "off"},
		{Prefix: pfx("2001:db8::/64"), Count: "egress", Sampling: "override", SamplingRate: 5, Window: time.Minute},
		{Prefix: pfx("2001:db8::1/128"), Count: "none", Sampling: "ignore", SpreadMin: 10 * time.Second},
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	all := newRules(&cfg)
	rec := func(d record.Direction, in, out uint32) *record.Record {
		return &record.Record{Direction: d, Input: in, Output: out, Has: record.HasInput | record.HasOutput | record.HasDuration, Duration: int64(2 * time.Hour)}
	}
	for _, c := range []struct {
		exporter string
		r        *record.Record
		want     bool
	}{
		{"203.0.113.1", rec(record.Egress, 0, 0), true},
		{"192.0.2.2", rec(record.Egress, 0, 0), false},
		{"192.0.2.2", rec(record.Ingress, 0, 0), true},
		{"192.0.2.2", rec(record.UnknownDirection, 0, 0), true},
		{"192.0.2.1", rec(record.Ingress, 3, 1), true},
		{"192.0.2.1", rec(record.Ingress, 1, 3), false},
		{"192.0.2.1", rec(record.Egress, 1, 9), true},
		{"192.0.2.1", rec(record.Egress, 9, 1), false},
		{"192.0.2.1", rec(record.UnknownDirection, 1, 9), true},
		{"192.0.2.1", rec(record.UnknownDirection, 1, 2), false},
		{"2001:db8::2", rec(record.Ingress, 0, 0), false},
		{"2001:db8::2", rec(record.Egress, 0, 0), true},
		{"2001:db8::1", rec(record.Egress, 0, 0), false},
	} {
		if got := all.of(netip.MustParseAddr(c.exporter)).counts(c.r); got != c.want {
			t.Errorf("%s %+v: %v", c.exporter, c.r.Direction, got)
		}
	}
	for _, c := range []struct {
		exporter string
		rate     float64
		want     float64
		from     record.RateSource
	}{
		{"203.0.113.1", 0, 7, record.RateConfigured},
		{"203.0.113.1", 512, 512, record.RateRecord},
		{"192.0.2.2", 0, 100, record.RateConfigured},
		{"2001:db8::2", 512, 5, record.RateOverride},
		{"2001:db8::1", 512, 1, record.RatePrescaled},
	} {
		r := record.Record{SamplingRate: c.rate}
		if c.rate > 0 {
			r.RateFrom = record.RateRecord
		}
		all.of(netip.MustParseAddr(c.exporter)).sample(&r)
		if r.SamplingRate != c.want || r.RateFrom != c.from {
			t.Errorf("%s at %v: %v from %v", c.exporter, c.rate, r.SamplingRate, r.RateFrom)
		}
	}
	for _, c := range []struct {
		exporter string
		d, want  time.Duration
		kind     record.Kind
	}{
		{"203.0.113.1", 5 * time.Second, 5 * time.Second, record.Data},
		{"203.0.113.1", 2 * time.Hour, spread.Longest, record.Data},
		{"192.0.2.1", time.Minute, 0, record.Data},
		{"2001:db8::2", time.Hour, time.Minute, record.BiflowReverse},
		{"2001:db8::1", time.Second, 10 * time.Second, record.Data},
		{"203.0.113.1", time.Minute, 0, record.Section},
	} {
		r := record.Record{Kind: c.kind, Has: record.HasDuration, Duration: int64(c.d)}
		if got := (&exporter{rule: all.of(netip.MustParseAddr(c.exporter))}).duration(&r); got != c.want {
			t.Errorf("%s, %v: %v, want %v", c.exporter, c.d, got, c.want)
		}
	}
	dropped := rec(record.Ingress, 0, 0)
	dropped.Dropped = true
	if !all.standard.counts(dropped) {
		t.Error("dropped flows do not count by default")
	}
	cfg.Dropped = "ignore"
	if newRules(&cfg).standard.counts(dropped) {
		t.Error("dropped flows count with dropped: ignore")
	}
}

// A flood of forged senders does not push out a router, and takes no more memory than allowed.
func TestRegistryIsBounded(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	g := newRegistry(100, newRules(&cfg), func(netip.Addr) bool { return true })
	var routers []*exporter
	for i := range byte(20) {
		e := g.get([16]byte{0x20, 1, 15: i}, 1)
		e.proven.Store(true)
		routers = append(routers, e)
	}
	for i := range 5000 {
		g.get([16]byte{10: 0xff, 11: 0xff, 12: 9, 14: byte(i >> 8), 15: byte(i)}, int64(i))
	}
	list, forgotten, _ := g.all()
	if len(list) != 100 || forgotten != 4920 {
		t.Errorf("%d exporters, %d forgotten", len(list), forgotten)
	}
	for _, e := range routers {
		if e.gone.Load() {
			t.Errorf("%s was forgotten", e.addr)
		}
	}
}

func TestAlarms(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	now := time.Unix(1_000_000, 0)
	for _, addr := range []string{"192.0.2.1", "2001:db8::1"} {
		e := newRegistry(1, newRules(&cfg), func(netip.Addr) bool { return true }).get(addr16(addr), now.UnixNano())
		h := record.Header{Protocol: record.NetFlow9, HasSequence: true, KnownUnits: true, Units: 1}
		see := func(n, gap uint32) {
			for range n {
				e.see(&h, [16]byte{}, now.UnixNano())
				h.Sequence++
			}
			h.Sequence += gap
		}
		see(1000, 5)
		if got, _ := e.look(now, time.Minute, 1); len(got) != 0 {
			t.Errorf("%s: %v", addr, got)
		}
		see(500, 30)
		if got, _ := e.look(now, time.Minute, 1); len(got) != 0 {
			t.Errorf("%s: 5 of 505 datagrams are too few for an alarm: %v", addr, got)
		}
		see(500, 0)
		if got, _ := e.look(now, time.Minute, 1); len(got) != 1 || !strings.Contains(got[0], addr) {
			t.Errorf("%s: 30 of 530 are lost: %v", addr, got)
		}
		see(500, 0)
		if got, _ := e.look(now, time.Minute, 1); len(got) != 0 {
			t.Errorf("%s: the loss is over: %v", addr, got)
		}
		if got, _ := e.look(now.Add(2*time.Minute), time.Minute, 1); len(got) != 1 || !e.describe().Silent {
			t.Errorf("%s: two minutes of silence: %v", addr, got)
		}
		if got, _ := e.look(now.Add(2*time.Minute), 0, 0); len(got) != 0 {
			t.Errorf("%s: alarms that are switched off: %v", addr, got)
		}
	}
}

func TestDetect(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		b    []byte
		want Format
	}{
		{[]byte{0, 5, 0, 1}, IsNetFlow},
		{[]byte{0, 9, 0, 1}, IsNetFlow},
		{[]byte{0, 1, 0, 1}, IsNetFlow},
		{[]byte{0, 7, 0, 1}, IsNetFlow},
		{[]byte{0, 10, 0, 1}, IsIPFIX},
		{[]byte{0, 0, 0, 5}, IsSFlow},
		{[]byte{0, 0, 0, 4}, IsSFlow},
		{[]byte{0, 0, 0, 2}, IsSFlow},
		{[]byte{0, 0, 0, 3}, IsUnknown},
		{[]byte{0, 0, 0}, IsUnknown},
		{nil, IsUnknown},
		{[]byte{0, 6, 0, 1}, IsUnknown},
	} {
		if got := Detect(c.b); got != c.want {
			t.Errorf("% x: %v, want %v", c.b, got, c.want)
		}
	}
}

func TestDurationClasses(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0_seconds", time.Millisecond: "less_1_seconds", time.Second: "less_2_seconds", 14 * time.Second: "less_15_seconds",
		179 * time.Second: "less_180_seconds", 180 * time.Second: "exceed_180_seconds", time.Hour: "exceed_180_seconds",
	} {
		if got := durationNames[durationClass(d)]; got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for key, edit := range map[string]func(*Config){
		"spread:":                     func(c *Config) { c.Spread = "maybe" },
		"window:":                     func(c *Config) { c.Window = time.Hour },
		"spread_min:":                 func(c *Config) { c.SpreadMin = -1 },
		"spread_hosts:":               func(c *Config) { c.SpreadHosts = 1 },
		"dropped:":                    func(c *Config) { c.Dropped = "" },
		"bytes:":                      func(c *Config) { c.Bytes = "bits" },
		"max_exporters:":              func(c *Config) { c.MaxExporters = 0 },
		"loss_alarm:":                 func(c *Config) { c.LossAlarm = 101 },
		"silent_after:":               func(c *Config) { c.SilentAfter = -1 },
		"templates.path:":             func(c *Config) { c.Templates.Path = "here" },
		"templates.max_age:":          func(c *Config) { c.Templates.MaxAge = 0 },
		"templates.max_per_exporter:": func(c *Config) { c.Templates.MaxPerExporter = 0 },
		"filter.rules[0]:":            func(c *Config) { c.Filter.Rules = []string{"drop nonsense"} },
		"filter.lua_timeout:":         func(c *Config) { c.Filter.LuaTimeout = -1 },
		"listeners[0].address:":       func(c *Config) { c.Listeners = []Listener{{Address: netip.MustParseAddr("fe80::1%lo"), Port: 2055}} },
		"listeners[0].port:":          func(c *Config) { c.Listeners = []Listener{{Address: netip.IPv6Unspecified()}} },
		"listeners[0].ports:":         func(c *Config) { c.Listeners = []Listener{{Port: 2055, Ports: []uint16{2055}}} },
		"listeners[1].ports:": func(c *Config) {
			c.Listeners = []Listener{{Port: 1}, {Address: netip.IPv6Unspecified(), Ports: []uint16{1}}}
		},
		"listeners[0].protocol:": func(c *Config) { c.Listeners = []Listener{{Protocol: "ipx"}} },
		"listeners[0].sockets:":  func(c *Config) { c.Listeners = []Listener{{Sockets: 65}} },
		"listeners[0].buffer:":   func(c *Config) { c.Listeners = []Listener{{Buffer: 1}} },
		"allow[0]:":              func(c *Config) { c.Allow = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")} },
		"exporters[0].prefix:":   func(c *Config) { c.Exporters = []Exporter{{}} },
		"exporters[1].prefix:": func(c *Config) {
			c.Exporters = []Exporter{{Prefix: pfx("192.0.2.0/24")}, {Prefix: pfx("192.0.2.0/24")}}
		},
		"exporters[0].sampling:":   func(c *Config) { c.Exporters = []Exporter{{Prefix: pfx("192.0.2.0/24"), Sampling: "x"}} },
		"exporters[0].interfaces:": func(c *Config) { c.Exporters = []Exporter{{Prefix: pfx("192.0.2.0/24"), Count: "interfaces"}} },
		"exporters[0].sampling_rate:": func(c *Config) {
			c.Exporters = []Exporter{{Prefix: pfx("2001:db8::/32"), Sampling: "override"}}
		},
	} {
		c := DefaultConfig()
		edit(&c)
		if err := c.Validate(); err == nil || !strings.Contains("\n"+err.Error(), "\n"+key) {
			t.Errorf("%s %v", key, err)
		}
	}
}

// The whole way of a datagram allocates nothing, with rules too.
func TestDatagramAllocs(t *testing.T) {
	cfg := loopback(t, "127.0.0.1", 1)
	cfg.Filter.Rules = []string{"drop udp and port 99", "drop from 192.0.2.0/24"}
	c, err := New(cfg, deps(t))
	if err != nil {
		t.Fatal(err)
	}
	w := c.workers[0]
	w.shard.Enter()
	w.poll()
	w.refilter()
	source := addr16("2001:db8::1")
	list := [][]byte{
		netflow5(0, 10, flow5{src: "192.0.2.1", dst: "10.0.0.1", packets: 3, octets: 300, proto: 6, flags: 0x12, first: 40_000, last: 99_500}),
		v9template(0), v9data(1, "2001:db9::1", "2001:db8::1", 17, 2, 200),
	}
	if n := testing.AllocsPerRun(1000, func() {
		for _, b := range list {
			w.datagram(&source, b)
		}
		w.burst.Flush(w.half)
		w.spread.Work(w.half, 10)
	}); n != 0 {
		t.Errorf("%v allocations for three datagrams", n)
	}
	w.unfilter()
	w.shard.Leave()
	if err := errors.Join(c.Stop(), c.Free()); err != nil {
		t.Error(err)
	}
}

// What is wrong is in the statistics while it is, and in the log when it begins and when it is over.
func TestAlarmsAreShown(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"192.0.2.1", "2001:db8::1"} {
		var log strings.Builder
		cfg, d := loopback(t, "127.0.0.1", 1), deps(t)
		d.Log = slog.New(slog.NewTextHandler(&log, nil))
		c, err := New(cfg, d)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		e := c.registry.get(addr16(at), now.UnixNano())
		e.proven.Store(true)
		alarms := func(later time.Duration) []string {
			now = now.Add(later)
			c.look(now)
			return c.Stats().Alarms
		}
		for range trustAfter {
			e.seen.Store(now.Add(lookEvery).UnixNano())
			if got := alarms(lookEvery); len(got) != 0 {
				t.Errorf("%s: %v", at, got)
			}
		}
		text := "flows: exporter " + at + " is silent"
		if got := alarms(2 * cfg.SilentAfter); len(got) != 1 || got[0] != text || !c.Exporters()[0].Silent {
			t.Errorf("%s: %v", at, got)
		}
		alarms(lookEvery)
		e.seen.Store(now.UnixNano())
		if got := alarms(lookEvery); len(got) != 0 || c.Exporters()[0].Silent {
			t.Errorf("%s: it is over: %v", at, got)
		}
		if n := strings.Count(log.String(), text); n != 2 || !strings.Contains(log.String(), "over: "+text) {
			t.Errorf("%s: %s", at, log.String())
		}
		if err := errors.Join(c.Stop(), c.Free()); err != nil {
			t.Error(err)
		}
	}
}
