package main

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/packetbuild"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
)

func TestClip(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line  string
		width int
		want  string
	}{
		{"plain", 10, "plain"},
		{"plain", 5, "plain"},
		{"plain", 3, "pla\x1b[0m"},
		{"\x1b[1;31mred\x1b[0m", 3, "\x1b[1;31mred\x1b[0m"},
		{"\x1b[1;31mred\x1b[0m", 2, "\x1b[1;31mre\x1b[0m"},
		{"▁▂▃", 2, "▁▂\x1b[0m"},
		{"x", 0, "\x1b[0m"},
		{"\x1b[broken", 2, "\x1b[\x1b[0m"},
	} {
		if got := clip(c.line, c.width); got != c.want {
			t.Errorf("clip(%q, %d) = %q, want %q", c.line, c.width, got, c.want)
		}
	}
}

func TestDrawings(t *testing.T) {
	t.Parallel()
	s := &screen{}
	for _, c := range []struct{ got, want string }{
		{s.spark([]float64{0, 1, 50, 99, 100, 500}, 100, 8), "   .:###"},
		{s.spark([]float64{1, 2, 3}, 3, 2), "=#"},
		{s.spark(nil, 0, 3), "   "},
		{(&screen{blocks: true}).spark([]float64{0, 1, 100}, 100, 4), "  ▁█"},
		{bar(0, 100, 5), "....."},
		{bar(0.1, 100, 5), "#...."},
		{bar(50, 100, 4), "##.."},
		{bar(500, 100, 4), "####"},
		{bar(1, 0, 4), "...."},
		{count(0), "0"},
		{count(999.6), "1,000"},
		{count(1234567), "1,234,567"},
		{count(-1234), "-1,234"},
		{count(-0.2), "0"},
		{(&screen{}).paint(red, "x"), "x"},
		{(&screen{colour: true}).paint(red, "x"), "\x1b[1;31mx\x1b[0m"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestBlockIsRenewedInPlace(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := &screen{w: &out, live: true, width: func() int { return 6 }}
	s.status("one", "two-long")
	s.line("stays")
	s.status()
	if got, want := out.String(), "one\ntwo-l\x1b[0m\n"+"\x1b[2A\x1b[Jstays\none\ntwo-l\x1b[0m\n"+"\x1b[2A\x1b[J"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	out.Reset()
	s = newScreen(&out, func(string) string { return "xterm" }) // not a terminal, whatever TERM says
	s.status("never")
	s.line("only %d", 1)
	if got := out.String(); got != "only 1\n" {
		t.Errorf("without a terminal: %q", got)
	}
}

// TestCounter counts real packets on a real cable.
func TestCounter(t *testing.T) {
	t.Parallel()
	left, right := &netns.Link{NS: netns.New(t), Name: "left"}, &netns.Link{NS: netns.New(t), Name: "right"}
	netns.Veth(t, left, right, 1)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	counters := make(map[string]*counter)
	must(right.NS.Do(func() error {
		for _, to := range []string{"10.0.0.66", "2001:db8::66", ""} {
			addr, _ := netip.ParseAddr(to)
			c, err := newCounter("right", addr)
			if err != nil {
				return err
			}
			t.Cleanup(func() { must(c.close()) })
			counters[to] = c
		}
		_, err := newCounter("nowhere", netip.Addr{})
		if err == nil || !strings.Contains(err.Error(), `"nowhere"`) {
			t.Errorf("a device that is not there: %v", err)
		}
		return nil
	}))
	frames := map[string]int{"10.0.0.66": 70, "10.0.0.67": 5, "2001:db8::66": 2000, "2001:db8::67": 3, "2001:db8:0:1::66": 4, "arp": 6}
	must(left.NS.Do(func() error {
		s, err := porttest.NewSender("left")
		if err != nil {
			return err
		}
		defer s.Close()
		for to, n := range frames {
			f := make([]byte, 60) // all zeros is neither IPv4 nor IPv6
			switch {
			case strings.Contains(to, ":"):
				f = packetbuild.Ether().IPv6("2001:2::1", to).UDP(1, 2).Bytes()
			case to != "arp":
				f = packetbuild.Ether().IPv4("198.18.0.1", to).UDP(1, 2).Bytes()
			}
			for range n {
				if _, err := s.Send([][]byte{f}); err != nil {
					return err
				}
			}
		}
		return nil
	}))
	for to, want := range map[string]uint64{"10.0.0.66": 70, "2001:db8::66": 2000, "": 70 + 5 + 2000 + 3 + 4} {
		c := counters[to]
		for deadline := time.Now().Add(time.Minute); c.total < want && time.Now().Before(deadline); {
			must(c.read())
		}
		must(c.read())
		if c.total != want {
			t.Errorf("to %q: counted %d packets, want %d", to, c.total, want)
		}
	}
	c := counters["10.0.0.66"]
	now := time.Unix(1000, 0)
	if r := c.rate(now); r != 0 {
		t.Errorf("the first rate is %g", r)
	}
	c.total += 50
	if r := c.rate(now.Add(time.Second / 2)); r != 100 {
		t.Errorf("rate %g, want 100", r)
	}
}
