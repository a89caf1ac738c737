//go:build linux

package afxdp

import (
	"errors"
	"fmt"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/internal/netdev"
)

// Options are the settings of the afxdp driver under ports.options.
type Options struct {
	// Mode says where the XDP program runs: native (in the device's driver), generic (in the kernel's stack, slower,
	// with any device), or auto: native if the driver can.
	Mode string `json:"mode"`
	// Copy says how frames come into our memory: zerocopy (the device writes them), copy (the kernel does), or auto:
	// zerocopy if the driver can.
	Copy string `json:"copy"`
	// FrameSize is the size of one chunk of memory, 2048 or 4096 bytes. A frame of up to FrameSize - 256 bytes fits.
	FrameSize int `json:"frame_size"`
	// Frames is how many chunks each queue has: a power of two, 64 to 65536. They must hold what arrives while the worker is
	// away: 16384, the default, are 32 MiB of pinned memory and 1.1 ms of a full 10-gigabit port with the shortest frames.
	Frames int `json:"frames"`
	// Pass lists what is left to the kernel and not counted: arp, ndp (IPv6 neighbour discovery), non-ip (all that is
	// neither IPv4 nor IPv6, ARP included), host/ADDRESS (to this address), tcp/PORT and udp/PORT (from or to this port).
	// Up to 64 entries. It looks behind up to two VLAN tags.
	Pass []string `json:"pass"`
	// Observe leaves every frame to the kernel and copies only its beginning to the worker, with its length: on a router that
	// forwards what it measures. It costs the kernel a little for each frame. frame_size, copy and pass do not apply; frames is
	// how many beginnings each queue can hold, at least.
	Observe bool `json:"observe"`
	// Head is how many bytes of a frame are copied with observe: 128 to 2048. What is behind them is not decoded.
	Head int `json:"head"`
	// Wait is how long RxBurst may sleep in the kernel when there is nothing, 0s to 10ms. With 0s it never does, and the
	// worker's idle policy alone decides. Use it only for workers with one queue.
	Wait port.Duration `json:"wait"`
}

// Default returns the options that hold when nothing is set.
func Default() Options {
	return Options{Mode: auto, Copy: auto, FrameSize: 2048, Frames: 16384, Head: 256}
}

// The values of Mode and Copy.
const (
	auto     = "auto"
	native   = "native"
	generic  = "generic"
	copying  = "copy"
	zerocopy = "zerocopy"
)

// The limits of Options.
const (
	minFrames = 64
	maxFrames = 65536
	minHead   = 128
	maxHead   = 2048
	maxPass   = 64
	maxQueues = 256
	maxWait   = port.Duration(10 * time.Millisecond)
)

// Validate reports every problem at once, each naming its key.
func (o Options) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("options."+key+": "+format, args...))
	}
	if o.Mode != auto && o.Mode != native && o.Mode != generic {
		bad("mode", "%q is not auto, native or generic", o.Mode)
	}
	if o.Copy != auto && o.Copy != copying && o.Copy != zerocopy {
		bad("copy", "%q is not auto, copy or zerocopy", o.Copy)
	}
	if o.Mode == generic && o.Copy == zerocopy {
		bad("copy", "zerocopy needs mode native")
	}
	if o.FrameSize != 2048 && o.FrameSize != 4096 {
		bad("frame_size", "%d is not 2048 or 4096", o.FrameSize)
	}
	if o.Frames < minFrames || o.Frames > maxFrames || o.Frames&(o.Frames-1) != 0 {
		bad("frames", "%d is not a power of two in %d..%d", o.Frames, minFrames, maxFrames)
	}
	if len(o.Pass) > maxPass {
		bad("pass", "%d entries are more than %d", len(o.Pass), maxPass)
	}
	if _, err := parsePass(o.Pass); err != nil {
		bad("pass", "%w", err)
	}
	if o.Head < minHead || o.Head > maxHead {
		bad("head", "%d is outside %d..%d", o.Head, minHead, maxHead)
	}
	if o.Observe && o.Copy != auto {
		bad("copy", "%q cannot be had with observe", o.Copy)
	}
	if o.Observe && len(o.Pass) > 0 {
		bad("pass", "with observe the kernel gets every frame, and all are counted")
	}
	if o.Wait < 0 || o.Wait > maxWait {
		bad("wait", "%v is outside 0s..10ms", time.Duration(o.Wait))
	}
	return errors.Join(errs...)
}

// driver implements port.Driver.
type driver struct{}

func init() { port.Register("afxdp", driver{}) }

// options checks cfg and returns its options.
func options(cfg port.Config) (Options, error) {
	o := Default()
	return o, errors.Join(port.DecodeOptions(cfg.Options, &o), netdev.Check(cfg, maxQueues), o.Validate())
}

// Check implements port.Driver.
func (driver) Check(cfg port.Config) error {
	_, err := options(cfg)
	return err
}

// Open implements port.Driver. It needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF. Zero queues mean all that the device
// has. Fewer leave the frames of the device's other queues to the kernel, uncounted, and Stats.Mode says so.
func (driver) Open(cfg port.Config) (port.Port, error) {
	o, err := options(cfg)
	if err != nil {
		return nil, err
	}
	p, err := open(cfg.Device, cfg.Queues, o)
	if err != nil {
		return nil, err
	}
	return p, nil
}
