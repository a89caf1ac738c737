package pcaplive

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weir-ddos/weir/dataplane/port"
)

// Options are the settings of the pcap driver under ports.options. The port's device is what libpcap calls it; tcpdump -D lists
// them.
type Options struct {
	// Snap is how many bytes of a frame are kept, 64 to 65535.
	Snap int `json:"snap"`
	// Buffer is how much memory libpcap or the kernel use for frames that wait, in kilobytes, 64 to 1048576.
	Buffer int `json:"buffer"`
	// Promiscuous makes the device take frames for any address, as a mirror port must.
	Promiscuous bool `json:"promiscuous"`
	// Outgoing counts frames that this host sends through the device too, where the system can tell them apart.
	Outgoing bool `json:"outgoing"`
	// Filter is a filter in tcpdump's language; what does not match is not counted. Empty takes all.
	Filter string `json:"filter"`
}

// Default returns the options that hold when nothing is set.
func Default() Options { return Options{Snap: 2048, Buffer: 32 << 10, Promiscuous: true} }

// Validate reports every problem at once, each naming its key. The filter's language is checked when the device is opened.
func (o Options) Validate() error {
	var errs []error
	if o.Snap < 64 || o.Snap > 65535 {
		errs = append(errs, fmt.Errorf("options.snap: %d is outside 64..65535", o.Snap))
	}
	if o.Buffer < 64 || o.Buffer > 1<<20 {
		errs = append(errs, fmt.Errorf("options.buffer: %d is outside 64..1048576", o.Buffer))
	}
	if strings.ContainsRune(o.Filter, 0) {
		errs = append(errs, errors.New("options.filter: has a zero byte"))
	}
	return errors.Join(errs...)
}

// options checks cfg and returns its options.
func options(cfg port.Config) (Options, error) {
	o := Default()
	errs := []error{port.DecodeOptions(cfg.Options, &o)}
	switch {
	case cfg.Device == "":
		errs = append(errs, errors.New("device: must be set"))
	case len(cfg.Device) > 255 || strings.ContainsAny(cfg.Device, "\r\n\x00"):
		errs = append(errs, fmt.Errorf("device: %q is not a device name", cfg.Device))
	}
	if cfg.Queues < 0 || cfg.Queues > 1 {
		errs = append(errs, fmt.Errorf("queues: %d is outside 0..1: libpcap has one queue", cfg.Queues))
	}
	return o, errors.Join(append(errs, o.Validate())...)
}
