// Package alone keeps a processor for one program for a while: what of the kernel can be moved goes to the other processors, that is its
// threads, the unbound work queues and the interrupts; as the boot options isolcpus and irqaffinity do for good.
//
// Processes are left where they are, since they belong to others: whoever measures binds its own. What cannot be moved, and how long it
// ran, is told by Ran. A process of its own holds the change, and puts everything back when Release is called, and also when the
// one that asked for it is killed. Whoever calls Clear calls Child first.
//
// Linux only; elsewhere Clear is an error. A Hold belongs to one goroutine.
package alone
