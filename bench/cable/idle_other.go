//go:build !linux

package cable

import "errors"

// takeTheRest is not possible: nor is a generator.
func takeTheRest() error { return errors.New("SCHED_IDLE needs Linux") }
