package bgp

import (
	"fmt"
	"time"
)

// Quarantine of a route that a router answered with a reset: without it the session would loop for ever, up, rule, down,
// and no blackhole of that router would last.
const (
	quarantine    = 10 * time.Minute // doubles with each strike
	maxQuarantine = 24 * time.Hour
)

// breaker holds one router's quarantined routes by route.key. The session's lock guards it.
type breaker map[string]*strike

type strike struct {
	until time.Time
	count int
	why   string
	// trial is set while the route is in the table again, on probation.
	trial bool
	// waiting is set when the last plan wanted the route.
	waiting bool
}

// begin starts a plan.
func (b breaker) begin() {
	for _, s := range b {
		s.waiting = false
	}
}

// trip puts a route into quarantine.
func (b breaker) trip(key, why string, now time.Time) {
	s := b[key]
	if s == nil {
		s = &strike{}
		b[key] = s
	}
	s.until = now.Add(min(quarantine<<min(s.count, 10), maxQuarantine))
	s.count++
	s.why, s.trial = why, false
}

// refuses says why the route must not be announced now, or nothing. After its quarantine a route is on trial, and only one
// at a time, so that another reset has one culprit.
func (b breaker) refuses(key string, now time.Time) string {
	s := b[key]
	if s == nil || s.trial {
		return ""
	}
	s.waiting = true
	if now.Before(s.until) {
		return fmt.Sprintf("%s (tried again in %s)", s.why, s.until.Sub(now).Round(time.Second))
	}
	for _, o := range b {
		if o.trial {
			return s.why + " (waits for its trial)"
		}
	}
	s.trial = true
	return ""
}

// clear acquits a route that the session has survived; it reports whether there was something to acquit.
func (b breaker) clear(key string) bool {
	_, had := b[key]
	delete(b, key)
	return had
}

// due reports whether the quarantine of a wanted route is over and no trial is on.
func (b breaker) due(now time.Time) bool {
	over := false
	for _, s := range b {
		if s.trial {
			return false
		}
		over = over || s.waiting && !now.Before(s.until)
	}
	return over
}

// forget drops records whose time is over and whose route is not in the table, so that the map cannot grow without end.
func (b breaker) forget(now time.Time, routes map[string]*held) {
	for key, s := range b {
		if _, in := routes[key]; in {
			continue
		}
		s.trial = false
		if now.After(s.until.Add(maxQuarantine)) {
			delete(b, key)
		}
	}
}
