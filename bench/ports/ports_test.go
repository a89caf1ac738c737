package ports

import (
	"os"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
)

func TestMain(m *testing.M) {
	Child()
	os.Exit(m.Run())
}

// The benchmark works: every kind of case gives a figure, at both rates. WEIR_BENCH=1 prints the whole table.
func TestRun(t *testing.T) {
	if why := netns.Missing(); why != "" {
		t.Skip(why)
	}
	if os.Getenv("WEIR_BENCH") != "" {
		if err := Table(os.Stdout, Cases(2*time.Second), 1); err != nil {
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
		if r.Received == 0 || (c.Rate == 0 && r.Nanoseconds <= 0) { // at a low rate idle time is most of it
			t.Errorf("%+v", r)
		}
		t.Logf("%s, %s, %s: %.0f ns a packet, %d received, %d dropped", c.Driver, r.Mode, c.What, r.Nanoseconds, r.Received, r.Dropped)
	}
}
