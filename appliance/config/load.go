package config

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/weir-ddos/weir/appliance/config/strict"
)

// MaxFile bounds a configuration's size in bytes; 100,000 networks take about 2 MB.
const MaxFile = 32 << 20

// Option changes what Load and Parse insist on.
type Option func(*options)

type options struct{ noPorts bool }

// WithoutPorts accepts a configuration without ports, as weir replay does: its packets come from captures.
func WithoutPorts() Option { return func(o *options) { o.noPorts = true } }

// Load reads and checks a file. The error is a strict.Problems when the file could be read: every problem with file:line.
func Load(path string, opts ...Option) (*Config, error) {
	text, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, text, opts...)
}

// ReadFile reads a configuration's text, at most MaxFile bytes.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration %s: %w", path, err)
	}
	if len(text) > MaxFile {
		return nil, fmt.Errorf("read configuration %s: larger than %d MiB", path, MaxFile>>20)
	}
	return text, nil
}

// Parse checks a text and returns what it configures. Name is used in problems, as file:line. The error is a strict.Problems.
func Parse(name string, text []byte, opts ...Option) (*Config, error) {
	var o options
	for _, f := range opts {
		f(&o)
	}
	root, problems := strict.Parse(name, text)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	c := Default()
	lines, problems := strict.Bind(name, root, c)
	broken := make(map[string]bool)
	for _, p := range problems {
		if !p.Soft {
			broken[firstKey(p.Path)] = true
		}
	}
	if len(c.Ports) == 0 && !c.Flows.Enabled() && !o.noPorts && !broken["ports"] && !broken["flows"] && !broken[""] {
		problems = append(problems, strict.Problem{
			File: name, Line: lines.Of("ports"), Path: "ports", Message: "must name at least one source, such as {driver: afxdp, device: eth1}, unless flows has listeners",
		})
	}
	for _, s := range c.sections() {
		// A section that could not be read is not judged: what it lacks is a consequence.
		if broken[s.key] || broken[""] || slices.ContainsFunc(s.needs, func(k string) bool { return broken[k] }) {
			continue
		}
		problems = append(problems, strict.FromError(name, s.key, s.check(), lines)...)
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

func firstKey(path string) string {
	if i := strings.IndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return path
}

// Dump writes c in canonical form: every key with its value in the order of the documentation. Parse reads it back.
func (c *Config) Dump() ([]byte, error) {
	n, err := strict.Encode(c)
	if err != nil {
		return nil, fmt.Errorf("dump configuration: %w", err)
	}
	return strict.Text(n)
}

// Read binds a text to a Config without judging it as a whole: types, keys and formats are checked, limits and relations are not.
// An editor needs it for a candidate that is not finished yet. The error is a strict.Problems.
func Read(name string, text []byte) (*Config, error) {
	root, problems := strict.Parse(name, text)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	c := Default()
	_, problems = strict.Bind(name, root, c)
	return c, problems.Err()
}
