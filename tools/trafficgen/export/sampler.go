package export

import "math/rand/v2"

// sampler takes one packet of every run of n, a random one: exact in number like a counter, and blind to periods in the traffic.
type sampler struct {
	n, left, take uint32
	rng           *rand.Rand
}

func newSampler(n uint32, seed, stream uint64) sampler {
	return sampler{n: n, rng: rand.New(rand.NewPCG(seed, stream))}
}

// next says whether the next packet is taken.
func (s *sampler) next() bool {
	if s.n <= 1 {
		return true
	}
	if s.left == 0 {
		s.left, s.take = s.n, 1+s.rng.Uint32N(s.n)
	}
	taken := s.left == s.take
	s.left--
	return taken
}
