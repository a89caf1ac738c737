// Package cpu knows the processors of the machine and decides where workers run.
//
// Read takes the topology from a sysfs tree, which tests replace by an fstest.MapFS; Place turns it and a list of workers into a
// Plan, a pure function; Pin and SetProcess carry a plan out with sched_setaffinity. All of it is cold: the daemon calls it while
// it starts, and each worker calls Pin once, on its own locked thread. The package never moves interrupts, never changes a sysfs
// file and starts no goroutine.
package cpu
