package gen

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"go.yaml.in/yaml/v3"
)

// Duration is a time.Duration written as "1.5s" in YAML.
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// MarshalText writes it as time.Duration prints it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Scenario is a timeline of streams.
type Scenario struct {
	// Name appears in the truth.
	Name string `yaml:"name" json:"name"`
	// Seed chooses addresses, ports and moments; the same seed gives the same frames.
	Seed uint64 `yaml:"seed" json:"seed"`
	// Epoch is the time of the first moment, 2026-01-01T00:00:00Z when not set.
	Epoch time.Time `yaml:"epoch" json:"epoch"`
	// Networks are ours: they decide on directions in the truth. 10.0.0.0/16 and 2001:db8::/32 when empty.
	Networks []netip.Prefix `yaml:"networks" json:"networks"`
	// Background adds a benign mix of that many packets per second for the length of the scenario; 0 adds none.
	Background float64 `yaml:"background" json:"background"`
	// Length is how long the background lasts, and a stream that says nothing else. When not set it is the end of the last stream.
	Length Duration `yaml:"length" json:"length"`
	// Streams are the attacks and whatever else there is.
	Streams []Stream `yaml:"streams" json:"streams"`
}

// Stream is a number of like packets at a constant rate.
type Stream struct {
	// Name labels the stream; the kind and target when empty.
	Name string `yaml:"name" json:"name"`
	// Kind is one of Kinds.
	Kind string `yaml:"kind" json:"kind"`
	// Via are Encapsulations, outermost first.
	Via []string `yaml:"via" json:"via,omitempty"`
	// Target is the attacked address or prefix, IPv4 or IPv6; packets go round all addresses of a prefix of up to 65,536 of them,
	// and to random ones of a larger prefix. It is the destination, or with Outgoing the source.
	Target string `yaml:"target" json:"target"`
	// Outgoing makes the target the source of the packets.
	Outgoing bool `yaml:"outgoing" json:"outgoing,omitempty"`
	// Peer is the prefix of the other side, 198.18.0.0/15 or 2001:2::/48 when empty. Addresses are random.
	Peer string `yaml:"peer" json:"peer,omitempty"`
	// TunnelTarget and TunnelPeer are the addresses of the outer header of an IP tunnel. When empty they are those of the packet
	// inside, or stand for them in the other address family, so that the target is the same host inside and outside.
	TunnelTarget string `yaml:"tunnel_target" json:"tunnel_target,omitempty"`
	TunnelPeer   string `yaml:"tunnel_peer" json:"tunnel_peer,omitempty"`
	// PPS is the rate in packets per second.
	PPS float64 `yaml:"pps" json:"pps"`
	// Count sends so many packets instead of PPS times Duration; 0 does not.
	Count int `yaml:"count" json:"count,omitempty"`
	// Start is when it begins, from the scenario's first moment.
	Start Duration `yaml:"start" json:"start"`
	// Duration is how long it lasts; when not set, to the end of the scenario's Length.
	Duration Duration `yaml:"duration" json:"duration"`
	// Flows is how many distinct pairs of addresses and ports there are; 0 draws new ones for each packet.
	Flows int `yaml:"flows" json:"flows,omitempty"`
	// Sizes are transport payloads in bytes, chosen at random; the kind's own when empty.
	Sizes []int `yaml:"sizes" json:"sizes,omitempty"`
	// SourcePort and DestPort fix a port; the kind's own, or random, when 0.
	SourcePort uint16 `yaml:"source_port" json:"source_port,omitempty"`
	DestPort   uint16 `yaml:"dest_port" json:"dest_port,omitempty"`
	// Benign leaves the stream out of the list of attacks.
	Benign bool `yaml:"benign" json:"benign,omitempty"`
}

// Limits that keep a slip of the pen from filling memory or a disk.
const (
	maxPayload = 65000
	maxStreams = 100_000
	maxPackets = 10_000_000_000
)

// Load reads a YAML file; an unknown key is an error with its line.
func Load(path string) (Scenario, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Scenario{}, fmt.Errorf("scenario: %w", err)
	}
	s, err := Parse(b)
	if err != nil {
		return Scenario{}, fmt.Errorf("scenario %s: %w", path, err)
	}
	return s, nil
}

// Parse reads the YAML text of a scenario.
func Parse(b []byte) (Scenario, error) {
	var s Scenario
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&s); err != nil {
		return Scenario{}, err
	}
	return s, nil
}

// filled returns the scenario with its defaults and background put in.
func (s Scenario) filled() (Scenario, error) {
	if s.Epoch.IsZero() {
		s.Epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if len(s.Networks) == 0 {
		s.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("2001:db8::/32")}
	}
	for i, p := range s.Networks {
		if !p.IsValid() || p != p.Masked() {
			return s, fmt.Errorf("networks: %d: %s is not a prefix without host bits", i+1, p)
		}
	}
	end := s.Length
	for _, st := range s.Streams {
		end = max(end, st.Start+st.Duration)
	}
	if s.Length == 0 {
		s.Length = end
	}
	streams := append([]Stream(nil), s.Streams...)
	if s.Background > 0 {
		streams = append(streams, background(s)...)
	}
	var errs []error
	if len(streams) > maxStreams {
		return s, fmt.Errorf("streams: %d, the limit is %d", len(streams), maxStreams)
	}
	for i := range streams {
		st := &streams[i]
		if st.Duration == 0 {
			st.Duration = s.Length - st.Start
		}
		if err := st.validate(); err != nil {
			errs = append(errs, fmt.Errorf("stream %d (%s %s): %w", i+1, st.Kind, st.Target, err))
		}
		if st.Name == "" {
			st.Name = st.Kind + " " + st.Target
		}
	}
	s.Streams = streams
	return s, errors.Join(errs...)
}

func (st *Stream) validate() error {
	k, ok := kinds[st.Kind]
	if !ok {
		return fmt.Errorf("kind %q is unknown; see --list", st.Kind)
	}
	if k.link == "" {
		p, err := parseTarget(st.Target)
		if err != nil {
			return fmt.Errorf("target: %w", err)
		}
		if k.only != 0 && (k.only == 6) != p.Addr().Is6() {
			return fmt.Errorf("kind %q exists in IPv%d only", st.Kind, k.only)
		}
	}
	switch {
	case st.PPS <= 0 || st.PPS > 1e9:
		return fmt.Errorf("pps: %g is not within 0 (excluded) to 1e9", st.PPS)
	case st.Start < 0 || st.Duration < 0:
		return errors.New("start, duration: must not be negative")
	case st.Duration == 0 && st.Count == 0:
		return errors.New("duration: not set, and the scenario has no length")
	case st.Count < 0 || st.Flows < 0:
		return errors.New("count, flows: must not be negative")
	case st.count() > maxPackets:
		return fmt.Errorf("%d packets, the limit is %d", st.count(), int64(maxPackets))
	}
	for _, n := range st.Sizes {
		if n < 0 || n > maxPayload {
			return fmt.Errorf("sizes: %d is outside 0..%d", n, maxPayload)
		}
	}
	return nil
}

// count is how many packets the stream has.
func (st *Stream) count() int64 {
	if st.Count > 0 {
		return int64(st.Count)
	}
	return int64(st.PPS*time.Duration(st.Duration).Seconds() + 0.5)
}

// parseTarget reads an address or a prefix without host bits.
func parseTarget(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		if a.Zone() != "" || a.Is4In6() {
			return netip.Prefix{}, fmt.Errorf("%q has a zone or is v4-mapped", text)
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("%q is neither an address nor a prefix", text)
	}
	if p != p.Masked() || p.Addr().Is4In6() {
		return p, fmt.Errorf("%q has host bits set or is v4-mapped", text)
	}
	return p, nil
}
