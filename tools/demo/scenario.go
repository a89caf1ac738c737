package main

import (
	"net/netip"
	"time"

	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// The victims: customers in the networks that the demo's appliance protects.
var (
	victim4 = netip.MustParseAddr("10.0.0.66")
	victim6 = netip.MustParseAddr("2001:db8::66")
)

// timing is the length of the acts.
type timing struct {
	// quiet is how long the quiet minute takes, played faster.
	quiet time.Duration
	// attack is how long each attack lasts, stagger how much later the second one begins.
	attack, stagger time.Duration
	// tail is how long the usual traffic goes on after the last attack.
	tail time.Duration
	// pps is the rate of each attack.
	pps float64
}

const (
	quietMinute = time.Minute
	usual       = 2000.0 // packets per second of benign traffic
	visits      = 100.0  // of which go to each victim, besides the background's own
)

// attacks are the two of the story.
func (t timing) attacks() []*attack {
	return []*attack{
		{addr: victim4, name: "SYN flood", pps: t.pps},
		{addr: victim6, name: "DNS amplification", pps: t.pps},
	}
}

// customers is benign traffic to the victims, so that one sees them cut off, and back again.
func customers(pps float64) []gen.Stream {
	var out []gen.Stream
	for _, v := range []netip.Addr{victim4, victim6} {
		out = append(out, gen.Stream{Name: "customers of " + v.String(), Kind: "tcp", Target: v.String(), PPS: pps, Flows: 20, Benign: true})
	}
	return out
}

// quietScenario is a minute of benign traffic that comes to the usual rates when it is played in t.quiet.
func (t timing) quietScenario(epoch time.Time) gen.Scenario {
	speed := t.quietSpeed()
	return gen.Scenario{
		Name: "quiet minute", Seed: 1, Epoch: epoch, Background: usual / speed, Length: gen.Duration(quietMinute), Streams: customers(visits / speed),
	}
}

func (t timing) quietSpeed() float64 { return quietMinute.Seconds() / t.quiet.Seconds() }

// floodScenario is the attacks, the first from its first moment on, over the usual traffic. Streams 0 and 1 are the attacks.
func (t timing) floodScenario(epoch time.Time, lead time.Duration) gen.Scenario {
	s := gen.Scenario{Name: "floods", Seed: 2, Epoch: epoch, Background: usual}
	s.Streams = []gen.Stream{
		{Kind: "syn", Target: victim4.String(), PPS: t.pps, Start: gen.Duration(lead), Duration: gen.Duration(t.attack)},
		{Kind: "dns_amp", Target: victim6.String(), PPS: t.pps, Sizes: []int{480}, Start: gen.Duration(lead + t.stagger), Duration: gen.Duration(t.attack)},
	}
	s.Streams = append(s.Streams, customers(visits)...)
	s.Length = gen.Duration(lead + t.stagger + t.attack + t.tail)
	return s
}
