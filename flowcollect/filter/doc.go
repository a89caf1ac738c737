// Package filter decides which flow records are counted: by rules in a small language, and by hooks in Lua.
//
// A Set is one configuration, compiled: it is immutable, and a change of configuration makes a new Set. Every socket worker takes a
// Worker of its own from it and calls Keep on its goroutine for each record, before the record is scaled and counted; Workers share
// nothing that is written. (Where only one filter for all workers fits, Shared is that, at the price of a lock.) Stats may be called
// from any goroutine. Rules cost nanoseconds and do not allocate. Hooks cost about a microsecond, and are bounded: in time by a deadline that is checked between their instructions, in memory by limits on stacks and
// strings and by measuring what a script keeps, and in reach since a script sees no file, process, clock or other script. A hook that
// fails keeps the record and is counted; one that keeps failing is switched off, which Stats shows, and collection goes on.
//
// # Rules
//
// One rule a line, # starts a comment. The first rule that matches a record decides, and a record that no rule matches is kept:
//
//	drop port 443 from 192.0.2.0/24, 2001:db8::/48    # from: the exporter
//	keep dst net 203.0.113.0/24
//	drop udp and src port 53, 123, 1900 and length > 1000
//	drop not (ipv6 or direction ingress) and protocol sflow
//	drop flags S/SA packets <= 1 duration < 1s
//
// Conditions are joined by and (which may be left out), or, not (or !) and parentheses; not binds closest, then and, then or. Most
// conditions take a list separated by commas, where ranges like 1024-65535 may stand, or = and !=; numbers also take <, <=, >, >=.
//
//	src, dst, net, host    addresses and prefixes of the source, the destination, either (src net, dst host: the same as src, dst)
//	from, exporter         the address that datagrams come from
//	agent                  the agent in sFlow's datagrams, elsewhere the exporter
//	nexthop                the next hop
//	port                   either port; src port, dst port: that one
//	proto                  the IP protocol, by number or name (icmp is ICMP and ICMPv6, icmp4, icmp6, tcp, udp, gre, esp, sctp, …); tcp,
//	                       udp, icmp, icmp4, icmp6, gre, esp and sctp may stand alone
//	flags                  TCP flags: S means that SYN is set, S/SA that SYN is and ACK is not; letters F S R P A U E C, names, numbers
//	icmptype, icmpcode     numbers
//	packets, bytes         counts as exported, before scaling; k, M and G may follow a number
//	length                 bytes of an average packet
//	duration               from the first packet to the last: 500ms, 60s, 5m; a plain number is seconds
//	rate                   the sampling rate; 0 is unknown
//	input, output          interface indexes; interface: either (src interface is input, dst interface is output)
//	as, vlan               of either side; src as, dst vlan and so on
//	tos, dscp, ttl, mpls, domain, sampler, forwarding    numbers
//	direction              ingress, egress, unknown (IE 61)
//	protocol               the export protocol: netflow1, netflow5, netflow7, netflow9, ipfix, sflow2, sflow4, sflow5; netflow and sflow are all
//	                       versions
//	kind                   data, biflow_reverse, section, section_tunnel, discard
//	ipv4, ipv6, dropped, fragment, all              no value
//
// A test of something that the record does not have (the port of a fragment, the flags of UDP) is false, and its opposite with not or
// != is true. IPv6 prefixes never match IPv4 addresses: ::/0 is all of IPv6 and 0.0.0.0/0 is all of IPv4.
//
// # Hooks
//
// A script defines process_netflow(agent, flow) for NetFlow and IPFIX, or process_sflow(agent, flow), as for FastNetMon. It returns false
// to drop the record and true to keep it. agent is the exporter's address as text. flow has the fields listed at Attributes, by Weir's
// names and by the names of FastNetMon's structures; addresses are text there and not integers, since they may be IPv6. What was not
// exported is 0, "" or false. flow is only valid during the call. Rules are asked first, so that a hook sees what they kept.
//
// Scripts have Lua 5.1's base functions, table, string and math, without those that reach outside (io, os, require, load, print does
// nothing), that cannot be bounded (string patterns, table.sort, table.concat) or that are random. string.find searches plain text,
// string.rep and string.format are limited, and in_net(address, prefix) is new. require("ffi") gives enough of LuaJIT's ffi for the
// casts in scripts written for FastNetMon: cast(type, flow) returns flow.
package filter
