package send

import (
	"time"

	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// Config says where and how to send.
type Config struct {
	// Device is the interface to send on.
	Device string
	// Speed divides the scenario's times: 2 plays it in half the time at twice the rates. 1 when zero.
	Speed float64
	// FlatOut ignores times and sends as fast as the kernel takes frames.
	FlatOut bool
	// Quantum is how far ahead of its time a frame may be sent, to fill batches; 500 µs when zero.
	Quantum time.Duration
	// ThroughQdisc sends through the interface's queueing discipline instead of around it.
	ThroughQdisc bool
	// AttackStarts is called right before the kernel gets the first frame of each stream that is not benign.
	AttackStarts func(stream int, at time.Time)
	// Sent is called for each frame that the kernel took, with the time at which it was handed over in f.Time.
	// It must not keep f.
	Sent func(f *gen.Frame)
}

// Stats are what happened.
type Stats struct {
	// Sent and Bytes are what the kernel took, Refused what it did not (a full queue, a frame over the MTU).
	Sent    uint64 `json:"sent"`
	Bytes   uint64 `json:"bytes"`
	Refused uint64 `json:"refused"`
	// Retries is how often the kernel had no buffer and was asked again.
	Retries uint64 `json:"retries"`
	// Behind is the most that a frame was late.
	Behind time.Duration `json:"behind_ns"`
	// Start and End are the moments of the first and last hand-over.
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}
