// Command configdoc writes the reference of weir.yaml from the comments of the structs that it is made of.
//
// The keys, their order and their defaults come from the types themselves, the texts from the source beside them, so the
// reference cannot say what the program does not do. A test compares the file that is checked in.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	fl := flag.NewFlagSet("configdoc", flag.ContinueOnError)
	fl.SetOutput(stderr)
	out := fl.String("o", "", "write to `FILE` instead of standard output")
	check := fl.Bool("check", false, "write nothing; fail when FILE is not up to date")
	if err := fl.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	text, err := Markdown()
	if err != nil {
		fmt.Fprintf(stderr, "configdoc: %v\n", err)
		return 1
	}
	switch {
	case *check:
		old, err := os.ReadFile(*out)
		if err != nil || !bytes.Equal(old, text) {
			fmt.Fprintf(stderr, "configdoc: %s is out of date; run `make docs`\n", *out)
			return 1
		}
	case *out == "":
		_, err = stdout.Write(text)
	default:
		err = os.WriteFile(*out, text, 0o644)
	}
	if err != nil {
		fmt.Fprintf(stderr, "configdoc: %v\n", err)
		return 1
	}
	return 0
}
