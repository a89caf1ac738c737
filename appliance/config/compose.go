package config

import (
	"errors"
	"fmt"
	"net/netip"
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

// Bans says how an attack begins and ends.
type Bans struct {
	// Enable switches mitigation as a whole.
	Enable bool `json:"enable"`
	// BanTime is how long a target stays mitigated at least.
	BanTime time.Duration `json:"ban_time"`
	// UnbanOnlyIfAttackFinished keeps the mitigation while the attack goes on.
	UnbanOnlyIfAttackFinished bool `json:"unban_only_if_attack_finished"`
}

// Validate reports every problem.
func (b Bans) Validate() error {
	if b.BanTime < 10*time.Second {
		return fmt.Errorf("ban_time: %s is too short; every mitigation ends, and none before 10s", b.BanTime)
	}
	return nil
}

// BGP is the speaker that announces mitigations.
type BGP struct {
	// ASN is the local AS number.
	ASN uint32 `json:"asn"`
	// Peers are the routers, by name.
	Peers map[string]Peer `json:"peers,omitempty"`
}

// Peer is one router.
type Peer struct {
	// Address is the router's address.
	Address netip.Addr `json:"address"`
	// RemoteASN is the router's AS number.
	RemoteASN uint32 `json:"remote_asn"`
}

// Validate reports every problem.
func (b BGP) Validate() error { return nil }

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
