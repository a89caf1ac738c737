// Package flowcollect is only a root: the plane that turns NetFlow, IPFIX and sFlow datagrams into counters lives in the packages below it.
//
//   - record: one flow in the terms of RFC 7011, the codes and counters of decoding. Everything else meets here.
//   - template: what exporters said about their records, compiled to programs, shared by all socket workers.
//   - sampling: what exporters and the configuration say about sampling rates.
//   - dataset: data sets of NetFlow v9 and IPFIX to records: programs, sampling, times, packet sections, biflows.
//   - netflow, ipfix, sflow: a datagram's framing. They do no I/O.
//
// None of them imports the control plane or the appliance; they meet the packet path in dataplane/wire, traffic and nets.
package flowcollect
