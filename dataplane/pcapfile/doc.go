// Package pcapfile reads and writes capture files: classic pcap and pcapng in, classic nanosecond pcap out.
//
// It owns the file formats and nothing else: what a record's bytes mean is wire's business. A Reader or Writer
// belongs to one goroutine. Files are hostile input: a Reader holds one record of at most MaxRecord bytes and a
// bounded interface list whatever the file claims, never panics, and names the byte offset where a file goes wrong.
// It never seeks, so a pipe will do, and it never reads the clock.
package pcapfile
