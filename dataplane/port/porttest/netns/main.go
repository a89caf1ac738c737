package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// insideKey marks the environment of the process that Main started.
const insideKey = "WEIR_TEST_NETNS"

// Main runs a package's tests in a process that is as a whole inside a fresh, nameless network namespace, so that also
// goroutines which a driver starts on its own are in it. Call it from TestMain. Without the right to make namespaces the
// tests run where they are, and Inside skips those that need one.
func Main(m *testing.M) {
	if os.Getenv(insideKey) != "" || Missing() != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideKey+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = fresh()
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &exit):
		os.Exit(max(exit.ExitCode(), 1))
	}
	fmt.Fprintln(os.Stderr, "netns: cannot run the tests in a network namespace:", err)
	os.Exit(1)
}

// Inside skips the test unless Main put this process into a namespace of its own.
func Inside(tb testing.TB) {
	tb.Helper()
	if os.Getenv(insideKey) == "" {
		tb.Skip(Missing())
	}
}

// Here makes a cable with both ends in the process's own namespace, for tests run by Main, and removes it at the end.
// Both ends are up, without IPv6 and without offloads.
func Here(tb testing.TB, a, b string, queues int) {
	tb.Helper()
	Inside(tb)
	must(tb, HereAgain(a, b, queues))
	tb.Cleanup(func() {
		_ = run("link", "delete", a) // a test may have deleted it already
	})
}

// HereAgain makes the cable of Here without the clean-up: a device that comes back.
func HereAgain(a, b string, queues int) error {
	for _, key := range []string{"all", "default"} {
		path := "/proc/sys/net/ipv6/conf/" + key + "/disable_ipv6"
		if err := os.WriteFile(path, []byte("1"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	q := fmt.Sprint(max(queues, 1))
	err := run("link", "add", a, "numrxqueues", q, "numtxqueues", q,
		"type", "veth", "peer", "name", b, "numrxqueues", q, "numtxqueues", q)
	if err != nil {
		return err
	}
	for _, dev := range []string{a, b} {
		if err := run("link", "set", dev, "up"); err != nil {
			return err
		}
		if path, err := exec.LookPath("ethtool"); err == nil {
			out, err := exec.Command(path, "-K", dev, "tso", "off", "gso", "off", "gro", "off", "tx", "off",
				"rxvlan", "off", "txvlan", "off").CombinedOutput()
			if err != nil {
				return fmt.Errorf("ethtool -K %s: %w: %s", dev, err, out)
			}
		}
	}
	for _, dev := range []string{a, b} {
		if _, err := running(dev); err != nil {
			return err
		}
	}
	return nil
}

// HereIP runs `ip args...` in the process's own namespace; only tests run by Main may.
func HereIP(tb testing.TB, args ...string) {
	tb.Helper()
	Inside(tb)
	must(tb, run(args...))
}

// Promiscuity returns how many users of a device in the process's own namespace want it promiscuous.
func Promiscuity(tb testing.TB, dev string) int {
	tb.Helper()
	Inside(tb)
	out, err := exec.Command("ip", "-d", "link", "show", dev).CombinedOutput()
	must(tb, err)
	words := strings.Fields(string(out))
	for i, w := range words[:len(words)-1] {
		if w == "promiscuity" {
			n, err := strconv.Atoi(words[i+1])
			must(tb, err)
			return n
		}
	}
	tb.Fatalf("ip does not tell the promiscuity of %s: %s", dev, out)
	return 0
}
