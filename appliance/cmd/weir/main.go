// Command weir is the appliance and the tools that share its code: see `weir help`.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/weir-ddos/weir/appliance/app"
	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/appliance/decode"
	"github.com/weir-ddos/weir/appliance/flows"
	"github.com/weir-ddos/weir/appliance/replay"
	"github.com/weir-ddos/weir/appliance/version"
	"github.com/weir-ddos/weir/dataplane/port"
)

// command is one sub-command: it gets the words behind its name and returns the exit status.
type command struct {
	name, usage, does string
	run               func(args []string, stdout, stderr io.Writer) int
}

var commands = []command{
	{"run", "-c FILE", "the appliance", app.Run},
	{"check", "-c FILE", "checks a configuration; prints every problem with file:line", config.Check},
	{"replay", "-c FILE [--speed max|real|N] [--json] PCAP...", "the whole pipeline over captures, with a virtual clock", replay.Run},
	{"decode", "[--json] PCAP...", "one line a packet", decode.Run},
	{"flows", "[--json] [--late] PCAP... | --listen PORT", "one line a flow record of NetFlow, IPFIX and sFlow, captured or live", flows.Run},
	{"version", "", "the version, and the drivers built in", printVersion},
	{"speaker", "--socket PATH", "the BGP speaker; the appliance starts it by itself", app.Speaker},
}

func main() {
	os.Exit(dispatch(os.Args[1:], os.Stdout, os.Stderr))
}

func dispatch(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		help(stderr)
		return 2
	}
	switch args[0] {
	case "help", "-h", "--help":
		help(stdout)
		return 0
	case "--version":
		args[0] = "version"
	}
	for _, c := range commands {
		if c.name == args[0] {
			return c.run(args[1:], stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "weir: %q is not a command; see `weir help`\n", args[0])
	return 2
}

func help(w io.Writer) {
	fmt.Fprint(w, "Weir finds the host, network or customer under attack and has the routers drop the attack.\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  weir %-58s %s\n", strings.TrimSpace(c.name+" "+c.usage), c.does)
	}
	fmt.Fprint(w, "\nweirctl talks to a running appliance. The configuration is documented in appliance/config/REFERENCE.md.\n")
}

func printVersion(_ []string, stdout, _ io.Writer) int {
	fmt.Fprintf(stdout, "weir %s (%s %s/%s)\ndrivers: %s\n", version.String(), runtime.Version(), runtime.GOOS, runtime.GOARCH,
		strings.Join(port.Drivers(), " "))
	return 0
}
