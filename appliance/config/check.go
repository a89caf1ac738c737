package config

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/weir-ddos/weir/appliance/config/strict"
)

// DefaultPath is where the configuration is.
const DefaultPath = "/etc/weir/weir.yaml"

// Check is `weir check -c FILE`: it prints every problem as file:line: key: message, one a line, to stdout, and a summary to
// stderr. It returns the exit status: 0 valid, 1 not valid or not readable, 2 wrong usage.
func Check(args []string, stdout, stderr io.Writer) int {
	fl := flag.NewFlagSet("weir check", flag.ContinueOnError)
	fl.SetOutput(stderr)
	path := fl.String("c", DefaultPath, "the configuration `FILE`")
	dump := fl.Bool("dump", false, "print the configuration with every default filled in")
	replay := fl.Bool("replay", false, "check for weir replay, which needs no ports")
	if err := fl.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if fl.NArg() > 0 {
		fmt.Fprintf(stderr, "weir check: unexpected %q; the file is named with -c\n", fl.Arg(0))
		return 2
	}
	var opts []Option
	if *replay {
		opts = append(opts, WithoutPorts())
	}
	c, err := Load(*path, opts...)
	var problems strict.Problems
	switch {
	case errors.As(err, &problems):
		for _, p := range problems {
			fmt.Fprintln(stdout, p)
		}
		fmt.Fprintf(stderr, "weir check: %s has %s\n", *path, plural(len(problems), "problem"))
		return 1
	case err != nil:
		fmt.Fprintf(stderr, "weir check: %v\n", err)
		return 1
	case *dump:
		text, err := c.Dump()
		if err != nil {
			fmt.Fprintf(stderr, "weir check: %v\n", err)
			return 1
		}
		_, _ = stdout.Write(text) // a broken pipe is the reader's affair
		return 0
	}
	sources := plural(len(c.Ports), "port")
	if n := len(c.Flows.Listeners); n > 0 {
		sources += ", " + plural(n, "listener")
	}
	fmt.Fprintf(stdout, "%s: valid: %s, %s, %s\n", *path, plural(len(c.Networks), "network"), sources, plural(len(c.Hostgroups), "hostgroup"))
	return 0
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
