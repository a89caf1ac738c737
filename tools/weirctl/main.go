// Command weirctl is the command line of a running appliance: show, set, delete, commit. Called as fcli it behaves as fcli does.
package main

import (
	"os"

	"github.com/weir-ddos/weir/tools/weirctl/cli"
)

func main() { os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr)) }
