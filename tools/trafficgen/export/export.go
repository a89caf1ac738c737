package export

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

var be = binary.BigEndian

// Protocol is what is exported.
type Protocol string

// The protocols.
const (
	NetFlow5 Protocol = "netflow5" // IPv4 only
	NetFlow9 Protocol = "netflow9"
	IPFIX    Protocol = "ipfix"
	SFlow    Protocol = "sflow" // version 5
)

// Protocols are all of them.
func Protocols() []Protocol { return []Protocol{NetFlow5, NetFlow9, IPFIX, SFlow} }

// Config says what kind of exporter it is. The zero value of every field but Protocol has a meaning.
type Config struct {
	// Protocol is one of Protocols.
	Protocol Protocol
	// Sampling takes one of so many packets, a random one of each run of them; 0 and 1 take all. At most 16,383 in NetFlow v5.
	Sampling uint32
	// Active is after which time a flow that goes on is reported, a minute when zero.
	Active time.Duration
	// Inactive is after which silence a flow is reported, 15 s when zero.
	Inactive time.Duration
	// Linger is how long a report waits for company in its datagram, 250 ms when zero.
	Linger time.Duration
	// Agent is the exporter's own address: sFlow's agent. 192.0.2.1 when not set.
	Agent netip.Addr
	// Domain is the observation domain, source id, engine (8 bits of type, 8 of id) or sub-agent.
	Domain uint32
	// Networks are ours; they decide on interfaces: the outside is interface 1, the inside interface 2. gen's own when empty.
	Networks []netip.Prefix
	// MaxDatagram is the largest payload, 1,400 bytes when zero, at least 512.
	MaxDatagram int
	// Templates is after how many datagrams templates and options are sent again, 20 when zero; and at least twice a minute.
	Templates int
	// MaxFlows bounds the flow cache: the longest silent flow makes room. 1,000,000 when zero.
	MaxFlows int
	// WithoutFCS leaves the frame check sequence out of sFlow's frame lengths, as software agents do; switches count it.
	WithoutFCS bool
	// Counters is how often sFlow sends interface counters, every 20 s when zero; negative: never.
	Counters time.Duration
	// Seed chooses the sampled packets.
	Seed uint64
}

// The interfaces of the exporter.
const (
	Outside = 1
	Inside  = 2
)

func (c *Config) fill() error {
	defaults := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	defaults(&c.Active, time.Minute)
	defaults(&c.Inactive, 15*time.Second)
	defaults(&c.Linger, 250*time.Millisecond)
	defaults(&c.Counters, 20*time.Second)
	c.Sampling = max(c.Sampling, 1)
	if !c.Agent.IsValid() {
		c.Agent = netip.AddrFrom4([4]byte{192, 0, 2, 1})
	}
	if len(c.Networks) == 0 {
		c.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("2001:db8::/32")}
	}
	if c.MaxDatagram == 0 {
		c.MaxDatagram = 1400
	}
	if c.Templates == 0 {
		c.Templates = 20
	}
	if c.MaxFlows == 0 {
		c.MaxFlows = 1_000_000
	}
	var errs []error
	if !slices.Contains(Protocols(), c.Protocol) {
		errs = append(errs, fmt.Errorf("export: %q is none of %s", c.Protocol, names()))
	}
	if c.Protocol == NetFlow5 && c.Sampling > 16383 {
		errs = append(errs, fmt.Errorf("sampling: %d does not fit the 14 bits of NetFlow v5", c.Sampling))
	}
	if c.Active < 0 || c.Inactive < 0 || c.Linger < 0 {
		errs = append(errs, errors.New("active, inactive, linger: must not be negative"))
	}
	if c.MaxDatagram < 512 || c.MaxDatagram > 65507 {
		errs = append(errs, fmt.Errorf("largest datagram: %d is outside 512..65507", c.MaxDatagram))
	}
	if c.Templates < 0 || c.MaxFlows < 0 {
		errs = append(errs, errors.New("templates, flows: must not be negative"))
	}
	return errors.Join(errs...)
}

func names() string {
	var out []string
	for _, p := range Protocols() {
		out = append(out, string(p))
	}
	return strings.Join(out, ", ")
}

// Datagrams takes each datagram, with the time at which it is sent, in nanoseconds since the Unix epoch. It must not keep payload.
type Datagrams func(at int64, payload []byte) error

// Exporter is one exporting device.
type Exporter struct {
	cfg   Config
	out   Datagrams
	start int64 // the device's start; 0 before the first frame
	now   int64
	truth truth
	// One of the two is set.
	cache *cache
	agent *agent
}

// uptimeAtStart is how long the device runs when the first frame comes: less would let flows begin before the device.
const uptimeAtStart = int64(time.Hour)

// New checks cfg and makes an exporter that sends through out.
func New(cfg Config, out Datagrams) (*Exporter, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	e := &Exporter{cfg: cfg, out: out, truth: newTruth(cfg)}
	if cfg.Protocol == SFlow {
		e.agent = newAgent(e)
	} else {
		e.cache = newCache(e)
	}
	return e, nil
}

// Add meters one frame. Frames come in the order of their Time. An error is one of Datagrams, after which the exporter is of no more use.
func (e *Exporter) Add(f *gen.Frame) error {
	if err := e.Advance(f.Time); err != nil {
		return err
	}
	e.truth.res.Frames++
	if e.agent != nil {
		return e.agent.add(f)
	}
	return e.cache.add(f)
}

// Advance moves the exporter's clock to now, nanoseconds since the Unix epoch, and sends what is due until then. A time before the
// last one does nothing. Add does this itself.
func (e *Exporter) Advance(now int64) error {
	if e.start == 0 {
		e.start = now - uptimeAtStart
	}
	if now < e.now {
		return nil
	}
	if e.agent != nil {
		return e.agent.advance(now)
	}
	return e.cache.advance(now)
}

// Close reports every flow that is still in the cache, and sends what waits.
func (e *Exporter) Close() error {
	if e.agent != nil {
		return e.agent.flush()
	}
	return e.cache.close()
}

// send gives a datagram away.
func (e *Exporter) send(payload []byte) error {
	e.truth.res.Datagrams++
	if err := e.out(e.now, payload); err != nil {
		return fmt.Errorf("export %s: %w", e.cfg.Protocol, err)
	}
	return nil
}

// uptime is the device's sysUpTime in ms at t, which wraps.
func (e *Exporter) uptime(t int64) uint32 { return uint32((t - e.start) / int64(time.Millisecond)) }

// interfaces are those by which a packet comes and goes.
func (e *Exporter) interfaces(h *gen.Header) (in, out uint32) {
	in, out = Outside, Outside
	if e.truth.ours(h.Src) {
		in = Inside
	}
	if e.truth.ours(h.Dst) {
		out = Inside
	}
	return in, out
}
