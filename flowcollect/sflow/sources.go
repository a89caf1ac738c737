package sflow

// Sources follows what sampling did at each data source of each agent: samples lost on the way, samples that the agent had no resources
// for, and the rate that follows from its packet counts instead of its announcement. It is bounded, and belongs to one goroutine; what it
// says is right even when that goroutine sees only a part of an agent's datagrams, but then Lost counts the others' samples too.
type Sources struct {
	index map[sourceKey]int
	list  []SourceStats
	max   int
	full  uint64
}

// sourceKey is a data source.
type sourceKey struct {
	agent  [16]byte
	domain uint32
	source Source
}

// SourceStats is what is known about one data source.
type SourceStats struct {
	// Agent, Domain (the sub-agent) and Source say which.
	Agent  [16]byte
	Domain uint32
	Source Source
	// Announced is the rate of the last sample, 0 unknown.
	Announced uint32
	// Samples is how many were seen, Taken how many the agent's sequence says it took since the first of them. With Packets and Dropped
	// they are halved now and then, and begin again with another rate.
	Samples, Taken uint64
	// Packets is how many packets could have been sampled meanwhile, by the agent's count; Dropped is samples that it had no resources for.
	Packets, Dropped uint64
	// Restarts is how often the sequence began again.
	Restarts uint64

	sequence, pool, drops uint32
}

// NewSources follows at most limit data sources; further ones are counted by Refused.
func NewSources(limit int) *Sources {
	return &Sources{index: make(map[sourceKey]int), max: limit}
}

// Observe takes one flow sample: once for each, so not for a record of kind SectionTunnel. It allocates only for a new source.
func (s *Sources) Observe(agent [16]byte, domain uint32, sample *Sample) {
	key := sourceKey{agent, domain, sample.Source}
	i, ok := s.index[key]
	if !ok {
		if len(s.list) >= s.max {
			s.full++
			return
		}
		s.index[key] = len(s.list)
		s.list = append(s.list, SourceStats{
			Agent: agent, Domain: domain, Source: sample.Source, Announced: sample.Rate,
			Samples: 1, sequence: sample.Sequence, pool: sample.Pool, drops: sample.Drops,
		})
		return
	}
	s.list[i].observe(sample)
}

const (
	// reordered is how far behind a sample may be to count as late and not as a restart of the agent.
	reordered = 1000
	// memory is after how many samples what was counted weighs half: what an agent does changes with its load.
	memory = 1 << 16
)

func (s *SourceStats) observe(sample *Sample) {
	s.Samples++
	ahead := int32(sample.Sequence - s.sequence)
	switch {
	case ahead <= 0 && ahead > -reordered:
		return // late or doubled: its packets were in the difference of an earlier one
	case ahead > 0 && ahead < 1<<24 && sample.Rate == s.Announced:
		s.Taken += uint64(ahead)
		s.Packets += uint64(sample.Pool - s.pool)
		s.Dropped += uint64(sample.Drops - s.drops)
		if s.Taken > memory {
			s.Samples, s.Taken, s.Packets, s.Dropped = s.Samples/2, s.Taken/2, s.Packets/2, s.Dropped/2
		}
	default: // another rate, or the agent's restart
		if sample.Rate == s.Announced {
			s.Restarts++
		}
		s.Announced = sample.Rate
		s.Samples, s.Taken, s.Packets, s.Dropped = 1, 0, 0, 0
	}
	s.sequence, s.pool, s.drops = sample.Sequence, sample.Pool, sample.Drops
}

// Lost is how many samples the agent took that were not seen.
func (s *SourceStats) Lost() uint64 {
	if s.Taken+1 < s.Samples {
		return 0
	}
	return s.Taken + 1 - s.Samples
}

// Effective is how many packets each taken sample stood for, by the agent's own count. 0 when it is not known yet, or the agent does not
// count packets.
func (s *SourceStats) Effective() float64 {
	if s.Taken == 0 {
		return 0
	}
	return float64(s.Packets) / float64(s.Taken)
}

// All are the sources in the order of their first sample. The slice is valid until the next Observe.
func (s *Sources) All() []SourceStats { return s.list }

// Refused is how many samples came from sources for which there was no room.
func (s *Sources) Refused() uint64 { return s.full }
