package notify

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// Config says who is told about attacks, and how.
type Config struct {
	// Script is the notify script, an absolute path; it is called as FastNetMon calls it: SCRIPT IP DIRECTION PPS ACTION,
	// with the attack report on standard input. Empty means none. A script that is missing or not executable is an alarm,
	// and detection goes on.
	Script string `json:"script"`
	// ScriptTimeout is how long one call may take before it is killed with all its children, 1s to 1h. Default: 30s.
	ScriptTimeout time.Duration `json:"script_timeout"`
	// ScriptQueue is how many calls may wait, 1 to 100000; what comes above is dropped and counted, attack_details first.
	// Default: 1000.
	ScriptQueue int `json:"script_queue"`
	// ScriptParallel is how many calls may run at a time, 1 to 64; the calls of one target always run one after another.
	// Default: 4.
	ScriptParallel int `json:"script_parallel"`
	// AttackFolder keeps the report of each attack as a text file. Empty means none.
	AttackFolder string `json:"attack_folder"`
	// AttackFiles is how many reports are kept, 1 to 1000000; the oldest are removed. Default: 10000.
	AttackFiles int `json:"attack_files"`
}

// DefaultConfig returns the values of an appliance that sets none: nobody is told.
func DefaultConfig() Config {
	return Config{ScriptTimeout: 30 * time.Second, ScriptQueue: 1000, ScriptParallel: 4, AttackFiles: 10_000}
}

// Validate reports every problem, each beginning with its key.
func (c Config) Validate() error {
	var errs []error
	absolute := func(key, path string) {
		if path != "" && (!filepath.IsAbs(path) || path != filepath.Clean(path)) {
			errs = append(errs, fmt.Errorf("%s: %q is not a clean absolute path", key, path))
		}
	}
	within := func(key string, v, lo, hi int) {
		if v < lo || v > hi {
			errs = append(errs, fmt.Errorf("%s: %d is outside %d..%d", key, v, lo, hi))
		}
	}
	absolute("script", c.Script)
	if c.ScriptTimeout < time.Second || c.ScriptTimeout > time.Hour {
		errs = append(errs, fmt.Errorf("script_timeout: %v is outside 1s..1h", c.ScriptTimeout))
	}
	within("script_queue", c.ScriptQueue, 1, 100_000)
	within("script_parallel", c.ScriptParallel, 1, 64)
	absolute("attack_folder", c.AttackFolder)
	within("attack_files", c.AttackFiles, 1, 1_000_000)
	return errors.Join(errs...)
}
