//go:build !linux || (!amd64 && !arm64)

package versus

import (
	"fmt"
	"os"
)

// lockedKey marks the environment of a process that Child is for.
const lockedKey = "WEIR_BENCH_LOCKED"

// Child ends a process that was started to become another program: the filter that this needs is of 64-bit Linux.
func Child() {
	if os.Getenv(lockedKey) != "" {
		fmt.Fprintln(os.Stderr, "versus: this side needs a 64-bit Linux")
		os.Exit(1)
	}
}
