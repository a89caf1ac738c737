// Package netdev asks the kernel about network devices by name: index, state, queues, counters. Port drivers use it
// at set-up and from the goroutine that watches for a device's return; never from a worker.
//
// A Conn belongs to the network namespace in which it was opened, whatever thread uses it later. Conn, Watcher and Queues exist on
// Linux only, as do the drivers that use them.
package netdev

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/dataplane/port"
)

// Device is what the kernel says about a device at one moment.
type Device struct {
	// Index identifies the device; a device that is made again under its old name has a new one.
	Index int
	// Up is whether the device is switched on.
	Up bool
	// Ethernet is whether frames begin with an Ethernet header; else they begin with the network header, or
	// with something else when Type says so.
	Ethernet bool
	// Type is the ARP hardware type (if_arp.h).
	Type uint16
	// MTU is the largest payload behind the link header, bytes.
	MTU int
	// Missed are frames that the device had no buffer for, since it was made.
	Missed uint64
	// Dropped are frames that the device, its driver or the stack behind it dropped on reception.
	Dropped uint64
}

// ErrNoDevice is wrapped when there is no device of the name.
var ErrNoDevice = errors.New("no such network device")

// Check reports what is wrong with a port's device and queues, each problem beginning with its key.
func Check(cfg port.Config, maxQueues int) error {
	var errs []error
	if err := CheckName(cfg.Device); err != nil {
		errs = append(errs, fmt.Errorf("device: %w", err))
	}
	if cfg.Queues < 0 || cfg.Queues > maxQueues {
		errs = append(errs, fmt.Errorf("queues: %d is outside 0..%d", cfg.Queues, maxQueues))
	}
	return errors.Join(errs...)
}

// CheckName says what is wrong with a device name, without asking the kernel.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("must be set")
	case len(name) >= unix.IFNAMSIZ:
		return fmt.Errorf("%q is longer than %d characters", name, unix.IFNAMSIZ-1)
	case name == "." || name == ".." || strings.ContainsAny(name, "/: \t\r\n\v\f\x00"):
		return fmt.Errorf("%q is not a device name", name)
	}
	return nil
}
