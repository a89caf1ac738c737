package worker

import (
	"errors"

	"github.com/weir-ddos/weir/dataplane/flowtrack"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// Idle is what a worker does when its queues are empty.
type Idle uint8

// The idle policies.
const (
	// IdleSleep sleeps 50 microseconds to 1 millisecond while frames come, and up to 10 until they do, as Sleeper says: for shared
	// cores, tests and low rates.
	IdleSleep Idle = iota
	// IdlePause spins for a few microseconds, then yields the thread, then sleeps 20 microseconds.
	IdlePause
	// IdleSpin polls without end: the core belongs to the worker.
	IdleSpin
	numIdle
)

var idleNames = [numIdle]string{"sleep", "pause", "spin"}

// String is the policy's name in the configuration: sleep, pause, spin.
func (i Idle) String() string {
	if i < numIdle {
		return idleNames[i]
	}
	return "invalid"
}

// MarshalText writes the policy's name.
func (i Idle) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads the policy's name.
func (i *Idle) UnmarshalText(b []byte) error {
	for k, n := range idleNames {
		if n == string(b) {
			*i = Idle(k)
			return nil
		}
	}
	return errors.New(`idle: "` + string(b) + `" is none of sleep, pause, spin`)
}

// CountBytes is what a packet's bytes are.
type CountBytes uint8

// What is counted as bytes.
const (
	// CountFrame counts the frame's length on the wire without FCS.
	CountFrame CountBytes = iota
	// CountIP counts the length that the charged IP header says.
	CountIP
	numCountBytes
)

var countNames = [numCountBytes]string{"frame", "ip"}

// String is the name in the configuration: frame, ip.
func (c CountBytes) String() string {
	if c < numCountBytes {
		return countNames[c]
	}
	return "invalid"
}

// MarshalText writes the name.
func (c CountBytes) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the name.
func (c *CountBytes) UnmarshalText(b []byte) error {
	for k, n := range countNames {
		if n == string(b) {
			*c = CountBytes(k)
			return nil
		}
	}
	return errors.New(`count_bytes: "` + string(b) + `" is none of frame, ip`)
}

// Config is what all workers of an appliance have in common.
type Config struct {
	// Idle is what a worker does when its queues are empty: sleep, pause or spin.
	Idle Idle `json:"idle"`
	// Traffic sizes the host rows of each worker.
	Traffic traffic.Config `json:"traffic"`
	// Flows sizes the flow sets of each worker; zero flows switches counting them off.
	Flows flowtrack.Config `json:"flows"`
	// Internal says which rows traffic between two own hosts is charged to: both, incoming, outgoing, none.
	Internal traffic.InternalPolicy `json:"internal"`
	// CountBytes is what a packet's bytes are: frame (length on the wire) or ip (length of the IP datagram).
	CountBytes CountBytes `json:"count_bytes"`
}

// DefaultConfig sleeps when idle, holds a million hosts and two million flows.
func DefaultConfig() Config {
	return Config{Traffic: traffic.DefaultConfig(), Flows: flowtrack.DefaultConfig()}
}

// Validate reports every problem at once, each naming its key.
func (c Config) Validate() error {
	var errs []error
	if c.Idle >= numIdle {
		errs = append(errs, errors.New("idle: is none of sleep, pause, spin"))
	}
	if c.CountBytes >= numCountBytes {
		errs = append(errs, errors.New("count_bytes: is none of frame, ip"))
	}
	if c.Internal > traffic.InternalNone {
		errs = append(errs, errors.New("internal: is none of both, incoming, outgoing, none"))
	}
	return errors.Join(append(errs, c.Traffic.Validate(), c.Flows.Validate())...)
}

// Size is the address space in bytes that one worker reserves.
func (c Config) Size() uint64 {
	n := c.Traffic.Size()
	if c.Flows.Flows > 0 {
		n += c.Flows.Size()
	}
	return n
}
