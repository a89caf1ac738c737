// Package netns makes network namespaces and virtual links for tests and benchmarks: real devices, far from the host's.
//
// Every namespace is named weir-<word>-<pid>-<n> and is deleted, with its devices, when the test that made it ends. The
// package is for the test's own goroutine; Do and Command say what they need. It never touches a device outside of
// namespaces that it made.
package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// NS is a network namespace with its loopback device up.
type NS struct {
	// Name is what `ip netns` knows it by.
	Name string
}

var serial atomic.Uint32

// Missing returns which right or tool New would lack, in words, and nothing when all is there.
func Missing() string {
	if runtime.GOOS != "linux" {
		return "network namespaces need Linux"
	}
	if os.Geteuid() != 0 {
		return "root (CAP_NET_ADMIN and CAP_SYS_ADMIN) is needed to make network namespaces"
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return "the command ip (Debian package iproute2) is needed to make network namespaces"
	}
	out, err := exec.Command("ip", "netns", "list").CombinedOutput()
	if err != nil {
		return fmt.Sprintf("network namespaces do not work here: %v: %s", err, out)
	}
	return ""
}

// Create makes a namespace that lives until its Delete; word becomes part of its name. Programs use it; tests use New.
func Create(word string) (*NS, error) {
	if why := Missing(); why != "" {
		return nil, errors.New(why)
	}
	n := &NS{Name: fmt.Sprintf("weir-%s-%d-%d", word, os.Getpid(), serial.Add(1))}
	if err := run("netns", "add", n.Name); err != nil {
		return nil, err
	}
	// No IPv6 autoconfiguration: a test counts its own frames and nobody's router solicitations.
	err := n.Do(func() error {
		for _, key := range []string{"all", "default"} {
			path := "/proc/sys/net/ipv6/conf/" + key + "/disable_ipv6"
			if err := os.WriteFile(path, []byte("1"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = n.IP("link", "set", "lo", "up")
	}
	if err != nil {
		return nil, errors.Join(err, n.Delete())
	}
	return n, nil
}

// Delete removes the namespace and every device in it. Processes that still run inside keep it alive unseen.
func (n *NS) Delete() error { return run("netns", "delete", n.Name) }

// New makes a namespace for the time of the test, and skips the test when that is not possible, saying why.
// IPv6 is off for devices made later; IPv6 turns it on.
func New(tb testing.TB) *NS {
	tb.Helper()
	if why := Missing(); why != "" {
		tb.Skip(why)
	}
	word := strings.ToLower(filepath.Base(strings.TrimSuffix(filepath.Base(os.Args[0]), ".test")))
	n, err := Create(word)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := n.Delete(); err != nil {
			tb.Error(err)
		}
	})
	return n
}

// IPv6 allows IPv6 addresses, link-local ones included, on devices of the namespace.
func (n *NS) IPv6(tb testing.TB) {
	tb.Helper()
	must(tb, n.Do(func() error {
		for _, key := range []string{"all", "default"} {
			if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+key+"/disable_ipv6", []byte("0"), 0); err != nil {
				return err
			}
		}
		return nil
	}))
}

// IP runs `ip -n NAME args...`.
func (n *NS) IP(args ...string) error { return run(append([]string{"-n", n.Name}, args...)...) }

// Do runs f on an operating system thread that is inside the namespace and ends with it. Sockets that f opens
// stay in the namespace wherever they are used; goroutines that f starts are not in it.
func (n *NS) Do(f func() error) error {
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the runtime ends a locked thread with its goroutine, so no other code runs in the namespace.
		runtime.LockOSThread()
		err := enter(n.Name)
		if err == nil {
			err = f()
		}
		result <- err
	}()
	return <-result
}

// Command is a command that runs inside the namespace, with a /sys of its own. Its process is the command itself, so
// that a signal reaches it, and it ends when ctx does or, at the latest, when the thread that started it ends: start it
// outside of Do.
func (n *NS) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", n.Name, name}, args...)...)
	cmd.SysProcAttr = Mortal()
	return cmd
}

// Link is one end of a virtual cable.
type Link struct {
	NS   *NS
	Name string
	// MAC is set by Veth.
	MAC net.HardwareAddr
}

// Veth joins two devices by a cable and brings both up, with queues receive and transmit queues each and
// without offloads that would merge or split frames. Both ends may be in one namespace. The ends' MAC is filled in.
func Veth(tb testing.TB, a, b *Link, queues int) {
	tb.Helper()
	must(tb, Cable(a, b, queues))
}

// Cable is Veth for programs.
func Cable(a, b *Link, queues int) error {
	q := fmt.Sprint(max(queues, 1))
	err := run("link", "add", a.Name, "netns", a.NS.Name, "numrxqueues", q, "numtxqueues", q,
		"type", "veth", "peer", "name", b.Name, "netns", b.NS.Name, "numrxqueues", q, "numtxqueues", q)
	if err != nil {
		return err
	}
	for _, l := range []*Link{a, b} {
		if err := l.NS.IP("link", "set", l.Name, "up"); err != nil {
			return err
		}
		if err := l.plain(); err != nil {
			return err
		}
	}
	for _, l := range []*Link{a, b} {
		err := l.NS.Do(func() error {
			dev, err := running(l.Name)
			if err == nil {
				l.MAC = dev.HardwareAddr
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// running waits until the device passes frames: after the other end of a cable came up, the kernel may take up to a
// second to notice, and silently drops what is sent until then.
func running(name string) (*net.Interface, error) {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		dev, err := net.InterfaceByName(name)
		if err != nil {
			return nil, err
		}
		if dev.Flags&net.FlagRunning != 0 {
			return dev, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("device %s is up but does not run", name)
		}
	}
}

// plain turns off what makes a frame on veth differ from one on a wire. Without ethtool it is left as it is: frames
// that are sent whole through a packet socket are not affected.
func (l *Link) plain() error {
	path, err := exec.LookPath("ethtool")
	if err != nil {
		return nil
	}
	out, err := exec.Command("ip", "netns", "exec", l.NS.Name, path, "-K", l.Name,
		"tso", "off", "gso", "off", "gro", "off", "tx", "off", "rxvlan", "off", "txvlan", "off").CombinedOutput()
	if err != nil {
		return fmt.Errorf("ethtool -K %s: %w: %s", l.Name, err, out)
	}
	return nil
}

// run calls ip and turns its complaint into an error.
func run(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
