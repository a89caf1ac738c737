package collector

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// Anybody may send where flows.allow is empty. A flood from forged addresses, each with a template, options and data of its own, takes
// nothing from the routers that are known: they keep templates, rates and accounts. Memory stays within bounds.
func TestForgedExporters(t *testing.T) {
	t.Parallel()
	cfg := loopback(t, "127.0.0.1", 1)
	cfg.MaxExporters, cfg.Templates.MaxPerExporter = 64, 16
	c := newOffline(t, cfg)
	options := be.AppendUint16(nil, 257)
	for _, f := range []uint16{4, 4, 1, 4, 34, 4} {
		options = be.AppendUint16(options, f)
	}
	announce := [][]byte{
		v9template(0), v9set(v9header(1), 1, options), v9set(v9header(2), 257, []byte{0, 0, 0, 0, 0, 0, 0, 100}),
	}
	routers := []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"}
	for _, r := range routers {
		c.send(r, announce...)
	}
	sequence := uint32(3)
	for range trustAfter { // half a minute of ordinary life
		for _, r := range routers {
			c.send(r, v9data(sequence, "2001:db9::1", "2001:db8::1", 17, 2, 200))
		}
		sequence++
		c.now = c.now.Add(lookEvery)
		c.look(c.now)
	}
	before := c.Stats()
	for i := range 5000 {
		c.send(fmt.Sprintf("198.%d.%d.%d", 18+i>>16, byte(i>>8), byte(i)), announce...)
		c.send(fmt.Sprintf("2001:db9:1::%x", i), append(announce, v9data(3, "2001:db9::1", "2001:db8::1", 17, 2, 200))...)
		if i%1000 == 999 {
			c.now = c.now.Add(lookEvery)
			for _, r := range routers {
				c.send(r, v9data(sequence, "2001:db9::1", "2001:db8::1", 17, 2, 200))
			}
			sequence++
			c.look(c.now)
		}
	}
	s := c.Stats()
	if len(c.w.exporters) > 2*cfg.MaxExporters || s.Exporters > cfg.MaxExporters || s.Templates.Templates > int64(3*cfg.MaxExporters) || len(c.sampling.All()) > 2*cfg.MaxExporters {
		t.Errorf("%d views, %d exporters, %d templates, %d rates", len(c.w.exporters), s.Exporters, s.Templates.Templates, len(c.sampling.All()))
	}
	if s.Forgotten < 9000 || s.RatesRefused != before.RatesRefused {
		t.Errorf("%d forgotten, %d rates refused", s.Forgotten, s.RatesRefused)
	}
	for _, e := range c.Exporters() {
		if i := indexOf(routers, e.Address); i >= 0 {
			if e.SamplingRate != 100 || e.SamplingFrom != "domain" || e.UnknownTemplateSets != 0 || e.Records != uint64(trustAfter+5) || len(e.Lost) != 0 || e.Restarts != 0 {
				t.Errorf("%+v", e)
			}
			routers[i] = ""
		}
	}
	for _, r := range routers {
		if r != "" {
			t.Errorf("%s was forgotten", r)
		}
	}
}

func indexOf(list []string, a netip.Addr) int {
	for i, s := range list {
		if s == a.String() {
			return i
		}
	}
	return -1
}

// When every place is taken by an exporter that is known, one more is counted all the same, and not remembered. Who has been silent for
// a day makes room.
func TestFullOfTrusted(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	g := newRegistry(40, newRules(&cfg), func(netip.Addr) bool { return true })
	now := int64(1e18)
	for i := range byte(40) {
		e := g.get([16]byte{0x20, 1, 15: i}, now+int64(i))
		e.proven.Store(true)
		e.trusted.Store(true)
	}
	stranger := [16]byte{0x20, 2}
	for range 3 {
		if e := g.get(stranger, now+100); !e.gone.Load() {
			t.Error("there was room")
		}
	}
	if list, forgotten, refused := g.all(); len(list) != 40 || forgotten != 0 || refused != 3 {
		t.Errorf("%d exporters, %d forgotten, %d refused", len(list), forgotten, refused)
	}
	if e := g.get(stranger, now+int64(abandoned)); e.gone.Load() || g.find([16]byte{0x20, 1}) != nil || g.find(stranger) != e {
		t.Error("the one that was silent for a day is still there")
	}
}

// The records of exporters without room count all the same, with templates too, and somebody is told.
func TestUnlistedExportersCount(t *testing.T) {
	t.Parallel()
	cfg := loopback(t, "127.0.0.1", 1)
	cfg.MaxExporters = 2
	c := newOffline(t, cfg)
	for _, at := range []string{"192.0.2.1", "2001:db8::1"} {
		c.send(at, v9template(0), v9data(1, "2001:db9::1", "2001:db8::1", 17, 1, 100))
		c.registry.find(addr16(at)).trusted.Store(true)
	}
	for i, at := range []string{"192.0.2.2", "2001:db8::2"} {
		c.send(at, v9template(0))
		for n := range uint32(3) {
			c.look(c.now)
			c.send(at, v9data(n+1, "2001:db9::1", "2001:db8::1", 17, 10, 1000))
		}
		if s := c.Stats(); s.Counted.Packets != uint64(2+30*(i+1)) || s.Exporters != 2 || s.Unlisted != uint64(i+1) || s.Sums.UnknownTemplateSets != 0 {
			t.Errorf("%s: counted %+v, %d exporters, %d unlisted", at, s.Counted, s.Exporters, s.Unlisted)
		}
	}
	if c.look(c.now); len(c.Stats().Alarms) != 1 {
		t.Errorf("%v", c.Stats().Alarms)
	}
	c.now = c.now.Add(2 * unlistedFor)
	if c.look(c.now); len(c.w.exporters) != 4 {
		t.Errorf("%d views", len(c.w.exporters))
	}
}

// The configuration knows exporters before they are heard.
func TestConfiguredExporters(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"192.0.2.1", "2001:db8::1"} {
		a := netip.MustParseAddr(at)
		cfg := loopback(t, "127.0.0.1", 1)
		cfg.Exporters = []Exporter{{Prefix: netip.PrefixFrom(a, a.BitLen()), Name: "edge"}, {Prefix: pfx("203.0.113.0/24")}}
		c, err := New(cfg, deps(t))
		if err != nil {
			t.Fatal(err)
		}
		if now := time.Now(); len(c.lookAtExporters(now)) != 0 {
			t.Error("an alarm at once")
		}
		later := time.Now().Add(cfg.SilentAfter + time.Minute)
		if got := c.lookAtExporters(later); len(got) != 1 || got[0] != "flows: exporter edge ("+at+") has never been heard" {
			t.Errorf("%v", got)
		}
		e := c.registry.get(a.As16(), later.UnixNano())
		e.proven.Store(true)
		if got := c.lookAtExporters(later); len(got) != 0 || !e.trusted.Load() {
			t.Errorf("heard: %v, trusted %v", got, e.trusted.Load())
		}
		if got := c.lookAtExporters(later.Add(2 * cfg.SilentAfter)); len(got) != 1 || got[0] != "flows: exporter edge ("+at+") is silent" {
			t.Errorf("%v", got)
		}
		if err := errors.Join(c.Stop(), c.Free()); err != nil {
			t.Error(err)
		}
	}
}

func TestBatches(t *testing.T) {
	t.Parallel()
	second := int64(time.Second)
	for _, c := range []struct {
		name string
		at   []int64 // tenths of seconds
		want time.Duration
	}{
		{"softflowd: a burst every minute", []int64{10, 11, 12, 610, 611, 1210, 1212, 1810, 2410, 3010, 3011}, time.Minute},
		{"too few yet", []int64{10, 610, 1210, 1810, 2410}, 0},
		{"every 15 seconds, more or less", []int64{10, 160, 300, 455, 610, 755, 900}, 14500 * time.Millisecond},
		{"all the time", []int64{10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80}, 0},
		{"every second", []int64{10, 20, 30, 40, 50, 60, 70, 80, 90}, 0},
		{"when there is news", []int64{10, 100, 150, 400, 420, 700, 1000, 1050}, 0},
		{"an attack between two bursts", []int64{10, 110, 210, 310, 410, 510, 610, 650}, 0},
		{"an attack that begins with a burst", []int64{10, 110, 210, 310, 410, 510, 610, 615, 620, 625, 630, 635}, 0},
		{"batches again", []int64{10, 110, 210, 310, 410, 510, 550, 610, 710, 810, 910, 1010, 1110, 1210}, 10 * time.Second},
		{"every two minutes is too seldom to know", []int64{10, 1210, 2410, 3610, 4810, 6010, 7210}, 0},
	} {
		var b batchMeter
		var got time.Duration
		for _, at := range c.at {
			got = b.see(1e18 + at*second/10)
		}
		if got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// What an exporter is known to do bounds how long a record is spread: not longer than its active timeout, not shorter than its batches.
func TestLearntTimes(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	for _, addr := range []string{"192.0.2.1", "2001:db8::1"} {
		e := newRegistry(1, newRules(&cfg), func(netip.Addr) bool { return true }).get(addr16(addr), 1)
		duration := func(d time.Duration) time.Duration {
			return e.duration(&record.Record{Has: record.HasDuration, Duration: int64(d)})
		}
		if got := duration(20 * time.Minute); got != 20*time.Minute {
			t.Errorf("nothing is known: %v", got)
		}
		e.see(&record.Header{Protocol: record.IPFIX, ActiveTimeout: int64(time.Minute), IdleTimeout: int64(15 * time.Second)}, [16]byte{}, 1e18)
		for d, want := range map[time.Duration]time.Duration{0: 0, 30 * time.Second: 30 * time.Second, 70 * time.Second: 70 * time.Second, 20 * time.Minute: 75 * time.Second} {
			if got := duration(d); got != want {
				t.Errorf("active timeout 1m, %v: %v, want %v", d, got, want)
			}
		}
		for i := range int64(6) {
			e.see(&record.Header{Protocol: record.NetFlow9, Data: true}, [16]byte{}, 1e18+i*30e9)
		}
		for d, want := range map[time.Duration]time.Duration{0: 30 * time.Second, time.Second: 30 * time.Second, time.Minute: time.Minute} {
			if got := duration(d); got != want {
				t.Errorf("batches of 30s, %v: %v, want %v", d, got, want)
			}
		}
		if got := e.duration(&record.Record{Kind: record.Section}); got != 0 {
			t.Errorf("a sampled packet: %v", got)
		}
		if s := e.describe(); s.ActiveTimeout != 60 || s.IdleTimeout != 15 || s.Batch != 30 {
			t.Errorf("%+v", s)
		}
	}
}
