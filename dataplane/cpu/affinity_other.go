//go:build !linux

package cpu

import (
	"errors"
	"runtime"
)

var errLinux = errors.New("processor affinity needs Linux")

// Host is a flat machine of runtime.NumCPU processors where the system does not tell more.
func Host() (Topology, error) {
	var t Topology
	for id := range runtime.NumCPU() {
		t.CPUs = append(t.CPUs, CPU{ID: id, Core: id})
	}
	return t, nil
}

// Affinity is not known outside Linux.
func Affinity() ([]int, error) { return nil, errLinux }

// Pin is not possible outside Linux.
func Pin(int) error { return errLinux }

// SetProcess is not possible outside Linux.
func SetProcess([]int) error { return errLinux }
