package netdev

import (
	"errors"
	"strings"
	"testing"

	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }

func TestFind(t *testing.T) {
	netns.Here(t, "nd0", "nd1", 3)
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	d, err := c.Find("nd0")
	if err != nil || !d.Up || !d.Ethernet || d.Index <= 0 || d.MTU != 1500 {
		t.Errorf("nd0 is %+v, %v", d, err)
	}
	if n, err := Queues("nd0"); n != 3 || err != nil {
		t.Errorf("nd0 has %d queues, %v", n, err)
	}
	netns.HereIP(t, "link", "set", "nd0", "down", "mtu", "9000")
	if again, err := c.Find("nd0"); err != nil || again.Up || again.Index != d.Index || again.MTU != 9000 {
		t.Errorf("after link set down: %+v, %v", again, err)
	}
	netns.HereIP(t, "link", "delete", "nd0")
	if _, err := c.Find("nd0"); !errors.Is(err, ErrNoDevice) {
		t.Errorf("deleted device: %v", err)
	}
	if _, err := Queues("nd0"); !errors.Is(err, ErrNoDevice) {
		t.Errorf("deleted device's queues: %v", err)
	}
	if lo, err := c.Find("lo"); err != nil || !lo.Ethernet {
		t.Errorf("lo: %+v, %v", lo, err)
	}
	if n, err := Queues("lo"); n != 1 || err != nil {
		t.Errorf("lo has %d queues, %v", n, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Find("lo"); err == nil {
		t.Error("a closed Conn answers")
	}
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", ".", "a/b", "a b", "a:1", strings.Repeat("x", 16)} {
		if CheckName(bad) == nil {
			t.Errorf("%q accepted", bad)
		}
	}
	for _, good := range []string{"eth0", "eth0.100", strings.Repeat("x", 15)} {
		if err := CheckName(good); err != nil {
			t.Error(err)
		}
	}
}

// FuzzParse: no answer, however odd, panics.
func FuzzParse(f *testing.F) {
	f.Add([]byte{32, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0})
	f.Add(request("eth0", 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, mine, _ := parse(b, 1); mine && len(b) < 16 {
			t.Error("a header's worth is needed to be an answer")
		}
	})
}
