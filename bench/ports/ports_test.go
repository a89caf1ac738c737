package ports

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/weir-ddos/weir/bench/cable"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
)

func TestMain(m *testing.M) {
	cable.Child()
	os.Exit(m.Run())
}

// The benchmark works: every kind of case gives a figure, at both rates. WEIR_BENCH=1 prints the whole table,
// WEIR_BENCH=afxdp a driver's part.
func TestRun(t *testing.T) {
	if why := netns.Missing(); why != "" {
		t.Skip(why)
	}
	if os.Getenv("WEIR_BENCH") != "" {
		cases := slices.DeleteFunc(Cases(2*time.Second), func(c Case) bool {
			only := os.Getenv("WEIR_BENCH") // a driver, or 1 for all
			return only != "1" && only != c.Driver
		})
		if err := Table(os.Stdout, cases, 1); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, c := range []Case{
		{Driver: "afxdp", What: Flows},
		{Driver: "afpacket", What: Hosts, IPv6: true},
		{Driver: "afxdp", What: Bare, OneTarget: true, Rate: 20_000},
	} {
		c.Time = 300 * time.Millisecond
		r, err := Run(c)
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if r.Received == 0 || r.Nanoseconds <= 0 {
			t.Errorf("%+v", r)
		}
		t.Logf("%s, %s, %s: %.0f ns a packet, %d received, %d dropped", c.Driver, r.Mode, c.What, r.Nanoseconds, r.Received, r.Dropped)
	}
}
