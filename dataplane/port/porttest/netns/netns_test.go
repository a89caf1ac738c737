package netns

import (
	"bytes"
	"context"
	"net"
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

func TestTwoNamespacesJoinedByACable(t *testing.T) {
	t.Parallel()
	a, b := &Link{NS: New(t), Name: "left"}, &Link{NS: New(t), Name: "right"}
	Veth(t, a, b, 2)
	if len(a.MAC) != 6 || bytes.Equal(a.MAC, b.MAC) {
		t.Fatalf("MAC addresses %v and %v", a.MAC, b.MAC)
	}
	must(t, a.NS.Do(func() error {
		dev, err := net.InterfaceByName("left")
		if err == nil && dev.Flags&net.FlagUp == 0 {
			t.Error("left is down")
		}
		return err
	}))
	if _, err := net.InterfaceByName("left"); err == nil {
		t.Error("the device of the namespace is visible outside")
	}
	out, err := b.NS.Command(context.Background(), "ip", "-br", "link", "show", "right").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("right@")) {
		t.Errorf("command in the namespace: %v: %s", err, out)
	}
}

func TestMainPutsTheProcessIntoAnEmptyNamespace(t *testing.T) {
	Inside(t)
	devs, err := net.Interfaces()
	must(t, err)
	for _, d := range devs {
		if d.Name == "eth0" {
			t.Errorf("host device %s is visible", d.Name)
		}
	}
	Here(t, "h0", "h1", 4)
	_, err = net.InterfaceByName("h1")
	must(t, err)
}
