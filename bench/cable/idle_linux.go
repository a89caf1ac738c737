package cable

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// takeTheRest has the calling thread run only when no other wants its processor.
func takeTheRest() error {
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_IDLE}, 0); err != nil {
		return fmt.Errorf("sched_setattr: %w", err)
	}
	return nil
}
