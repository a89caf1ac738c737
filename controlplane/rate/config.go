package rate

import (
	"errors"
	"fmt"
	"time"
)

// Mode is how counts become rates.
type Mode string

// The modes.
const (
	// Window is the sum over the last window, divided by its measured length: an attack is seen on the first full tick.
	Window Mode = "window"
	// Average is FastNetMon's exponential average: avg = new + exp(-t/average_time) * (avg - new). It ignores short
	// bursts, and sees an attack of twice the limit only after 0.7 average_time.
	Average Mode = "average"
)

// Config says how rates are measured.
type Config struct {
	// Mode is window (the default) or average.
	Mode Mode `json:"mode"`
	// Window is the length of the window, 100ms to 60s. Zero means one tick, and 500ms when the tick is shorter than 1s. Flows
	// are of a whole second at least, whatever the window is.
	Window time.Duration `json:"window"`
	// AverageTime is FastNetMon's average_calculation_time, 100ms to 10m. Default: 5s.
	AverageTime time.Duration `json:"average_time"`
	// MaxHosts bounds for how many hosts near or above a limit rates are kept, 1 to 16777216; each takes about 300 bytes
	// in average mode and 80 in window mode. Rarely changed. Default: 262144.
	MaxHosts int `json:"max_hosts"`
	// TopHosts is how many of the busiest hosts are listed per direction, family and order, 0 to 10000. Default: 100.
	TopHosts int `json:"top_hosts"`
}

// Default returns the values that are used when nothing is configured.
func Default() Config {
	return Config{Mode: Window, AverageTime: 5 * time.Second, MaxHosts: 1 << 18, TopHosts: 100}
}

// Validate reports every problem at once, each naming its key.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Mode != Window && c.Mode != Average {
		bad("mode: %q is neither window nor average", string(c.Mode))
	}
	if c.Window != 0 && (c.Window < 100*time.Millisecond || c.Window > time.Minute) {
		bad("window: %v is outside 100ms..60s", c.Window)
	}
	if c.AverageTime < 100*time.Millisecond || c.AverageTime > 10*time.Minute {
		bad("average_time: %v is outside 100ms..10m", c.AverageTime)
	}
	if c.MaxHosts < 1 || c.MaxHosts > 1<<24 {
		bad("max_hosts: %d is outside 1..%d", c.MaxHosts, 1<<24)
	}
	if c.TopHosts < 0 || c.TopHosts > 10000 {
		bad("top_hosts: %d is outside 0..10000", c.TopHosts)
	}
	return errors.Join(errs...)
}

// Length is the window's length for a given tick.
func (c Config) Length(tick time.Duration) time.Duration {
	switch {
	case c.Window != 0:
		return c.Window
	case tick < time.Second:
		return max(tick, 500*time.Millisecond)
	default:
		return tick
	}
}

// snapshots is how many ticks a window spans at most.
func (c Config) snapshots(tick time.Duration) int {
	if c.Mode == Average {
		return 1
	}
	// A twentieth of a tick does not make another one necessary: rates divide by measured time anyway.
	return max(1, int((c.Length(tick)+tick*19/20)/tick))
}
