package config

import (
	"errors"
	"fmt"
	"time"
)

// Stand-ins for Config types that their packages have not published yet.

// Rates says how packets and bytes become rates.
type Rates struct {
	// Mode is window (a plain window: packets of the window by its measured length) or average (FastNetMon's exponential average).
	Mode string `json:"mode"`
	// Window is the length of the plain window. Zero means one tick, or 500ms when the tick is shorter.
	Window time.Duration `json:"window"`
	// AverageTime is the time constant of the average.
	AverageTime time.Duration `json:"average_time"`
}

// Validate reports every problem.
func (r Rates) Validate() error {
	var errs []error
	errs = append(errs, oneOf("mode", r.Mode, "window", "average"))
	if r.Window < 0 || r.Window > 10*time.Minute {
		errs = append(errs, fmt.Errorf("window: %s is outside 0s..10m", r.Window))
	}
	if r.AverageTime < time.Second || r.AverageTime > time.Hour {
		errs = append(errs, fmt.Errorf("average_time: %s is outside 1s..1h", r.AverageTime))
	}
	return errors.Join(errs...)
}

// Notify says whom to tell about attacks.
type Notify struct {
	// Script is run at each event.
	Script string `json:"script"`
}

// Validate reports every problem.
func (n Notify) Validate() error { return nil }

// Journal is where state is kept.
type Journal struct {
	// Path is the file.
	Path string `json:"path"`
}

// Validate reports every problem.
func (j Journal) Validate() error { return nil }
