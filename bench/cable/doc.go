// Package cable is what benchmarks of packet reception share: a virtual cable between two namespaces, a generator in a process
// of its own on the first processor that sends exactly the packets it is told to, a bare counter, and the CPU time of a
// process as the scheduler knows it.
//
// The n-th packet of a Traffic depends on n alone, so that two receivers that are measured one after the other get the same
// bytes. The generator is an XDP program that the kernel runs over and over (bpf_prog_test_run with live frames): several million
// packets a second without a system call each. What the kernel does to bring frames into the receiver's ring happens on the
// generator's processor.
//
// The main function and the TestMain of whoever makes a Generator must call Child first. A Cable and a Generator belong to
// one goroutine. Nothing outside of the namespaces made here is touched.
package cable
