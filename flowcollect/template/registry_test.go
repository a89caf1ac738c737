package template

import (
	"encoding/binary"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-ddos/weir/flowcollect/record"
)

const t0 = int64(1_700_000_000e9)

// def is a definition with fields of 4 bytes of these numbers.
func def(id uint16, numbers ...uint16) *Definition {
	d := &Definition{ID: id}
	for _, n := range numbers {
		d.def = appendField(d.def, field{id: n, length: 4})
	}
	return d
}

func key(host byte, domain uint32) *Key {
	return &Key{Exporter: [16]byte{0x20, 0x01, 15: host}, Domain: domain, Protocol: record.IPFIX}
}

func registry(t testing.TB, change func(*Config)) *Registry {
	t.Helper()
	cfg := Default()
	if change != nil {
		change(&cfg)
	}
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := Default().Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
	err := Config{HoldFor: -1, HoldSets: -1, HoldBytes: 5}.Validate()
	for _, name := range []string{"per_exporter", "total", "fields", "expiry", "hold_sets", "hold_total", "hold_for"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("New takes a bad configuration")
	}
}

// A thousand exporters of fifty templates, a flood from one of them, and the rest unharmed.
func TestLimits(t *testing.T) {
	t.Parallel()
	g := registry(t, func(c *Config) { c.PerExporter, c.Total, c.Fields = 50, 5000, 10 })
	for host := range 100 {
		for id := range 60 {
			want := record.OK
			if id >= 50 {
				want = record.TemplateLimit
			}
			if c := g.Announce(key(byte(host), uint32(id%3)), def(uint16(256+id), 8, 12, 1), t0); c != want {
				t.Fatalf("host %d, template %d: %v, want %v", host, id, c, want)
			}
			g.Trust(&key(byte(host), 0).Exporter)
		}
	}
	st := g.Stats()
	if st.Templates != 5000 || st.Systems != 300 || st.Refused != 1000 || st.Added != 5000 {
		t.Errorf("stats %+v", st)
	}
	if c := g.Announce(key(200, 0), def(256, 8), t0); c != record.TemplateLimit {
		t.Errorf("beyond the total: %v", c)
	}
	if c := g.Announce(key(1, 0), def(256, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), t0); c != record.TemplateTooManyFields {
		t.Errorf("eleven fields: %v", c)
	}
	if c := g.Announce(key(1, 0), def(256, 8, 12, 2), t0); c != record.TemplateChanged {
		t.Errorf("a change at the limit: %v", c)
	}
	if n := g.Withdraw(key(1, 0), &Definition{ID: 256, Withdrawal: true}); n != 1 || g.System(key(1, 0)).Lookup(256) != nil {
		t.Errorf("withdrew %d", n)
	}
	if c := g.Announce(key(1, 0), def(900, 8), t0); c != record.OK {
		t.Errorf("after a withdrawal there is room: %v", c)
	}
}

// Whoever forges senders fills the table up to what is kept for exporters that are known; what is forgotten makes room.
func TestForgedSendersLeaveRoom(t *testing.T) {
	t.Parallel()
	g := registry(t, func(c *Config) { c.PerExporter, c.Total = 100, 800 })
	router := key(1, 7)
	if c := g.Announce(router, def(256, 8), t0); c != record.OK {
		t.Fatal(c)
	}
	g.Trust(&router.Exporter)
	forged := func(i int) *Key {
		k := key(2, 0)
		k.Exporter[3], k.Exporter[4] = byte(i>>8), byte(i)
		return k
	}
	for i := range 2000 {
		g.Announce(forged(i), def(256, 8), t0)
		g.Hold(forged(i), 300, make([]byte, 1400), Context{Arrived: t0})
	}
	if st := g.Stats(); st.Templates != 701 {
		t.Errorf("%d templates, want 700 of forged senders and one", st.Templates)
	}
	for id := range uint16(99) {
		if c := g.Announce(router, def(257+id, 8, 12), t0); c != record.OK {
			t.Fatalf("template %d of the router: %v", id, c)
		}
	}
	if !g.Hold(router, 400, make([]byte, 1400), Context{Arrived: t0}) {
		t.Error("nothing is kept for the router")
	}
	if c := g.Announce(key(3, 0), def(256, 8), t0); c != record.TemplateLimit {
		t.Errorf("a new one in the flood: %v", c)
	}
	for i := range 2000 {
		g.Forget(&forged(i).Exporter)
	}
	if st := g.Stats(); st.Templates != 100 || g.others.Load() != 0 {
		t.Errorf("%d templates, %d of them of others", st.Templates, g.others.Load())
	}
	if c := g.Announce(key(3, 0), def(256, 8), t0); c != record.OK {
		t.Errorf("a new one afterwards: %v", c)
	}
	g.ExpireHeld(t0 + int64(time.Hour))
	if st := g.Stats(); st.HeldBytes != 0 {
		t.Errorf("%d bytes are still held", st.HeldBytes)
	}
}

// An exporter that changes a template with every datagram spends its budget, and gets some back with time.
func TestChangeBudget(t *testing.T) {
	t.Parallel()
	g := registry(t, nil)
	n, now := 0, t0
	for i := range 10000 {
		if c := g.Announce(key(1, 0), def(256, uint16(i+1)), now); c == record.OK || c == record.TemplateChanged {
			n++
		} else if c != record.TemplateLimit {
			t.Fatal(c)
		}
	}
	if want := g.burst() + 1; n != want {
		t.Errorf("%d changes at once, want %d", n, want)
	}
	if c := g.Announce(key(2, 0), def(256, 8), now); c != record.OK {
		t.Errorf("another exporter: %v", c)
	}
	if c := g.Announce(key(1, 0), def(256, 9), now+1e9); c != record.TemplateChanged {
		t.Errorf("a second later: %v", c)
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	g := registry(t, func(c *Config) { c.Expiry = time.Hour })
	for id := range uint16(3) {
		g.Announce(key(1, 0), def(256+id, 8), t0)
	}
	later := t0 + int64(2*time.Hour)
	g.Announce(key(1, 0), def(257, 8), later-1e9)         // announced again
	g.System(key(1, 0)).Lookup(258).Touch(later - 1800e9) // used
	if n := g.Expire(later); n != 1 {
		t.Errorf("%d expired, want one", n)
	}
	s := g.System(key(1, 0))
	if s.Lookup(256) != nil || s.Lookup(257) == nil || s.Lookup(258) == nil {
		t.Error("the wrong one expired")
	}
	if n := g.Expire(later + int64(2*time.Hour)); n != 2 || g.System(key(1, 0)) != nil {
		t.Errorf("%d expired, system %v", n, g.System(key(1, 0)))
	}
	for i := range g.shards {
		if n := len(g.shards[i].exporters); n != 0 {
			t.Errorf("%d exporters are still known", n)
		}
	}
	if st := g.Stats(); st.Templates != 0 || st.Systems != 0 || st.Expired != 3 {
		t.Errorf("stats %+v", st)
	}
}

// What was saved decodes at once after a restart; damage is told, what expired or was learned meanwhile stays as it is.
func TestSaveAndLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "templates.json")
	g := registry(t, nil)
	v4 := &Key{Exporter: netip.MustParseAddr("192.0.2.1").As16(), Domain: 7, Protocol: record.NetFlow9}
	var d Definition
	for _, raw := range [][]byte{
		{1, 44, 0, 3, 0, 8, 0, 4, 0, 12, 0, 4, 0, 1, 0, 4},
		{1, 45, 0, 2, 0, 82, 255, 255, 0x80, 1, 0, 8, 0, 0, 0x72, 0x79},
	} {
		if _, _, c := d.ReadIPFIX(raw, Data); c != record.OK {
			t.Fatal(c)
		}
		g.Announce(key(1, 3), &d, t0)
	}
	if _, _, c := d.Read9([]byte{1, 0, 0, 4, 0, 4, 0, 2, 0, 4, 0, 34, 0, 4}, Options); c != record.OK {
		t.Fatal(c)
	}
	g.Announce(v4, &d, t0)
	if err := g.Save(path); err != nil {
		t.Fatal(err)
	}
	same := func(k *Key, id uint16, other *Registry) {
		t.Helper()
		a, b := g.System(k).Lookup(id), other.System(k).Lookup(id)
		if b == nil || a.Kind != b.Kind || a.Scopes != b.Scopes || !reflect.DeepEqual(a.segments, b.segments) || string(a.def) != string(b.def) {
			t.Errorf("template %d: %+v became %+v", id, a, b)
		}
	}
	fresh := registry(t, nil)
	if n, err := fresh.Load(path, t0+1e9); n != 3 || err != nil {
		t.Fatalf("loaded %d: %v", n, err)
	}
	same(key(1, 3), 300, fresh)
	same(key(1, 3), 301, fresh)
	same(v4, 256, fresh)
	if n, err := registry(t, nil).Load(path, t0+int64(25*time.Hour)); n != 0 || err != nil {
		t.Errorf("a day later: %d, %v", n, err)
	}
	newer := registry(t, nil)
	newer.Announce(v4, def(256, 8), t0)
	if n, _ := newer.Load(path, t0); n != 2 || newer.System(v4).Lookup(256).Kind != Data {
		t.Errorf("loaded %d over what is newer", n)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{
		"truncated": whole[:len(whole)/2], "empty": nil, "a flipped bit": []byte(strings.Replace(string(whole), `"id":300`, `"id":302`, 1)),
		"version": []byte(strings.Replace(string(whole), `"version":1`, `"version":9`, 1)),
	} {
		bad := filepath.Join(t.TempDir(), "bad")
		if err := os.WriteFile(bad, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := registry(t, nil).Load(bad, t0); n != 0 || err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	if err := g.Save(filepath.Join(t.TempDir(), "no", "such", "place")); err == nil {
		t.Error("saved to nowhere")
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) != 0 {
		t.Errorf("temporary files stay: %v", left)
	}
}

// A saved file is input too: what an exporter would not get past is not loaded.
func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	g := registry(t, func(c *Config) { c.Fields = 2 })
	good := savedTemplate{Exporter: netip.MustParseAddr("2001:db8::1"), Protocol: "ipfix", ID: 300, Fields: appendField(nil, field{id: 8, length: 4}), Refreshed: t0}
	for name, change := range map[string]func(*savedTemplate){
		"protocol": func(s *savedTemplate) { s.Protocol = "sflow5" }, "address": func(s *savedTemplate) { s.Exporter = netip.Addr{} },
		"id": func(s *savedTemplate) { s.ID = 2 }, "fields": func(s *savedTemplate) { s.Fields = s.Fields[:7] }, "none": func(s *savedTemplate) { s.Fields = nil },
		"scopes": func(s *savedTemplate) { s.Scopes = 9 }, "width": func(s *savedTemplate) { s.Fields = make([]byte, 8) },
		"many": func(s *savedTemplate) { s.Fields = make([]byte, 80) },
	} {
		s := good
		change(&s)
		if g.restore(s, t0) {
			t.Errorf("%s: taken", name)
		}
	}
	if !g.restore(good, t0) {
		t.Error("the good one is refused")
	}
}

// Readers take no lock while one exporter's templates come and go. Run with -race.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	g := registry(t, nil)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			var r record.Record
			var v Values
			buf := make([]byte, 64)
			for {
				select {
				case <-stop:
					return
				default:
				}
				for host := range byte(4) {
					if p := g.System(key(host, 0)).Lookup(256); p != nil {
						p.Touch(t0)
						p.Read(buf, Margin, len(buf), &r, &v)
					}
					g.Hold(key(host, 0), 256, buf, Context{Arrived: t0})
				}
			}
		})
	}
	for i := range 500 {
		k := key(byte(i%4), 0)
		g.Announce(k, def(256, uint16(1+i%40)), t0+int64(i))
		g.Take(k, 256, t0+int64(i))
		if i%7 == 0 {
			g.Withdraw(k, &Definition{ID: SetIPFIXData})
		}
		g.Stats()
	}
	close(stop)
	wg.Wait()
	g.Expire(math.MaxInt64)
	if st := g.Stats(); st.Templates != 0 || st.HeldBytes != 0 {
		t.Errorf("left over: %+v", st)
	}
}

// FuzzRead runs arbitrary programs on arbitrary records: no panic, progress with every record, nothing read behind the end.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"\x00\x08\x00\x04", "\x00\x52\xff\xff\x00\x01\x00\x08", "\x01\x3b\x00\x20\x00\x1b\x00\x10\x00\x02\x00\x03"} {
		f.Add([]byte(s), []byte(strings.Repeat("\x03abc", 30)), true)
	}
	f.Fuzz(func(t *testing.T, fields, data []byte, options bool) {
		var d Definition
		kind := Data
		head := binary.BigEndian.AppendUint16([]byte{1, 44}, uint16(len(fields)/4))
		if options {
			kind = Options
			head = append(head, 0, 1)
		}
		if _, done, c := d.ReadIPFIX(append(head, fields...), kind); done || c != record.OK || d.Withdrawal {
			return
		}
		p, c := compile(kind, d.ID, d.scopes, d.def)
		if c != record.OK {
			return
		}
		var r record.Record
		var v Values
		buf := append(make([]byte, Margin), data...)
		for pos, n := Margin, 0; len(buf)-pos >= p.Min; n++ {
			next := p.Read(buf[:len(buf):len(buf)], pos, len(buf), &r, &v)
			if next < 0 {
				return
			}
			if next < pos+p.Min || next > len(buf) || p.Fixed && next != pos+p.Min {
				t.Fatalf("from %d to %d of %d, least %d", pos, next, len(buf), p.Min)
			}
			pos = next
		}
	})
}

// A thousand exporters of fifty templates of twenty fields: what the registry then weighs is within what its limits promise.
func TestMemory(t *testing.T) {
	g := registry(t, nil)
	numbers := make([]uint16, 20)
	for i := range numbers {
		numbers[i] = uint16(i + 1)
	}
	before := heap()
	for host := range 1000 {
		k := &Key{Exporter: [16]byte{0x20, 0x01, 14: byte(host >> 8), 15: byte(host)}, Protocol: record.NetFlow9}
		for id := range uint16(50) {
			if c := g.Announce(k, def(256+id, numbers...), t0); c != record.OK {
				t.Fatal(c)
			}
		}
	}
	each := (heap() - before) / 50000
	t.Logf("%d bytes a template", each)
	if each > 1500 {
		t.Errorf("%d bytes a template of 20 fields", each)
	}
	if n := g.Stats().Templates; n != 50000 {
		t.Errorf("%d templates", n)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
