// Package oracle holds no code: its tests hold the flow decoders against decoders that others wrote.
//
//   - goflow2 (a Go module) decodes the same datagrams, record by record, over every capture of the shared data, over datagrams that the
//     tests build, and over what the fuzzer makes of both. It runs in a child process that can be killed, since an empty template makes
//     it append records without end; the child has bounds on memory and on time per datagram. Where the two differ, one of the named
//     deviations must say why, and each names who is right.
//   - nfacctd and sfacctd of pmacct (Debian package pmacct), which scale by sampling rates as nobody else does, give totals over whole
//     captures. The tests skip when the programs are not installed.
//
// All of it runs in tests, each in its own goroutine; nothing here is part of the product.
package oracle
