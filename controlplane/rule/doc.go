// Package rule judges rates against thresholds and yields breaches. It is pure: no clock, no state beyond the compiled
// thresholds, no I/O. The engine calls it once a tick from one goroutine.
package rule
