//go:build !linux

package main

import (
	"errors"
	"net/netip"
)

var errCounter = errors.New("counting on a device needs Linux")

func newCounter(string, netip.Addr) (*counter, error) { return nil, errCounter }

func (*counter) read() error { return errCounter }

func (*counter) close() error { return nil }
