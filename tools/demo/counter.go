package main

import "time"

// counter counts the IP packets that arrive on a device, all or those to one host, in the kernel: a packet socket with a
// filter counts what matches whether or not anybody reads it, so that no packet is copied and none is missed.
type counter struct {
	fd    int
	total uint64
	// at and last are of the reading before.
	at   time.Time
	last uint64
}

// rate is packets per second since the last call; now is the time of the last read.
func (c *counter) rate(now time.Time) float64 {
	d := now.Sub(c.at).Seconds()
	n := c.total - c.last
	first := c.at.IsZero()
	c.at, c.last = now, c.total
	if first || d <= 0 {
		return 0
	}
	return float64(n) / d
}
