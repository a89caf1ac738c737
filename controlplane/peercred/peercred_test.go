package peercred

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// pair is both ends of a connection of this process with itself.
func pair(t *testing.T, network, address string) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	client, err = net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return client, server
}

func TestBothEnds(t *testing.T) {
	t.Parallel()
	client, server := pair(t, "unix", filepath.Join(t.TempDir(), "s"))
	for name, c := range map[string]net.Conn{"who connected": server, "who listens": client} {
		got, err := Of(c)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if int(got.UID) != os.Geteuid() || !slices.Contains(got.Groups, uint32(os.Getegid())) || (got.PID != os.Getpid() && got.PID != 0) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestNobodyIsAnError(t *testing.T) {
	t.Parallel()
	_, tcp := pair(t, "tcp", "127.0.0.1:0")
	if got, err := Of(tcp); err == nil {
		t.Errorf("the peer of a TCP connection is %+v", got)
	}
	_, closed := pair(t, "unix", filepath.Join(t.TempDir(), "s"))
	_ = closed.Close()
	if got, err := Of(closed); err == nil {
		t.Errorf("the peer of a closed connection is %+v", got)
	}
}
