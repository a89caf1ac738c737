//go:build !linux

package send

import (
	"context"
	"errors"

	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// Run needs Linux.
func Run(context.Context, *gen.Generator, Config) (Stats, error) {
	return Stats{}, errors.New("sending on an interface needs Linux; write a capture instead")
}
