package sflow

import "testing"

func TestSources(t *testing.T) {
	s := NewSources(2)
	agent, other := addr("192.0.2.1"), addr("2001:db8::1")
	see := func(agent [16]byte, sequence, pool, drops uint32) {
		s.Observe(agent, 7, &Sample{Sequence: sequence, Pool: pool, Drops: drops, Rate: 100, Source: Source{0, 3}})
	}
	pool := uint32(0xffffff00)
	see(agent, 0xfffffffe, pool, 5)
	if all := s.All(); len(all) != 1 || all[0].Effective() != 0 || all[0].Lost() != 0 || all[0].Announced != 100 {
		t.Fatalf("after the first sample: %+v", all)
	}
	see(agent, 0xffffffff, pool+150, 5)
	see(agent, 1, pool+450, 6) // both counters wrapped; sample 0 was lost
	see(agent, 0, pool+300, 5) // and comes late
	got := s.All()[0]
	if got.Samples != 4 || got.Taken != 3 || got.Packets != 450 || got.Dropped != 1 || got.Lost() != 0 || got.Effective() != 150 || got.Restarts != 0 {
		t.Errorf("%+v", got)
	}
	see(agent, 11, pool+1950, 6)
	if got := s.All()[0]; got.Lost() != 9 || got.Effective() != 150 {
		t.Errorf("with loss: %+v", got)
	}
	see(agent, 5_000_000, 77, 0)
	see(agent, 1, 10, 0)
	if got := s.All()[0]; got.Restarts != 1 || got.Taken != 0 || got.Samples != 1 || got.Effective() != 0 {
		t.Errorf("after a restart: %+v", got)
	}
	see(other, 1, 0, 0)
	see(addr("192.0.2.3"), 1, 0, 0)
	if len(s.All()) != 2 || s.Refused() != 1 {
		t.Errorf("%d sources, %d refused", len(s.All()), s.Refused())
	}
	sample := &Sample{Sequence: 2, Source: Source{0, 3}}
	if n := testing.AllocsPerRun(100, func() { sample.Sequence++; s.Observe(agent, 7, sample) }); n != 0 {
		t.Errorf("%v allocations for a known source", n)
	}
}
