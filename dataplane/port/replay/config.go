package replay

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Speed says how fast captures are played: 0 is as fast as possible, 1 is real time, N is N times real time.
// As text it is "max", "real" or a number.
type Speed float64

// The named speeds.
const (
	Max  Speed = 0
	Real Speed = 1
)

// ParseSpeed reads "max", "real" or a number above 0.
func ParseSpeed(s string) (Speed, error) {
	switch s {
	case "max":
		return Max, nil
	case "real":
		return Real, nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v > 0) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("speed %q is not max, real or a number above 0", s)
	}
	return Speed(v), nil
}

// String is the inverse of ParseSpeed.
func (s Speed) String() string {
	switch s {
	case Max:
		return "max"
	case Real:
		return "real"
	}
	return strconv.FormatFloat(float64(s), 'g', -1, 64)
}

// UnmarshalJSON accepts the text forms and a bare number.
func (s *Speed) UnmarshalJSON(b []byte) error {
	text := string(b)
	if strings.HasPrefix(text, `"`) {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	v, err := ParseSpeed(text)
	if err == nil {
		*s = v
	}
	return err
}

// MarshalJSON writes the text form.
func (s Speed) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// Options are the settings of the replay driver under ports.options. The port's device is the first file.
type Options struct {
	// Files are further captures, played after the device's one, in this order.
	Files []string `json:"files"`
	// Speed is max, real, or a number N for N times as fast as recorded.
	Speed Speed `json:"speed"`
	// QueueMemory is how many bytes of frames may wait in one queue; 65536 to 1073741824.
	QueueMemory int `json:"queue_memory"`
}

// Default returns the options that hold when nothing is set.
func Default() Options { return Options{Speed: Max, QueueMemory: 1 << 20} }

// Config is what New plays. Its zero values mean: one queue, as fast as possible, running.
type Config struct {
	// Files are the captures, played one after the other. There must be at least one.
	Files []string
	// Queues is how many queues there are for each link type that the files hold; zero means one.
	Queues int
	// Speed paces frames by the wall clock; it changes when they come, not which.
	Speed Speed
	// Hold makes the port deliver nothing before Advance is called.
	Hold bool
	// QueueMemory is how many bytes of frames may wait in one queue; zero means 1 MiB.
	QueueMemory int
	// Decoder says which addresses of a tunnelled packet are charged, hence which queue it goes to, so that one flow
	// meets one worker. Nil means the outer ones.
	Decoder *wire.Decoder
}

const (
	minQueueMemory = 64 << 10
	maxQueueMemory = 1 << 30
	maxQueues      = 256
)

// Validate reports every problem at once, each naming its key.
func (c Config) Validate() error {
	var errs []error
	if len(c.Files) == 0 || slices.Contains(c.Files, "") {
		errs = append(errs, errors.New("device: must name a capture file"))
	}
	if c.Queues < 0 || c.Queues > maxQueues {
		errs = append(errs, fmt.Errorf("queues: %d is outside 0..%d", c.Queues, maxQueues))
	}
	if !(c.Speed >= 0) || math.IsInf(float64(c.Speed), 0) {
		errs = append(errs, fmt.Errorf("options.speed: %v is not max, real or a number above 0", float64(c.Speed)))
	}
	if c.QueueMemory != 0 && (c.QueueMemory < minQueueMemory || c.QueueMemory > maxQueueMemory) {
		errs = append(errs, fmt.Errorf("options.queue_memory: %d is outside %d..%d", c.QueueMemory, minQueueMemory, maxQueueMemory))
	}
	return errors.Join(errs...)
}

// driver implements port.Driver.
type driver struct{}

func init() { port.Register("replay", driver{}) }

// config turns the general configuration into ours.
func config(cfg port.Config) (Config, error) {
	opts := Default()
	err := port.DecodeOptions(cfg.Options, &opts)
	c := Config{
		Files: append([]string{cfg.Device}, opts.Files...), Queues: cfg.Queues,
		Speed: opts.Speed, QueueMemory: opts.QueueMemory,
	}
	return c, errors.Join(err, c.Validate())
}

// Check reports every problem of cfg without opening a file.
func (driver) Check(cfg port.Config) error {
	_, err := config(cfg)
	return err
}

// Open plays cfg.Device and options.files; see New.
func (driver) Open(cfg port.Config) (port.Port, error) {
	c, err := config(cfg)
	if err != nil {
		return nil, err
	}
	p, err := New(c)
	if err != nil {
		return nil, err
	}
	return p, nil
}
