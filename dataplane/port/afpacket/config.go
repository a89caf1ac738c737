//go:build linux

package afpacket

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/internal/netdev"
)

// Options are the settings of the afpacket driver under ports.options.
type Options struct {
	// BlockSize is the size of one block of a queue's ring, bytes; a multiple of the page size, 16384 to 67108864. The
	// kernel hands over whole blocks, and cuts a frame that is longer than one.
	BlockSize int `json:"block_size"`
	// Blocks is how many blocks a queue's ring has, 2 to 4096. The ring must hold what arrives while the worker
	// is away: 64 MiB, the default, is 50 ms of a full 10-gigabit port. On a quiet port a block is handed over after
	// Retire, full or not, so that the ring lasts Blocks times Retire: many small blocks are better than few large ones.
	Blocks int `json:"blocks"`
	// Retire is the longest that the kernel waits for a block to fill before it hands it over: 1ms to 100ms. It bounds
	// how late a packet is seen on a quiet port.
	Retire port.Duration `json:"retire"`
	// Head is how many bytes of a frame are kept: 128 to 65535, or 0 for all of it. What is behind them is not decoded; lengths are the
	// whole frame's. With the shortest frames a ring holds as many either way; with an internet's mix 256 bytes make it last twice as long.
	Head int `json:"head"`
	// Fanout says how frames are spread over several queues: hash (a flow stays in its queue), cpu (by the processor
	// that received it), lb (one after the other), random, rollover (the next queue when one is full) or
	// queue_mapping (by the device's own queue).
	Fanout string `json:"fanout"`
	// FanoutGroup is the group's number, 1 to 65535. Zero lets the kernel choose a free one, which is right unless two
	// processes share a port on purpose.
	FanoutGroup int `json:"fanout_group"`
	// Promiscuous makes the device take frames for any address, as a mirror port must.
	Promiscuous bool `json:"promiscuous"`
	// Outgoing counts frames that this host sends through the device too. On a mirror port there are none that matter.
	Outgoing bool `json:"outgoing"`
	// Wait is how long RxBurst may sleep in the kernel when there is nothing, 0s to 10ms. With 0s it never does, and the
	// worker's idle policy alone decides. Use it only for workers with one queue.
	Wait port.Duration `json:"wait"`
}

// Default returns the options that hold when nothing is set.
func Default() Options {
	return Options{
		BlockSize: 256 << 10, Blocks: 256, Retire: port.Duration(8 * time.Millisecond),
		Head: 256, Fanout: "hash", Promiscuous: true,
	}
}

// fanouts are the modes by name.
var fanouts = map[string]int{
	"hash": unix.PACKET_FANOUT_HASH, "cpu": unix.PACKET_FANOUT_CPU, "lb": unix.PACKET_FANOUT_LB,
	"random": unix.PACKET_FANOUT_RND, "rollover": unix.PACKET_FANOUT_ROLLOVER,
	"queue_mapping": unix.PACKET_FANOUT_QM, "qm": unix.PACKET_FANOUT_QM,
}

// The limits of Options.
const (
	minBlock  = 16 << 10
	maxBlock  = 64 << 20
	minBlocks = 2
	maxBlocks = 4096
	maxRing   = min(2<<30, math.MaxInt)
	minHead   = 128
	maxHead   = 65535
	maxQueues = 256
	maxWait   = port.Duration(10 * time.Millisecond)
)

// Validate reports every problem at once, each naming its key.
func (o Options) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("options."+key+": "+format, args...))
	}
	if page := os.Getpagesize(); o.BlockSize < minBlock || o.BlockSize > maxBlock || o.BlockSize%page != 0 {
		bad("block_size", "%d is not a multiple of %d in %d..%d", o.BlockSize, page, minBlock, maxBlock)
	}
	if o.Blocks < minBlocks || o.Blocks > maxBlocks {
		bad("blocks", "%d is outside %d..%d", o.Blocks, minBlocks, maxBlocks)
	} else if int64(o.BlockSize)*int64(o.Blocks) > maxRing {
		bad("blocks", "%d blocks of %d bytes are more than %d bytes a queue", o.Blocks, o.BlockSize, maxRing)
	}
	if o.Retire < port.Duration(time.Millisecond) || o.Retire > port.Duration(100*time.Millisecond) {
		bad("retire", "%v is outside 1ms..100ms", time.Duration(o.Retire))
	}
	if o.Head != 0 && (o.Head < minHead || o.Head > maxHead) {
		bad("head", "%d is neither 0 nor in %d..%d", o.Head, minHead, maxHead)
	}
	if _, ok := fanouts[o.Fanout]; !ok {
		names := []string{}
		for n := range fanouts {
			names = append(names, n)
		}
		slices.Sort(names)
		bad("fanout", "%q is not one of %s", o.Fanout, strings.Join(names, ", "))
	}
	if o.FanoutGroup < 0 || o.FanoutGroup > 65535 {
		bad("fanout_group", "%d is outside 0..65535", o.FanoutGroup)
	}
	if o.Wait < 0 || o.Wait > maxWait {
		bad("wait", "%v is outside 0s..10ms", time.Duration(o.Wait))
	}
	return errors.Join(errs...)
}

// driver implements port.Driver.
type driver struct{}

func init() { port.Register("afpacket", driver{}) }

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

// Open implements port.Driver. It needs CAP_NET_RAW, and CAP_NET_ADMIN for promiscuous mode in some kernels.
// Zero queues mean one: the caller knows how many workers it has.
func (driver) Open(cfg port.Config) (port.Port, error) {
	o, err := options(cfg)
	if err != nil {
		return nil, err
	}
	p, err := open(cfg.Device, max(cfg.Queues, 1), o)
	if err != nil {
		return nil, err
	}
	return p, nil
}
