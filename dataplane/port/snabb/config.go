//go:build linux

package snabb

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/snabb/link"
)

// Options are the settings of the snabb driver under ports.options. The library takes the settings over with the connection; its own
// process has one setting, WEIR_SNABB_SOCKET, in its environment.
type Options struct {
	// Socket is where the library listens, an absolute path: the same as its WEIR_SNABB_SOCKET. Snabb processes beside each other need
	// one each. Systemd gives the appliance a /tmp of its own, so that is no good place.
	Socket string `json:"socket"`
	// Slots is how many frames each queue's ring holds, a power of two from 64 to 1048576.
	Slots int `json:"slots"`
	// Memory is how many kilobytes of frames each queue's ring holds, a power of two from 64 to 1048576; all queues at most 4 GB.
	Memory int `json:"memory"`
	// Snap is how many bytes of a frame are kept, 64 to 16384. Shorter is faster, and a ring holds more.
	Snap int `json:"snap"`
}

// Default returns the options that hold when nothing is set: 65,536 frames are 4 ms of the shortest at 10 Gbit/s, 16 MB
// are 13 ms of the longest.
func Default() Options {
	return Options{Socket: link.DefaultSocket, Slots: 65536, Memory: 16384, Snap: 2048}
}

// geometry is what o and a number of queues mean for the memory.
func (o Options) geometry(queues int) link.Geometry {
	return link.Geometry{Queues: max(queues, 1), Slots: o.Slots, Data: o.Memory << 10, Snap: o.Snap}
}

// Validate reports every problem at once, each naming its key.
func (o Options) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("options."+key+": "+format, args...))
	}
	power := func(key string, v, low, high int) {
		switch {
		case v < low || v > high:
			bad(key, "%d is outside %d..%d", v, low, high)
		case v&(v-1) != 0:
			bad(key, "%d is no power of two", v)
		}
	}
	if !filepath.IsAbs(o.Socket) || len(o.Socket) > 107 {
		bad("socket", "%q is no absolute path of at most 107 bytes", o.Socket)
	}
	power("slots", o.Slots, link.MinSlots, link.MaxSlots)
	power("memory", o.Memory, link.MinData>>10, link.MaxData>>10)
	if o.Snap < link.MinSnap || o.Snap > link.MaxSnap {
		bad("snap", "%d is outside %d..%d", o.Snap, link.MinSnap, link.MaxSnap)
	}
	return errors.Join(errs...)
}

// options checks cfg and returns its options.
func options(cfg port.Config) (Options, error) {
	o := Default()
	errs := []error{port.DecodeOptions(cfg.Options, &o)}
	if err := link.CheckDevice(cfg.Device); err != nil {
		errs = append(errs, fmt.Errorf("device: %w", err))
	}
	if cfg.Queues < 0 || cfg.Queues > link.MaxQueues {
		errs = append(errs, fmt.Errorf("queues: %d is outside 0..%d", cfg.Queues, link.MaxQueues))
	}
	errs = append(errs, o.Validate())
	if errors.Join(errs...) == nil {
		errs = append(errs, o.geometry(cfg.Queues).Validate()) // all queues together
	}
	return o, errors.Join(errs...)
}
