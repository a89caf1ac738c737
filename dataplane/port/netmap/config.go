package netmap

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
)

// Options are the settings of the netmap driver under ports.options. The port's device is an interface (eth1), a VALE port
// (vale0:weir), or an end of a pipe (vale0:x{1, eth1}2), with or without netmap: in front. What netmap's tools write behind the name is
// understood too: eth1-2 is ring 2 alone, /x is exclusive, /r monitors reception.
type Options struct {
	// Sync says how the kernel is made to look for frames: poll, which may wait for them (see Wait), or busy, the cheaper
	// system call, which never waits.
	Sync string `json:"sync"`
	// Wait is how long a worker may sleep in the kernel when there is nothing, 0s to 10ms, whole milliseconds; only with sync
	// poll. With 0s it never does, and the worker's idle policy alone decides. Use it only for workers with one queue.
	Wait port.Duration `json:"wait"`
	// Promiscuous makes the interface take frames for any address, as a mirror port must. Without meaning for VALE and pipes.
	Promiscuous bool `json:"promiscuous"`
	// Exclusive refuses to share the interface with other programs, and fails when one has it.
	Exclusive bool `json:"exclusive"`
	// Monitor takes copies of what another program receives from the interface through netmap, instead of the frames themselves.
	Monitor bool `json:"monitor"`
}

// Default returns the options that hold when nothing is set.
func Default() Options { return Options{Sync: syncPoll, Promiscuous: true} }

const (
	syncPoll  = "poll"
	syncBusy  = "busy"
	maxQueues = 128
	maxWait   = port.Duration(10 * time.Millisecond)
)

// Validate reports every problem at once, each naming its key.
func (o Options) Validate() error {
	var errs []error
	if o.Sync != syncPoll && o.Sync != syncBusy {
		errs = append(errs, fmt.Errorf("options.sync: %q is not poll or busy", o.Sync))
	}
	wait := time.Duration(o.Wait)
	switch {
	case o.Wait < 0 || o.Wait > maxWait:
		errs = append(errs, fmt.Errorf("options.wait: %v is outside 0s..10ms", wait))
	case wait%time.Millisecond != 0:
		errs = append(errs, fmt.Errorf("options.wait: %v is not whole milliseconds", wait))
	case o.Wait != 0 && o.Sync == syncBusy:
		errs = append(errs, errors.New("options.wait: sync busy never waits"))
	}
	return errors.Join(errs...)
}

// name is a device as the kernel wants it.
type name struct {
	kernel    string // the name for the request
	device    string // the interface whose flags can be set; empty for VALE ports and pipes
	ring      int    // the one ring to open, -1 for all
	exclusive bool
	monitor   uint64 // flags
	memory    uint16 // memory region, 0 for the usual one
}

// parseName translates what netmap's own tools understand (nmport_prepare): the kernel knows plain names only.
func parseName(text string) (name, error) {
	n := name{ring: -1}
	rest := strings.TrimPrefix(text, "netmap:")
	if rest == "" {
		return n, errors.New("must be set")
	}
	// The name ends before the first of the suffix signs; a VALE port's begins behind its colon.
	vale := strings.HasPrefix(rest, "vale")
	from := 0
	if vale {
		if from = strings.IndexByte(rest, ':') + 1; from == 0 || from == len(rest) {
			return n, fmt.Errorf("%q names no port of the switch: write vale0:NAME", text)
		}
	}
	i := from + suffixAt(rest[from:])
	body := rest[:i]
	rest = rest[i:]
	n.kernel = body
	pipe := strings.ContainsAny(body, "{}")
	if i := strings.IndexAny(body, "{}"); i >= 0 && (i == 0 || i == len(body)-1) {
		return n, fmt.Errorf("%q is not a pipe: write NAME{ID or NAME}ID", text)
	}
	switch {
	case body == "":
		return n, fmt.Errorf("%q names no interface", text)
	case len(body) >= hdrNameLen:
		return n, fmt.Errorf("%q is longer than %d characters", body, hdrNameLen-1)
	case strings.ContainsAny(body, " \t\r\n\v\f\x00"):
		return n, fmt.Errorf("%q has blanks", text)
	case !vale && strings.Contains(body, ":"):
		return n, fmt.Errorf("%q: only VALE switches have a colon in the name", text)
	}
	if !vale && !pipe {
		n.device = body
	}
	return n, n.suffix(text, rest)
}

// suffixAt is where the first suffix begins, the length of s when there is none. A dash is one only before a number: br-lan is
// a name.
func suffixAt(s string) int {
	for i := range len(s) {
		switch s[i] {
		case '*', '^', '+', '/', '@':
			return i
		case '-':
			rest := s[i+1:]
			digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
			if digits > 0 && (digits == len(rest) || strings.IndexByte("*^+/@", rest[digits]) >= 0) {
				return i
			}
		}
	}
	return len(s)
}

// suffix reads what stands behind the name.
func (n *name) suffix(text, rest string) error {
	for rest != "" {
		sign := rest[0]
		end := 1 + suffixAt(rest[1:])
		value := rest[1:end]
		rest = rest[end:]
		switch sign {
		case '-':
			ring, err := strconv.ParseUint(value, 10, 12)
			if err != nil {
				return fmt.Errorf("%q: %q is not a ring", text, value)
			}
			n.ring = int(ring)
		case '@':
			id, err := strconv.ParseUint(value, 10, 16)
			if err != nil {
				return fmt.Errorf("%q: %q is not a memory region", text, value)
			}
			n.memory = uint16(id)
		case '/':
			for _, f := range value {
				switch f {
				case 'x':
					n.exclusive = true
				case 'r':
					n.monitor |= flagMonitorRX
				case 't':
					n.monitor |= flagMonitorTX
				default:
					return fmt.Errorf("%q: flag %q is not one of x, r, t", text, f)
				}
			}
		default:
			return fmt.Errorf("%q: %c asks for the host's rings, which are left alone", text, sign)
		}
	}
	return nil
}

// parse checks cfg and returns its options and name.
func parse(cfg port.Config) (Options, name, error) {
	o := Default()
	errs := []error{port.DecodeOptions(cfg.Options, &o)}
	n, err := parseName(cfg.Device)
	if err != nil {
		errs = append(errs, fmt.Errorf("device: %w", err))
	}
	if cfg.Queues < 0 || cfg.Queues > maxQueues {
		errs = append(errs, fmt.Errorf("queues: %d is outside 0..%d", cfg.Queues, maxQueues))
	} else if cfg.Queues > 1 && n.ring >= 0 {
		errs = append(errs, fmt.Errorf("queues: %d of one ring", cfg.Queues))
	}
	n.exclusive = n.exclusive || o.Exclusive
	if o.Monitor {
		n.monitor |= flagMonitorRX
	}
	return o, n, errors.Join(append(errs, o.Validate())...)
}
