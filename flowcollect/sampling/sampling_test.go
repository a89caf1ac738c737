package sampling

import (
	"math"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/weir-ddos/weir/flowcollect/record"
)

var host = netip.MustParseAddr("2001:db8::1").As16()

func table(t testing.TB, change func(*Config)) *Table {
	t.Helper()
	cfg := Default()
	if change != nil {
		change(&cfg)
	}
	tab, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func TestRate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		a    Announcement
		want float64
	}{
		{"nothing", Announcement{}, 0},
		{"34", Announcement{Interval34: 100, Has: HasInterval34}, 100},
		{"34 of zero", Announcement{Has: HasInterval34}, 1},
		{"50 beats 34", Announcement{Random50: 7, Interval34: 9, Has: HasInterval34 | HasRandom50}, 7},
		{"50 of zero leaves 34", Announcement{Interval34: 9, Has: HasInterval34 | HasRandom50}, 9},
		{"305 and 306", Announcement{Packets305: 1, Space306: 999, Has: HasPackets305 | HasSpace306}, 1000},
		{"305 and a space of zero", Announcement{Packets305: 1, Has: HasPackets305 | HasSpace306}, 1},
		{"306 alone", Announcement{Space306: 9, Has: HasSpace306}, 0},
		{"305 alone", Announcement{Packets305: 256, Has: HasPackets305}, 256},
		{"309 and 310 beat 305", Announcement{Packets305: 1, Size309: 2, Population310: 512, Has: HasPackets305 | HasPopulation}, 256},
		{"population below its sample", Announcement{Size309: 2, Population310: 1, Has: HasPopulation}, 1},
		{"population without sample", Announcement{Population310: 5, Has: HasPopulation}, 0},
		{"probability", Announcement{Probability: 0.001, Has: HasProbability}, 1000},
		{"probability above one", Announcement{Probability: 2, Has: HasProbability}, 0},
		{"not a number", Announcement{Probability: math.NaN(), Has: HasProbability}, 0},
		{"tiny probability", Announcement{Probability: 1e-300, Has: HasProbability}, 0},
		{"absurd", Announcement{Interval34: math.MaxUint64, Has: HasInterval34}, 0},
	} {
		if got := c.a.Rate(); math.Abs(got-c.want) > 1e-9*c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	if err := Default().Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
	err := Config{Rules: []Rule{{}, {Exporters: netip.MustParsePrefix("192.0.2.1/24"), Override: math.MaxUint32}, {Exporters: netip.MustParsePrefix("::/0"), Prescaled: true, Default: 5}}}.Validate()
	for _, want := range []string{"rules[0].exporters", "rules[1].exporters", "rules[1]: a rate", "rules[2]: prescaled", "exporters, rates"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	tab := table(t, func(c *Config) {
		c.Rules = []Rule{
			{Exporters: netip.MustParsePrefix("0.0.0.0/0"), Default: 1},
			{Exporters: netip.MustParsePrefix("192.0.2.0/24"), Default: 2},
			{Exporters: netip.MustParsePrefix("192.0.2.7/32"), Default: 3},
			{Exporters: netip.MustParsePrefix("::/0"), Default: 4},
			{Exporters: netip.MustParsePrefix("2001:db8::/64"), Default: 5},
		}
	})
	for addr, want := range map[string]float64{"198.51.100.1": 1, "192.0.2.1": 2, "192.0.2.7": 3, "2001:db9::1": 4, "2001:db8::7": 5} {
		a := netip.MustParseAddr(addr).As16()
		v := tab.View(&a, record.IPFIX, 0)
		if rate, from := v.Rate(&Query{}); rate != want || from != record.RateConfigured {
			t.Errorf("%s: %v from %v, want %v", addr, rate, from, want)
		}
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	tab := table(t, nil)
	say := func(domain uint32, s Scope, id uint64, rate float64) {
		if !tab.Announce(&host, record.IPFIX, domain, s, id, rate) {
			t.Fatalf("%v %d is refused", s, id)
		}
	}
	q := Query{Header: 2, ID: 5, HasID: true, IsSelector: true, Template: 300, Input: 1, Output: 2}
	ask := func() (float64, record.RateSource) {
		v := tab.View(&host, record.IPFIX, 9)
		return v.Rate(&q)
	}
	step := func(want float64, source record.RateSource) {
		t.Helper()
		if rate, from := ask(); rate != want || from != source {
			t.Errorf("got %v from %v, want %v from %v", rate, from, want, source)
		}
	}
	step(2, record.RateHeader)
	say(1, Domain, 0, 3)
	step(3, record.RateOther)
	say(9, Domain, 77, 4) // the id of a domain means nothing
	step(4, record.RateDomain)
	say(9, Interface, 2, 5)
	step(5, record.RateInterface)
	say(9, Interface, 1, 6)
	step(6, record.RateInterface)
	say(9, Template, 300, 7)
	step(7, record.RateTemplate)
	say(9, Sampler, 5, 8)
	step(8, record.RateSelector)
	say(9, Selector, 5, 9)
	step(9, record.RateSelector)
	q.InRecord = 10
	step(10, record.RateRecord)
	if v := tab.View(&host, record.NetFlow9, 9); v.rates == nil {
		t.Error("no rates")
	} else if rate, _ := v.Rate(&Query{}); rate != 0 {
		t.Errorf("another protocol sees %v", rate)
	}
	if all := tab.All(); len(all) != 7 || all[0].Exporter.String() != "2001:db8::1" || all[0].Domain != 1 || all[0].Scope.String() != "domain" {
		t.Errorf("all: %+v", all)
	}
	tab.Forget(&host)
	q = Query{}
	step(0, record.RateUnknown)
}

func TestBounds(t *testing.T) {
	t.Parallel()
	tab := table(t, func(c *Config) { c.Exporters, c.Rates = 2, 3 })
	for i := range byte(4) {
		a := [16]byte{15: i}
		for id := range uint64(5) {
			want := i < 2 && id < 3
			if got := tab.Announce(&a, record.IPFIX, 0, Sampler, id, 10); got != want {
				t.Errorf("exporter %d, id %d: %v, want %v", i, id, got, want)
			}
		}
		for d := range uint32(5) {
			if want, got := i < 2 && d < 3, tab.SetInit(&a, record.IPFIX, d, 1); got != want {
				t.Errorf("exporter %d, init of domain %d: %v, want %v", i, d, got, want)
			}
		}
	}
	if len(tab.All()) != 6 || tab.Limited() != 2*2+2*5+2*2+2*5 {
		t.Errorf("%d rates, %d refused", len(tab.All()), tab.Limited())
	}
	a := [16]byte{}
	if !tab.Announce(&a, record.IPFIX, 0, Sampler, 1, 99) {
		t.Error("a full table refuses a change")
	}
	v := tab.View(&a, record.IPFIX, 0)
	if rate, _ := v.Rate(&Query{HasID: true, ID: 1}); rate != 99 {
		t.Errorf("rate %v", rate)
	}
	if v.Init() != 1 || !tab.SetInit(&a, record.IPFIX, 0, 5) || v.Init() != 5 {
		t.Errorf("init %v", v.Init())
	}
}

// Announcements and readers at the same time. Run with -race.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	tab := table(t, nil)
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for i := range 500 {
				if w == 0 {
					tab.Announce(&host, record.IPFIX, uint32(i%3), Sampler, uint64(i%9), float64(i+1))
					tab.SetInit(&host, record.IPFIX, uint32(i%3), int64(i))
					continue
				}
				v := tab.View(&host, record.IPFIX, 1)
				v.Rate(&Query{HasID: true, ID: uint64(i % 9)})
				v.Init()
			}
		})
	}
	wg.Wait()
	if len(tab.All()) != 9*1 { // ids 0..8, each always of one domain: i%9 decides i%3
		t.Errorf("%d rates", len(tab.All()))
	}
}
