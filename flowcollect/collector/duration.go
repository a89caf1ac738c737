package collector

import "time"

// durationLimits are the upper ends of the classes in which durations are counted, FastNetMon's; the last class has none.
var durationLimits = [...]time.Duration{
	time.Nanosecond, time.Second, 2 * time.Second, 3 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	60 * time.Second, 90 * time.Second, 180 * time.Second,
}

const numDurations = len(durationLimits) + 1

// durationNames are what the classes are called behind "duration_".
var durationNames = [numDurations]string{
	"0_seconds", "less_1_seconds", "less_2_seconds", "less_3_seconds", "less_5_seconds", "less_10_seconds", "less_15_seconds",
	"less_30_seconds", "less_60_seconds", "less_90_seconds", "less_180_seconds", "exceed_180_seconds",
}

func durationClass(d time.Duration) int {
	for i, limit := range durationLimits {
		if d < limit {
			return i
		}
	}
	return len(durationLimits)
}
