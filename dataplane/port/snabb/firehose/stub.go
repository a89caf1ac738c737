//go:build !snabb || !cgo

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "this is a library for Snabb: build it with make build-snabb")
	os.Exit(1)
}
