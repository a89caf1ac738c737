// Package soak runs the built program for a long time with as many packets as a generator on the other processor can send, while
// networks, hostgroups and limits are committed every second and the API is asked all the time; and holds at the end what was
// counted against what was sent.
//
// Every packet that came through the cable must be counted in one tick or be among those that the port says it lost; what the
// cable itself lost is told apart by the device's counter. Memory is that of the program as the kernel counts it, from when
// the warm-up is over, and the gaps between two polls of the pinned worker are its own figures.
//
// The worker has its processor as a machine of its own would give it one: this process and the generator run on the others, the
// generator on what the program leaves of them, and with Config.Alone the kernel's threads, work queues and interrupts are moved away
// for the time of the run. What had the worker's processor nevertheless is part of the Result.
//
// Run belongs to one goroutine, and no other may bind threads of the process meanwhile. It needs root and two processors. Whoever
// calls it calls cable.Child and alone.Child first.
package soak
