//go:build !linux

package alone

import "errors"

var errLinux = errors.New("clearing a processor needs Linux")

// Child does nothing.
func Child() {}

// Hold is never made.
type Hold struct{ Moved }

// Clear is not possible.
func Clear(int) (*Hold, error) { return nil, errLinux }

// Release does nothing.
func (*Hold) Release() error { return nil }

// Of is not possible.
func Of(int) (Usage, error) { return Usage{}, errLinux }
