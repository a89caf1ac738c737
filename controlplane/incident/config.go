package incident

import (
	"errors"
	"fmt"
	"time"
)

// Config is the life cycle of bans, for all hostgroups.
type Config struct {
	// Enable lets attacks be mitigated. When false they are found and reported, and only manual blackholes are announced.
	Enable bool `json:"enable"`
	// BanTime is how long an incident lasts at least, 1s to 720h. A hostgroup may set its own. Default: 1900s.
	BanTime time.Duration `json:"ban_time"`
	// UnbanOnlyIfAttackFinished keeps an incident beyond its ban time for as long as the attack goes on. When false it
	// ends at its ban time, and a new one opens if the attack is still there. A blackholed host shows no traffic when its routers
	// drop it before they mirror it; then the ban time alone governs. Default: true.
	UnbanOnlyIfAttackFinished bool `json:"unban_only_if_attack_finished"`
	// Hysteresis is the part of every limit, above 0 up to 1, below which traffic must stay for the attack to count as finished. Default: 0.8.
	Hysteresis float64 `json:"hysteresis"`
	// Quiet is for how long it must stay there, 0 to 1h. Default: 10s.
	Quiet time.Duration `json:"quiet"`
	// Confirm is how many ticks in a row must breach before an incident becomes active, 1 to 1000. Default: 1.
	Confirm int `json:"confirm"`
	// MaxIncidents bounds how many incidents are open at a time, 1 to 1000000; beyond it the largest are kept. Rarely changed. Default: 10000.
	MaxIncidents int `json:"max_incidents"`
}

// Default returns the values that are used when nothing is configured.
func Default() Config {
	return Config{
		Enable: true, BanTime: 1900 * time.Second, UnbanOnlyIfAttackFinished: true,
		Hysteresis: 0.8, Quiet: 10 * time.Second, Confirm: 1, MaxIncidents: 10000,
	}
}

// Limits of a ban time.
const (
	MinBanTime = time.Second
	MaxBanTime = 720 * time.Hour
)

// Validate reports every problem at once, each naming its key.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.BanTime < MinBanTime || c.BanTime > MaxBanTime {
		bad("ban_time: %v is outside %v..%v; every mitigation must end", c.BanTime, MinBanTime, MaxBanTime)
	}
	if !(c.Hysteresis > 0 && c.Hysteresis <= 1) {
		bad("hysteresis: %v is outside 0..1, or zero", c.Hysteresis)
	}
	if c.Quiet < 0 || c.Quiet > time.Hour {
		bad("quiet: %v is outside 0s..1h", c.Quiet)
	}
	if c.Confirm < 1 || c.Confirm > 1000 {
		bad("confirm: %d is outside 1..1000", c.Confirm)
	}
	if c.MaxIncidents < 1 || c.MaxIncidents > 1_000_000 {
		bad("max_incidents: %d is outside 1..1000000", c.MaxIncidents)
	}
	return errors.Join(errs...)
}
