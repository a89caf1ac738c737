//go:build linux

package pfring

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/internal/netdev"
)

// Options are the settings of the pfring driver under ports.options. How many packets a ring holds is a parameter of the
// module (min_num_slots).
type Options struct {
	// Snap is how many bytes of a frame are kept, 64 to 65535. Shorter is faster, and a ring holds more.
	Snap int `json:"snap"`
	// Cluster is the number of the cluster that shares the interface's frames among queues, 1 to 65535; 0 chooses one when there
	// are several queues. Two processes share an interface by naming one.
	Cluster int `json:"cluster"`
	// Spread says how a cluster shares frames: 2-tuple (by addresses, which keeps fragments with their flow), 4-tuple, 5-tuple,
	// flow (as 5-tuple, and VLAN), or round-robin.
	Spread string `json:"spread"`
	// Promiscuous makes the interface take frames for any address, as a mirror port must.
	Promiscuous bool `json:"promiscuous"`
	// Outgoing counts frames that this host sends through the interface too. On a mirror port there are none that matter.
	Outgoing bool `json:"outgoing"`
	// Unlocked lets the module fill the ring without a lock: a little faster, and safe only when one processor alone receives
	// from the interface.
	Unlocked bool `json:"unlocked"`
	// Wait is how long a worker may sleep in the kernel when there is nothing, 0s to 10ms. With 0s it never does, and the
	// worker's idle policy alone decides. Use it only for workers with one queue.
	Wait port.Duration `json:"wait"`
}

// Default returns the options that hold when nothing is set.
func Default() Options { return Options{Snap: 1536, Spread: "2-tuple", Promiscuous: true} }

// spreads are the cluster types by name.
var spreads = map[string]uint32{"flow": 0, "round-robin": 1, "2-tuple": 2, "4-tuple": 3, "5-tuple": 4}

const (
	maxQueues = 64
	maxWait   = port.Duration(10 * time.Millisecond)
)

// Validate reports every problem at once, each naming its key.
func (o Options) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("options."+key+": "+format, args...))
	}
	if o.Snap < 64 || o.Snap > 65535 {
		bad("snap", "%d is outside 64..65535", o.Snap)
	}
	if o.Cluster < 0 || o.Cluster > 65535 {
		bad("cluster", "%d is outside 0..65535", o.Cluster)
	}
	if _, ok := spreads[o.Spread]; !ok {
		bad("spread", "%q is not one of %s", o.Spread, strings.Join(slices.Sorted(maps.Keys(spreads)), ", "))
	}
	if o.Unlocked && o.Outgoing {
		bad("unlocked", "the module always locks when it captures outgoing frames")
	}
	if o.Wait < 0 || o.Wait > maxWait {
		bad("wait", "%v is outside 0s..10ms", time.Duration(o.Wait))
	}
	return errors.Join(errs...)
}

// options checks cfg and returns its options.
func options(cfg port.Config) (Options, error) {
	o := Default()
	errs := []error{port.DecodeOptions(cfg.Options, &o)}
	if strings.HasPrefix(cfg.Device, "zc:") {
		errs = append(errs, errors.New("device: PF_RING ZC is not supported"))
	} else if err := netdev.CheckName(cfg.Device); err != nil {
		errs = append(errs, fmt.Errorf("device: %w", err))
	}
	if cfg.Queues < 0 || cfg.Queues > maxQueues {
		errs = append(errs, fmt.Errorf("queues: %d is outside 0..%d", cfg.Queues, maxQueues))
	}
	return o, errors.Join(append(errs, o.Validate())...)
}
