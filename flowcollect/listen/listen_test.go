package listen

import (
	"bytes"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

func mustOpen(t *testing.T, c Config) *Group {
	t.Helper()
	g, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func local(a string, sockets int) Config {
	c := DefaultConfig()
	c.Address, c.Sockets, c.Buffer = netip.MustParseAddr(a), sockets, 1<<20
	return c
}

func dial(t *testing.T, network, host string, port uint16) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP(network, nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), port)))
	if err != nil {
		t.Skipf("no %s here: %v", network, err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// receive calls Recv until n datagrams have come, and gives each to f.
func receive(t *testing.T, s *Socket, n int, f func(b *Batch, i int)) {
	t.Helper()
	b := NewBatch()
	deadline := time.Now().Add(time.Minute)
	for got := 0; got < n; {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d datagrams came", got, n)
		}
		k, err := s.Recv(b)
		if err != nil {
			t.Fatal(err)
		}
		for i := range k {
			f(b, i)
		}
		got += k
	}
}

func TestBothFamilies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, bind, network, to, from string }{
		{"v4", "127.0.0.1", "udp4", "127.0.0.1", "127.0.0.1"},
		{"v6", "::1", "udp6", "::1", "::1"},
		{"v4 at ::", "::", "udp4", "127.0.0.1", "127.0.0.1"},
		{"v6 at ::", "::", "udp6", "::1", "::1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := Open(local(c.bind, 1))
			if err != nil {
				t.Skip(err)
			}
			defer g.Close()
			conn := dial(t, c.network, c.to, g.Addr().Port())
			sizes := []int{0, 1, 1464, 9000, 65507}
			if c.network == "udp6" {
				sizes[4] = 65000
			}
			for _, n := range sizes {
				if _, err := conn.Write(bytes.Repeat([]byte{byte(n)}, n)); err != nil {
					t.Fatal(err)
				}
			}
			want := netip.MustParseAddr(c.from).As16()
			port := conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
			at, sum := 0, 0
			receive(t, g.Sockets()[0], len(sizes), func(b *Batch, i int) {
				if *b.Source(i) != want || b.SourcePort(i) != port {
					t.Errorf("from %v port %d, want %v port %d", b.Source(i), b.SourcePort(i), want, port)
				}
				if !bytes.Equal(b.Data(i), bytes.Repeat([]byte{byte(sizes[at])}, sizes[at])) {
					t.Errorf("datagram %d has %d bytes, want %d", at, len(b.Data(i)), sizes[at])
				}
				sum += sizes[at]
				at++
			})
			st := g.Sockets()[0].Stats()
			if st.Datagrams != uint64(len(sizes)) || st.Bytes != uint64(sum) || st.Dropped != 0 || st.Truncated != 0 || st.Failures != 0 {
				t.Errorf("%+v", st)
			}
			if st.Buffer < 64<<10 {
				t.Errorf("the buffer has %d bytes", st.Buffer)
			}
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
			if again := g.Sockets()[0].Stats(); again.Datagrams != st.Datagrams {
				t.Errorf("after Close: %+v", again)
			}
		})
	}
}

func needsLinux(t *testing.T, what string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skipf("%s exists on Linux only", what)
	}
}

// A loud exporter, always the same addresses and ports, is dealt out to all sockets.
func TestOneExporterReachesAllSockets(t *testing.T) {
	t.Parallel()
	needsLinux(t, "the deal of datagrams by chance")
	for _, c := range []struct{ bind, network string }{{"127.0.0.1", "udp4"}, {"::1", "udp6"}} {
		g, err := Open(local(c.bind, 4))
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { _ = g.Close() })
		if g.Steering() != nil {
			t.Fatal(g.Steering())
		}
		conn := dial(t, c.network, c.bind, g.Addr().Port())
		const n = 400
		for range n {
			if _, err := conn.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		total := 0
		b := NewBatch()
		for _, s := range g.Sockets() {
			got := 0
			for {
				k, err := s.Recv(b)
				if err != nil {
					t.Fatal(err)
				}
				if got += k; k == 0 {
					break
				}
			}
			// 100 are expected; fewer than 50 come once in 10^9 runs.
			if got < 50 {
				t.Errorf("%s: socket %d got %d of %d", c.bind, s.Index(), got, n)
			}
			total += got
		}
		if total != n {
			t.Errorf("%s: %d of %d came", c.bind, total, n)
		}
	}
}

// What the kernel drops is counted, also when nothing comes afterwards.
func TestDropsAreCounted(t *testing.T) {
	t.Parallel()
	needsLinux(t, "the drop counter of a socket")
	for _, c := range []struct{ bind, network string }{{"127.0.0.1", "udp4"}, {"::1", "udp6"}} {
		cfg := local(c.bind, 1)
		cfg.Buffer = MinBuffer
		g, err := Open(cfg)
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { _ = g.Close() })
		conn := dial(t, c.network, c.bind, g.Addr().Port())
		const n = 2000
		for range n {
			if _, err := conn.Write(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		s := g.Sockets()[0]
		dropped := s.Stats().Dropped
		if dropped == 0 || dropped >= n {
			t.Fatalf("%s: %d of %d dropped", c.bind, dropped, n)
		}
		receive(t, s, n-int(dropped), func(*Batch, int) {})
		if st := s.Stats(); st.Datagrams+st.Dropped != n {
			t.Errorf("%s: %+v, sent %d", c.bind, st, n)
		}
	}
}

func TestRecvDoesNotAllocateAndWakes(t *testing.T) {
	g := mustOpen(t, local("127.0.0.1", 1))
	conn := dial(t, "udp4", "127.0.0.1", g.Addr().Port())
	b := NewBatch()
	s := g.Sockets()[0]
	begin := time.Now()
	if n, err := s.Recv(b); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if d := time.Since(begin); d < Wake/2 || d > time.Minute {
		t.Errorf("an idle Recv took %v, want about %v", d, Wake)
	}
	payload := []byte("abc")
	if n := testing.AllocsPerRun(100, func() {
		_, _ = conn.Write(payload)
		if n, _ := s.Recv(b); n != 1 || len(b.Data(0)) != 3 {
			t.Fatal("nothing came")
		}
	}); n != 0 && runtime.GOOS == "linux" {
		t.Errorf("%v allocations", n)
	}
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	g := mustOpen(t, local("127.0.0.1", 1))
	c := local("127.0.0.1", 1)
	c.Port = g.Addr().Port()
	if _, err := Open(c); err == nil {
		t.Error("a port that is taken was opened")
	}
	if _, err := Open(local("192.0.2.1", 1)); err == nil {
		t.Error("an address that is not ours was opened")
	}
	for _, bad := range []Config{{}, {Address: netip.MustParseAddr("::"), Sockets: 65, Buffer: 1 << 20}, {Address: netip.MustParseAddr("::"), Buffer: 1}} {
		if _, err := Open(bad); err == nil {
			t.Errorf("%+v was opened", bad)
		}
	}
}

func TestAllow(t *testing.T) {
	t.Parallel()
	a := NewAllow([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")})
	for _, c := range []struct {
		addr string
		want bool
	}{{"192.0.2.7", true}, {"::ffff:192.0.2.7", true}, {"192.0.3.1", false}, {"2001:db8::1", true}, {"2001:db8:0:1::1", false}} {
		if got := a.Ok(netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("%s: %v", c.addr, got)
		}
	}
	if !NewAllow(nil).Ok(netip.MustParseAddr("203.0.113.1")) {
		t.Error("an empty list refuses")
	}
	for i := range 3 * refusedPrefixes {
		a.Refuse(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}))
		a.Refuse(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 2}))
	}
	list := a.Refusals()
	if len(list) != refusedPrefixes+1 || list[len(list)-1].Network.IsValid() {
		t.Fatalf("%d networks are told apart", len(list))
	}
	var sum uint64
	for _, r := range list {
		sum += r.Datagrams
	}
	if sum != 6*refusedPrefixes || list[0].Network.Bits() != 24 || list[0].Datagrams != 2 {
		t.Errorf("%d datagrams, first %+v", sum, list[0])
	}
}
