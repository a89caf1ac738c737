package app

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/weir-ddos/weir/controlplane/mitigate/bgp"
)

// Speaker is `weir speaker --socket PATH`, which the appliance starts by itself. It returns the exit status.
func Speaker(args []string, _, stderr io.Writer) int {
	if err := bgp.RunSpeaker(context.Background(), args, stderr, time.Now); err != nil {
		fmt.Fprintln(stderr, "weir speaker:", err)
		return 1
	}
	return 0
}
