// Package soak runs the built program for a long time with as many packets as a generator on the other processor can send, while
// networks, hostgroups and limits are committed every second and the API is asked all the time; and holds at the end what was
// counted against what was sent.
//
// Every packet that came through the cable must be counted in one tick or be among those that the port says it lost; what the
// cable itself lost is told apart by the device's counter. Memory is that of the program as the kernel counts it, from when
// the warm-up is over, and the gaps between two polls of the pinned worker are its own figures.
//
// Run belongs to one goroutine. It needs root and two processors. Whoever calls it calls cable.Child first.
package soak
