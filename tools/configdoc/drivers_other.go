//go:build !linux

package main

// known is empty: the options of drivers for Linux do not compile elsewhere, and the reference is made on Linux.
var known []driver
