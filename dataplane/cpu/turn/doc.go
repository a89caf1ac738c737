// Package turn keeps a polling goroutine on its thread. Go's scheduler takes the processor (its P) from every goroutine that has
// run for 10 ms. A goroutine that is locked to a thread then waits until another thread has been woken, has taken that P and has
// handed it back: a hundred times a second the packets of a worker that owns its CPU would wait for a thread on another one.
//
// The scheduler tells a new turn by a counter in the P. Keep adds one to the counter of the P that the caller holds, so that the
// turn looks new. A stop of the world, the garbage collector and a call of runtime.Gosched work as ever: they do not look at turns.
//
// The package may be used from any goroutine. Where the counter lies is found when Check or Take is first called, and tried out; on
// another architecture, or when the runtime does not look as expected, Check says why and all Keepers are off. They never stop
// anything that needs their P: only a goroutine that owns a CPU may keep its turn.
package turn
