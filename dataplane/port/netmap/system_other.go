//go:build !linux && !freebsd

package netmap

import (
	"fmt"

	"github.com/weir-ddos/weir/dataplane/port"
)

func newSystem() (system, error) {
	return nil, fmt.Errorf("%w: netmap exists on Linux and FreeBSD", port.ErrNotBuilt)
}
