package listen

import (
	"bytes"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// Runs of datagrams that the kernel joined come out as what was sent, next to single ones.
func TestRuns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ bind, network string }{{"127.0.0.1", "udp4"}, {"::1", "udp6"}} {
		t.Run(c.network, func(t *testing.T) {
			g, err := Open(local(c.bind, 1))
			if err != nil {
				t.Skip(err)
			}
			t.Cleanup(func() { _ = g.Close() })
			conn := dial(t, c.network, c.bind, g.Addr().Port())
			var want [][]byte
			for i, run := range []struct{ size, length int }{{1000, 10_500}, {1400, 1400}, {300, 600}, {1200, 1201}, {900, 54_000}} {
				if err := segment(conn, run.size); err != nil {
					t.Skipf("no UDP_SEGMENT here: %v", err)
				}
				b := make([]byte, run.length)
				for k := range b {
					b[k] = byte(i + k/run.size)
				}
				if _, err := conn.Write(b); err != nil {
					t.Fatal(err)
				}
				for ; len(b) > 0; b = b[min(run.size, len(b)):] {
					want = append(want, b[:min(run.size, len(b))])
				}
			}
			local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
			at := 0
			receive(t, g.Sockets()[0], len(want), func(b *Batch, i int) {
				if !bytes.Equal(b.Data(i), want[at]) {
					t.Fatalf("datagram %d has %d bytes from %v on, want %d from %v on", at, len(b.Data(i)), b.Data(i)[:1], len(want[at]), want[at][:1])
				}
				if b.SourcePort(i) != local.Port() || *b.Source(i) != local.Addr().As16() {
					t.Fatalf("datagram %d is from %v port %d", at, b.Source(i), b.SourcePort(i))
				}
				at++
			})
			if s := g.Sockets()[0].Stats(); s.Datagrams != uint64(len(want)) || s.Truncated != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// segment has the kernel cut what is written into datagrams of size bytes (UDP_SEGMENT, linux/udp.h).
func segment(c *net.UDPConn, size int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) { inner = unix.SetsockoptInt(int(fd), unix.SOL_UDP, 103, size) })
	if err != nil {
		return err
	}
	return inner
}
