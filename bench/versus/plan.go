package versus

import (
	"fmt"
	"slices"
	"time"
)

// Paced is the rate of scenarios that are not played as fast as it goes: any side can carry it.
const Paced = 200_000

// Plan is the part of all combinations that says most, in the time that `make bench` has: every side at one scenario, then what the
// others say about Weir. quick leaves out most of it.
func Plan(quick bool) ([]Block, error) {
	main := []string{"weir-afpacket", barePacket, flowsPacket, tracking}
	both := []string{"weir-afxdp", "weir-afpacket", bareXDP, flowsXDP, barePacket, flowsPacket, tracking}
	var every []string
	for _, s := range Sides() {
		every = append(every, s.Name)
	}
	const short = time.Second
	turns := []struct {
		scenario string
		rate     int
		sides    []string
		length   time.Duration
	}{
		{"syn-65k", 0, every, 0},
		{"syn-65k", Paced, main, 0},
		{"syn-1", 0, both, 0},
		{"syn-1m", 0, both, 0},
		{"imix", 0, both, short},
		{"tunnel", 0, main, short},
		{"ipv6", 0, both, short},
		{"garbage", 0, main[:3], short}, // which of it FastNetMon has looked at, nobody knows
	}
	repeat := 3
	if quick {
		turns, repeat = turns[:1], 1
	}
	var plan []Block
	for _, t := range turns {
		sc, err := Find(t.scenario)
		if err != nil {
			return nil, err
		}
		sides, err := Choose(t.sides...)
		if err != nil {
			return nil, err
		}
		plan = append(plan, Block{Scenario: sc, Rate: t.rate, Sides: sides, Repeat: repeat, Length: t.length})
	}
	return plan, nil
}

// Find finds a built-in scenario.
func Find(name string) (Scenario, error) {
	all := Scenarios()
	i := slices.IndexFunc(all, func(s Scenario) bool { return s.Name == name })
	if i < 0 {
		return Scenario{}, fmt.Errorf("no scenario %q", name)
	}
	return all[i], nil
}

// Lossy is a block at a rate at which FastNetMon must lose packets: 95 % of the one at which it would have needed most of a
// processor, for long enough to fill its rings, which hold more than two hundred thousand packets. ok is false when one processor is enough for it.
func Lossy(results []Result, repeat int) (b Block, ok bool, err error) {
	const (
		share = 0.95
		step  = 10_000
		long  = 4 * time.Second
	)
	need := func(r Result) float64 { return share * r.Offered() * r.Median() / float64(time.Second) }
	var worst Result
	for _, r := range results {
		if r.Side.Kind == Peer && r.Rate == 0 && !r.Scenario.Odd && need(r) > need(worst) {
			worst = r
		}
	}
	rate := int(share*worst.Offered()) / step * step
	if need(worst) < 1 || rate == 0 {
		return b, false, nil
	}
	sides, err := Choose(worst.Side.Name, "weir-afpacket", "weir-afxdp")
	return Block{Scenario: worst.Scenario, Rate: rate, Sides: sides, Repeat: repeat, Length: long}, err == nil, err
}
