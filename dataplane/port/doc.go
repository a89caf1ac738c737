// Package port is the seam between packet sources and workers: Port, Queue, Burst, Frame and the driver registry.
// A worker calls RxBurst and Release of its own queues from its own goroutine; everything else is cold and safe anywhere.
// It never looks into a frame.
package port
