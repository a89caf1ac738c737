// Package config is weir.yaml: one typed tree, composed of the Config types of the packages that it configures.
//
// Every package owns its own Config with defaults and Validate; this package only composes them, reads the file strictly
// (package strict: all problems at once, each with file and line), checks what concerns several sections, and keeps the
// history of what was committed. A Config is plain data: it is built once by Load or Parse and then only read, from any
// goroutine; to change it, a text is edited (package edit) and parsed again.
//
// It never opens a port, a socket or a session, and never logs. REFERENCE.md beside this file documents every key; it is
// generated from the comments of the structs by tools/configdoc.
package config

//go:generate go run ../../tools/configdoc -o REFERENCE.md
