//go:build !linux

package porttest

import "errors"

// Sender is never made outside Linux.
type Sender struct{}

var errSender = errors.New("sending whole frames needs Linux")

// NewSender needs Linux.
func NewSender(string) (*Sender, error) { return nil, errSender }

// Send needs Linux.
func (*Sender) Send([][]byte) (int, error) { return 0, errSender }

// Close does nothing.
func (*Sender) Close() error { return nil }
