package cable

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
)

// Cable joins two namespaces.
type Cable struct {
	// Send is the generator's end, Receive the other one.
	Send, Receive *netns.Link
	// Modest has the generators that are started from now on take only what others leave of their processor (SCHED_IDLE): for
	// programs under test that have threads there.
	Modest bool

	made []*netns.NS
}

// New makes namespaces and cable. It needs root; netns.Missing says what else.
func New() (c *Cable, err error) {
	c = new(Cable)
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	for range 2 {
		n, err := netns.Create("bench")
		if err != nil {
			return c, err
		}
		c.made = append(c.made, n)
	}
	c.Send, c.Receive = &netns.Link{NS: c.made[0], Name: "send"}, &netns.Link{NS: c.made[1], Name: "receive"}
	if err := netns.Cable(c.Send, c.Receive, 1); err != nil {
		return c, err
	}
	return c, c.prepare()
}

// Over is a cable between two links that are there already. Its Close leaves them.
func Over(send, receive *netns.Link) (*Cable, error) {
	c := &Cable{Send: send, Receive: receive}
	return c, c.prepare()
}

// prepare makes the receiving end fit for the generator.
func (c *Cable) prepare() error {
	// The generator hands frames to the receiving end's NAPI, which veth has only with XDP or with GRO, and GRO may
	// merge nothing.
	if err := c.Receive.NS.IP("link", "set", c.Receive.Name, "gro_max_size", "1"); err != nil {
		return err
	}
	out, err := c.Receive.NS.Command(context.Background(), "ethtool", "-K", c.Receive.Name, "gro", "on").CombinedOutput()
	if err != nil {
		return fmt.Errorf("ethtool: %w: %s", err, out)
	}
	return nil
}

// Close removes all of it.
func (c *Cable) Close() (err error) {
	for _, n := range c.made {
		err = errors.Join(err, n.Delete())
	}
	c.made = nil
	return err
}

// Delivered is how many packets came through the cable since it was made, by the receiving device's own counter.
func (c *Cable) Delivered() (n uint64, err error) {
	err = c.Receive.NS.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/dev")
		if err == nil {
			n, err = receivedBy(string(text), c.Receive.Name)
		}
		return err
	})
	return n, err
}

// receivedBy finds a device's count of received packets in the text of /proc/net/dev.
func receivedBy(text, device string) (uint64, error) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		name, rest, ok := strings.Cut(lines.Text(), ":")
		if !ok || strings.TrimSpace(name) != device {
			continue
		}
		var bytes, packets uint64
		if _, err := fmt.Sscan(rest, &bytes, &packets); err != nil {
			return 0, fmt.Errorf("counters of %s: %w", device, err)
		}
		return packets, nil
	}
	return 0, fmt.Errorf("no counters of %s", device)
}
