package sampling

import "math"

// Announcement is the sampling part of one options record or data record, as exported; Has says which fields were there.
type Announcement struct {
	// Interval34 is IE 34, Random50 IE 50.
	Interval34, Random50 uint64
	// Packets305 of each Packets305+Space306 are taken (RFC 5477 8.2.2, 8.2.3); Size309 of Population310 at random (8.2.4, 8.2.5).
	Packets305, Space306, Size309, Population310 uint64
	// Probability is IE 311, a float64 (or float32, widened) between 0 and 1.
	Probability float64
	Has         Fields
}

// Fields is a set of the fields of an Announcement.
type Fields uint8

// The fields.
const (
	HasInterval34 Fields = 1 << iota
	HasRandom50
	HasPackets305
	HasSpace306
	HasPopulation // 309 and 310
	HasProbability
)

// MaxRate is the highest rate that is believed.
const MaxRate = 1 << 31

// Rate is how many packets each exported one stands for, at least 1; 0 when nothing usable was announced. Zero intervals announce
// that nothing is sampled, and give 1.
func (a *Announcement) Rate() float64 {
	rate := a.rate()
	if !(rate >= 0) || rate > MaxRate { // NaN too
		return 0
	}
	return rate
}

func (a *Announcement) rate() float64 {
	switch {
	case a.Has&HasRandom50 != 0 && a.Random50 > 0:
		return float64(a.Random50)
	case a.Has&HasInterval34 != 0 && a.Interval34 > 0:
		return float64(a.Interval34)
	case a.Has&HasPopulation != 0 && a.Size309 > 0 && a.Population310 > 0:
		return math.Max(1, float64(a.Population310)/float64(a.Size309))
	case a.Has&(HasSpace306|HasPackets305) == HasSpace306|HasPackets305 && a.Packets305 > 0:
		return (float64(a.Packets305) + float64(a.Space306)) / float64(a.Packets305)
	case a.Has&HasPackets305 != 0 && a.Packets305 > 0:
		return float64(a.Packets305) // IOS-XR says 1:n so, without a space; by RFC 5477 it would be 1
	case a.Has&HasProbability != 0 && a.Probability > 0 && a.Probability <= 1:
		return 1 / a.Probability
	case a.Has&(HasRandom50|HasInterval34) != 0:
		return 1
	}
	return 0
}
