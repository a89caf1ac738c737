// Package decode is the command `weir decode`: it prints what the packet decoder makes of every packet of capture files, one line or
// one JSON object each. It owns the two output forms (DESIGN.md section 7 fixes the JSON) and nothing else; formats of files are
// pcapfile's, the decoding is wire's, with Trace, so that every layer is walked whatever the charging rules of a configuration say.
// It runs in the caller's goroutine and never looks at a configuration or a live port.
package decode
