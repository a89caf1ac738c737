//go:build !linux

package flows

import "time"

// The receive benchmark needs Linux (UDP_SEGMENT), and fails before a thread's time would matter.

func threadID() int { return 0 }

func threadTime(int) time.Duration { return 0 }
