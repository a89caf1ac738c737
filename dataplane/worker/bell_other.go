//go:build !linux

package worker

import "time"

// Elsewhere nothing wakes a worker before its time.

func newCord() (fd int, err error) { return noCord, nil }
func pull(int)                     {}
func release(int) bool             { return false }
func closeCord(int) error          { return nil }
func nap(d time.Duration, _ int)   { time.Sleep(d) }
