package listen

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"
)

// Bounds.
const (
	// BatchSize is how many datagrams, or runs of them, one call receives at most. Measured: 32 to 128 is the knee of throughput.
	BatchSize = 64
	// MaxDatagram is the longest UDP payload there is; nothing is ever cut.
	MaxDatagram = 65535
	// MaxSockets bounds the sockets of one port.
	MaxSockets = 64
	// Wake is how long Recv waits for a datagram at most.
	Wake = 10 * time.Millisecond
	// MinBuffer and MaxBuffer bound Config.Buffer, in bytes.
	MinBuffer = 64 << 10
	MaxBuffer = 1 << 30
)

// Config is one port.
type Config struct {
	// Address is what to bind. `::` receives IPv6 and IPv4; on a machine without IPv6 it means 0.0.0.0.
	Address netip.Addr
	// Port is the UDP port. Zero lets the kernel choose, for tests.
	Port uint16
	// Sockets is how many sockets share the port, at most MaxSockets. Zero is half of the processors, at most 4.
	Sockets int
	// Buffer is the receive buffer of each socket in bytes as asked for; Stats tells what the kernel gave.
	Buffer int
}

// DefaultConfig listens to everything with 32 MiB a socket: what the kernel may keep while a worker is away, about
// 15,000 full datagrams.
func DefaultConfig() Config {
	return Config{Address: netip.IPv6Unspecified(), Buffer: 32 << 20}
}

// Validate reports every problem, each beginning with its key.
func (c Config) Validate() error {
	var errs []error
	if !c.Address.IsValid() {
		errs = append(errs, errors.New("address: must be set, `::` is every address of both families"))
	}
	if c.Address.Zone() != "" {
		errs = append(errs, fmt.Errorf("address: %s has a zone", c.Address))
	}
	if c.Sockets < 0 || c.Sockets > MaxSockets {
		errs = append(errs, fmt.Errorf("sockets: %d is outside 0..%d", c.Sockets, MaxSockets))
	}
	if c.Buffer < MinBuffer || c.Buffer > MaxBuffer {
		errs = append(errs, fmt.Errorf("buffer: %d is outside %d..%d", c.Buffer, MinBuffer, MaxBuffer))
	}
	return errors.Join(errs...)
}

// Count is how many sockets c opens: one where the system would give all datagrams of a shared port to one of them.
func (c Config) Count() int {
	n := c.Sockets
	if n == 0 {
		n = min(4, max(1, runtime.NumCPU()/2))
	}
	return min(n, maxSharing)
}
