package port

import (
	"errors"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/weir-ddos/weir/dataplane/wire"
)

// MaxBurst is the most frames that one RxBurst delivers.
const MaxBurst = 64

// ErrNotBuilt is returned by Open for a driver that this binary was built without.
var ErrNotBuilt = errors.New("driver is not built into this binary")

// ErrGone is reported in Stats.Err while the device is absent; the port opens it again when it returns.
var ErrGone = errors.New("device is gone")

// Frame is one received frame. Data stays valid until the burst is released.
type Frame struct {
	// Data is the captured part of the frame.
	Data []byte
	// Time is when the frame was received, nanoseconds since the Unix epoch; 0 when the driver has no time stamp.
	Time int64
	// WireLen is the frame's length on the wire without FCS, a stripped VLAN tag included.
	WireLen uint32
}

// Burst is a fixed vector of frames. One worker owns it; RxBurst fills it, Release empties it.
type Burst struct {
	Frames [MaxBurst]Frame
	// N is how many frames are valid.
	N int
}

// QueueStats are a queue's counters since it was opened. Reading them is safe at any time.
type QueueStats struct {
	// Received is the number of frames handed to RxBurst's caller.
	Received uint64 `json:"received"`
	// Bytes is the sum of their lengths on the wire.
	Bytes uint64 `json:"bytes"`
	// Dropped is what the driver, kernel or device says that it lost before this queue.
	Dropped uint64 `json:"dropped"`
}

// Queue is one receive queue. RxBurst and Release are called by one worker only, from one goroutine.
type Queue interface {
	// RxBurst fills b with at most MaxBurst frames and returns how many; 0 when there is none.
	// It never blocks for longer than 10 ms, and returns 0 after Close.
	RxBurst(b *Burst) int
	// Release gives the frames of b back to the driver. It must be called once after every RxBurst that
	// returned more than 0, before the next RxBurst.
	Release(b *Burst)
	// LinkType says how frames of this queue begin. It does not change.
	LinkType() wire.LinkType
	// Stats is safe to call from any goroutine.
	Stats() QueueStats
}

// Waiter is a Queue that can wake a worker that sleeps. Its methods are called as RxBurst is, by the worker alone.
type Waiter interface {
	Queue
	// Wait returns when there are frames or the file descriptor bell, unless negative, can be read, at the latest after d, which is at
	// most 2 s; it may return early. The worker holds no burst meanwhile.
	Wait(d time.Duration, bell int)
	// Batched reports that Wait returns for hundreds of frames at once, or when the oldest has waited for long. Else it returns
	// for the first frame.
	Batched() bool
	// Room is how many of the shortest frames the queue holds while its worker is away, about, and at least 1.
	Room() int
}

// Stats are a port's figures: its queues' and its own.
type Stats struct {
	// Device is the name that the port was opened with.
	Device string `json:"device"`
	// Driver is the driver's name.
	Driver string `json:"driver"`
	// Mode is what the driver settled on in words, such as "native, copy".
	Mode   string       `json:"mode"`
	Queues []QueueStats `json:"queues"`
	// Dropped are losses that no single queue accounts for.
	Dropped uint64 `json:"dropped"`
	// Extra are further counters of the driver, by name.
	Extra map[string]uint64 `json:"extra,omitempty"`
	// Err is empty while the port receives, else why it does not.
	Err string `json:"err,omitempty"`
	// Reopens is how often the device went away and came back.
	Reopens uint64 `json:"reopens"`
}

// Port is an open device. All methods are cold and safe from any goroutine.
type Port interface {
	// Queues returns the receive queues; the slice does not change.
	Queues() []Queue
	Stats() Stats
	// Close stops reception and undoes what Open did to the device. Workers must have stopped.
	Close() error
}

// Config selects a driver and a device. Options are the driver's own, documented by its Options type.
type Config struct {
	// Driver is how frames are received: afxdp, afpacket, replay, dpdk, netmap, pfring, snabb or pcap; `weir version` lists what is built in.
	Driver string `json:"driver"`
	// Device is the interface, PCI address or file to open.
	Device string `json:"device"`
	// Queues is how many receive queues to use. Zero means all that the device has,
	// or one per configured worker where the driver can choose.
	Queues int `json:"queues"`
	// Options are the driver's own settings, by driver below; an unknown name or a bad value is an error.
	Options map[string]any `json:"options,omitempty"`
}

// Driver opens ports of one kind.
type Driver interface {
	// Check reports every problem of cfg without touching the device.
	Check(cfg Config) error
	// Open opens the device, or says why it cannot. A device that does not exist is an error here;
	// one that disappears later is not.
	Open(cfg Config) (Port, error)
}

var registry struct {
	sync.Mutex
	drivers map[string]Driver
}

// Register makes a driver known by name. Drivers call it from init; a second driver of one name panics.
func Register(name string, d Driver) {
	registry.Lock()
	defer registry.Unlock()
	if registry.drivers == nil {
		registry.drivers = make(map[string]Driver)
	}
	if _, dup := registry.drivers[name]; dup {
		panic("port: driver " + name + " registered twice")
	}
	registry.drivers[name] = d
}

// Drivers lists the names of the drivers that this binary has, sorted.
func Drivers() []string {
	registry.Lock()
	defer registry.Unlock()
	names := make([]string, 0, len(registry.drivers))
	for n, d := range registry.drivers {
		if _, missing := d.(notBuilt); !missing {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	return names
}

// Lookup returns the driver of that name.
func Lookup(name string) (Driver, error) {
	registry.Lock()
	d, ok := registry.drivers[name]
	registry.Unlock()
	if !ok {
		return nil, fmt.Errorf("driver %q is unknown; built in are %v", name, Drivers())
	}
	return d, nil
}

// Open opens cfg.Device with cfg.Driver.
func Open(cfg Config) (Port, error) {
	d, err := Lookup(cfg.Driver)
	if err != nil {
		return nil, err
	}
	if err := d.Check(cfg); err != nil {
		return nil, fmt.Errorf("port %s %q: %w", cfg.Driver, cfg.Device, err)
	}
	p, err := d.Open(cfg)
	if err != nil {
		return nil, fmt.Errorf("port %s %q: %w", cfg.Driver, cfg.Device, err)
	}
	return p, nil
}
