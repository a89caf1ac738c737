package filter

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// maxFile bounds a file of rules and a script, in bytes.
const maxFile = maxText

// flushEvery is after how many records a worker publishes its counts by itself.
const flushEvery = 1024

// Deps are what a Set needs from outside.
type Deps struct {
	// Clock is a monotonic clock in ns; hooks are timed by it. Any goroutine may call it.
	Clock func() int64
	// Log gets a line when a hook fails for the first time and when it is switched off; nil: nobody does.
	Log *slog.Logger
}

// Set is one compiled configuration. All methods may be called from any goroutine.
type Set struct {
	program *program
	netflow *script // nil without
	sflow   *script

	mu      sync.Mutex
	workers []*Worker // open ones; guarded by mu
	retired counts    // of closed workers; guarded by mu
}

// New reads and compiles the rules and scripts of cfg and runs every script's main chunk once, so that mistakes are found now. Errors
// name the key or the file, with line and column in rules and line in scripts.
func New(cfg Config, deps Deps) (*Set, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	tests := 0
	rules, err := cfg.inline(&tests)
	if err != nil {
		return nil, err
	}
	var errs []error
	if cfg.RulesFile != "" {
		text, err := readFile("rules_file", cfg.RulesFile)
		if err == nil {
			var more []rule
			more, err = parse(cfg.RulesFile, text, &tests)
			rules = append(rules, more...)
		}
		errs = append(errs, err)
	}
	if len(rules) > maxRules {
		errs = append(errs, fmt.Errorf("rules: %d rules, more than %d", len(rules), maxRules))
	}
	s := &Set{}
	s.netflow, err = newScript("lua_netflow", cfg.LuaNetflow, "process_netflow", cfg, deps)
	errs = append(errs, err)
	s.sflow, err = newScript("lua_sflow", cfg.LuaSFlow, "process_sflow", cfg, deps)
	if err = errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	s.program = compile(rules)
	s.retired = newCounts(len(rules))
	return s, nil
}

// readFile reads a bounded regular file; key names it in errors.
func readFile(key, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: %q is no regular file", key, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	if len(b) > maxFile {
		return "", fmt.Errorf("%s: %q has more than %d bytes", key, path, maxFile)
	}
	return string(b), nil
}

// Worker returns a filter for one socket worker. It fails when a script does.
func (s *Set) Worker() (*Worker, error) {
	w := &Worker{set: s, program: s.program, hits: make([]uint64, len(s.program.rules)+1), published: newCounts(len(s.program.rules))}
	var err error
	if s.netflow != nil {
		if w.netflow, err = s.netflow.start(); err != nil {
			return nil, err
		}
	}
	if s.sflow != nil {
		if w.sflow, err = s.sflow.start(); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers = append(s.workers, w)
	return w, nil
}

// Worker filters the records of one socket worker. Keep, Flush and Close belong to that worker's goroutine.
type Worker struct {
	set            *Set
	program        *program
	netflow, sflow *hook // nil without
	hits           []uint64
	pending        uint32
	published      counts
}

// Keep says whether r is to be counted. exporter is the address that its datagram came from. r is not kept.
func (w *Worker) Keep(exporter netip.Addr, r *record.Record) bool {
	rule, keep := w.program.run(exporter, r)
	w.hits[rule]++
	if w.pending++; w.pending == flushEvery {
		w.Flush()
	}
	if !keep {
		return false
	}
	h := w.netflow
	if r.Protocol >= record.SFlow2 {
		h = w.sflow
	}
	return h == nil || h.keep(exporter, r)
}

// Flush publishes what was counted since the last time, for Stats. To be called after a batch of datagrams; Keep also does so by itself
// now and then.
func (w *Worker) Flush() {
	w.pending = 0
	for i, n := range w.hits {
		if n > 0 {
			w.published.rules[i].Add(n)
			w.hits[i] = 0
		}
	}
}

// Close ends the worker's use of the Set and frees its scripts; its counts stay in Stats. Keep must not be called any more.
func (w *Worker) Close() {
	w.Flush()
	s := w.set
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.workers, w)
	if i < 0 {
		return
	}
	s.workers = slices.Delete(s.workers, i, i+1)
	s.retired.add(w.published)
	for _, h := range []*hook{w.netflow, w.sflow} {
		if h != nil {
			h.close()
		}
	}
}

// counts are how many records each rule decided, the default last.
type counts struct{ rules []atomic.Uint64 }

func newCounts(rules int) counts { return counts{make([]atomic.Uint64, rules+1)} }

func (c counts) add(o counts) {
	for i := range o.rules {
		c.rules[i].Add(o.rules[i].Load())
	}
}
