package e2e

import (
	"bytes"
	"crypto/sha256"
	bin "encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
	"github.com/weir-ddos/weir/tools/lab"
)

// forwarded is one family's path through the router: the far end is inside the configured networks, the near one is not.
type forwarded struct {
	name, near, nearNet, gateway, far, farNet, inner string
	icmp                                             string // network of the raw socket
}

var forwardedFamilies = []forwarded{
	{"ipv4", "198.51.100.1", "/24", "198.51.100.2", "10.0.0.1", "/16", "10.0.0.254", "ip4:icmp"},
	{"ipv6", "2001:db9::1", "/64", "2001:db9::2", "2001:db8::1", "/32", "2001:db8::fe", "ip6:ipv6-icmp"},
}

// makeRouter lets the appliance's namespace forward between the generator's and the routers'.
func makeRouter(t *testing.T, l *lab.Lab) {
	t.Helper()
	for _, ns := range []*netns.NS{l.Gen, l.App, l.Router} {
		ns.IPv6(t)
	}
	var errs []error
	for _, f := range forwardedFamilies {
		errs = append(errs,
			l.Gen.IP("addr", "add", f.near+f.nearNet, "dev", lab.Wire, "nodad"),
			l.App.IP("addr", "add", f.gateway+f.nearNet, "dev", lab.Watch, "nodad"),
			l.App.IP("addr", "add", f.inner+f.farNet, "dev", "b0", "nodad"),
			l.Router.IP("addr", "add", f.far+f.farNet, "dev", "b1", "nodad"),
			l.Gen.IP("route", "add", "default", "via", f.gateway),
			l.Router.IP("route", "add", "default", "via", f.inner))
	}
	errs = append(errs, l.App.Do(func() error {
		return errors.Join(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0),
			os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
	}))
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// TestSoftRouter: traffic goes through the box while it is measured. All of it arrives, unchanged and soon, and the appliance
// counts every packet once.
func TestSoftRouter(t *testing.T) {
	t.Parallel()
	for name, port := range map[string]string{
		"afpacket":               "{driver: afpacket, device: w0}",
		"afxdp observes":         "{driver: afxdp, device: w0, options: {observe: true, mode: native}}",
		"afxdp observes generic": "{driver: afxdp, device: w0, options: {observe: true, mode: generic}}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			makeRouter(t, r.Lab)
			far := farEnd(t, r.Lab)
			w := r.start(r.Base() + "ports: [" + port + "]\ntick: 100ms\n")
			for _, f := range forwardedFamilies {
				p := &passage{rig: r, w: w, f: f, far: far}
				p.udp(5000)
				p.tcp(4 << 20)
				p.icmp(50)
				through, behind := far.roundTrips(t, f)
				if through > 3*behind+5*time.Millisecond {
					t.Errorf("%s: round trip %v through the box, %v from the box on", f.name, through, behind)
				}
				t.Logf("%s: round trip %v through the box, %v from the box on (medians)", f.name, through, behind)
			}
			for counted, want := range map[string]float64{"port_dropped_packets": 0, "conservation_faults": 0, "port_reopens": 0} {
				if got := counter(t, w, counted); got != want {
					t.Errorf("%s: %v", counted, got)
				}
			}
		})
	}
}

// far is what listens behind the router: UDP that is sent back where it begins with 'e', TCP that is hashed.
type far struct {
	lab  *lab.Lab
	udp  map[string]*net.UDPConn
	tcp  map[string]net.Listener
	sums chan [sha256.Size]byte
}

const farPort = "4000"

func farEnd(t *testing.T, l *lab.Lab) *far {
	t.Helper()
	e := &far{lab: l, udp: map[string]*net.UDPConn{}, tcp: map[string]net.Listener{}, sums: make(chan [sha256.Size]byte, 4)}
	for _, f := range forwardedFamilies {
		addr := netip.MustParseAddrPort(net.JoinHostPort(f.far, farPort))
		err := l.Router.Do(func() (err error) {
			if e.udp[f.name], err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr)); err != nil {
				return err
			}
			e.tcp[f.name], err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.udp[f.name].Close(); _ = e.tcp[f.name].Close() })
		go e.echo(e.udp[f.name])
		go e.hash(e.tcp[f.name])
	}
	return e
}

func (e *far) echo(c *net.UDPConn) {
	buf := make([]byte, 2048)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if n > 0 && buf[0] == 'e' {
			_, _ = c.WriteToUDPAddrPort(buf[:n], from) // a lost answer fails the test
		}
	}
}

func (e *far) hash(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		h := sha256.New()
		_, _ = io.Copy(h, c) // a short copy has another sum
		_ = c.Close()
		e.sums <- [sha256.Size]byte(h.Sum(nil))
	}
}

// dial connects from a namespace.
func (e *far) dial(t *testing.T, ns *netns.NS, network string, f forwarded) net.Conn {
	t.Helper()
	var c net.Conn
	err := ns.Do(func() (err error) {
		d := net.Dialer{Timeout: patience}
		c, err = d.Dial(network, net.JoinHostPort(f.far, farPort))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// roundTrips are medians from the near end through the box, and from the box itself, past the device that is watched. They are taken in
// turns, so that what else the machine does is in both.
func (e *far) roundTrips(t *testing.T, f forwarded) (through, behind time.Duration) {
	t.Helper()
	conns := [2]net.Conn{e.dial(t, e.lab.Gen, "udp", f), e.dial(t, e.lab.App, "udp", f)}
	var all [2][]time.Duration
	buf := make([]byte, 64)
	for i := range 200 {
		for k, c := range conns {
			_ = c.SetDeadline(time.Now().Add(patience)) // a socket that refuses it would fail below
			begin := time.Now()
			_, err := c.Write([]byte{'e', byte(i)})
			if err == nil {
				_, err = c.Read(buf)
			}
			if err != nil {
				t.Fatalf("%s: echo %d: %v", f.name, i, err)
			}
			all[k] = append(all[k], time.Since(begin))
		}
	}
	for _, d := range all {
		slices.Sort(d)
	}
	return all[0][100], all[1][100]
}

// snmp reads a counter of the kernel behind the router: what has arrived there.
func (e *far) snmp(t *testing.T, file, proto, name string) (n int) {
	t.Helper()
	err := e.lab.Router.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/" + file)
		if err != nil {
			return err
		}
		if file == "snmp6" {
			for line := range strings.SplitSeq(string(text), "\n") {
				if fields := strings.Fields(line); len(fields) == 2 && fields[0] == name {
					_, err = fmt.Sscan(fields[1], &n)
					return err
				}
			}
			return fmt.Errorf("no %s in %s", name, file)
		}
		var head []string
		for line := range strings.SplitSeq(string(text), "\n") {
			fields := strings.Fields(line)
			if len(fields) == 0 || fields[0] != proto+":" {
				continue
			}
			if head == nil {
				head = fields
				continue
			}
			_, err := fmt.Sscan(fields[slices.Index(head, name)], &n)
			return err
		}
		return fmt.Errorf("no %s %s in %s", proto, name, file)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// passage is what goes through the router in one family.
type passage struct {
	*rig
	w   *lab.Weir
	f   forwarded
	far *far
}

// counted is how many packets to the far end the appliance has counted.
func (p *passage) counted() int {
	return int(counter(p.t, p.w, "total_incoming_packets_"+p.f.name))
}

// expectCounted waits until exactly so many were counted.
func (p *passage) expectCounted(what string, since, want int) {
	p.t.Helper()
	p.wait(what, func() (bool, error) {
		got := p.counted() - since
		if got > want {
			p.t.Fatalf("%s %s: %d counted, %d arrived", p.f.name, what, got, want)
		}
		return got == want, fmt.Errorf("%s: %d counted, %d arrived", p.f.name, got, want)
	})
}

// udp sends datagrams of many sizes; all arrive.
func (p *passage) udp(total int) {
	p.t.Helper()
	arrived := func() int {
		if p.f.name == "ipv6" {
			return p.far.snmp(p.t, "snmp6", "", "Udp6InDatagrams")
		}
		return p.far.snmp(p.t, "snmp", "Udp", "InDatagrams")
	}
	since, base := p.counted(), arrived()
	c := p.far.dial(p.t, p.Gen, "udp", p.f)
	payload := bytes.Repeat([]byte("x"), 1400)
	for sent := 0; sent < total; {
		for range min(50, total-sent) { // a virtual cable holds 256
			if _, err := c.Write(payload[:1+sent%len(payload)]); err != nil {
				p.t.Fatal(err)
			}
			sent++
		}
		p.wait("datagrams behind the router", func() (bool, error) {
			got := arrived() - base
			return got == sent, fmt.Errorf("%s: %d of %d", p.f.name, got, sent)
		})
	}
	p.expectCounted("UDP", since, total)
}

// tcp sends a stream; it arrives unchanged, and as many segments were counted as came out of the router.
func (p *passage) tcp(size int) {
	p.t.Helper()
	data := make([]byte, size)
	for i := range size / 8 {
		bin.LittleEndian.PutUint64(data[8*i:], rand.Uint64())
	}
	since, base := p.counted(), p.far.snmp(p.t, "snmp", "Tcp", "InSegs")
	c := p.far.dial(p.t, p.Gen, "tcp", p.f)
	begin := time.Now()
	_, err := c.Write(data)
	if err = errors.Join(err, c.(*net.TCPConn).CloseWrite()); err != nil {
		p.t.Fatal(err)
	}
	select {
	case sum := <-p.far.sums:
		if sum != sha256.Sum256(data) {
			p.t.Errorf("%s: the stream arrived changed", p.f.name)
		}
	case <-time.After(patience):
		p.t.Fatalf("%s: the stream did not arrive", p.f.name)
	}
	p.t.Logf("%s: %d bytes of TCP in %v", p.f.name, size, time.Since(begin))
	_, _ = io.Copy(io.Discard, c) // until the far end has closed, so that the last segment is on its way
	segments := 0
	p.wait("the end of the connection", func() (bool, error) {
		n := p.far.snmp(p.t, "snmp", "Tcp", "InSegs") - base
		same := n == segments && p.counted()-since == n
		segments = n
		return same, fmt.Errorf("%s: %d segments arrived, %d counted", p.f.name, n, p.counted()-since)
	})
	if segments < size/1500 {
		p.t.Errorf("%s: only %d segments for %d bytes", p.f.name, segments, size)
	}
}

// icmp sends echo requests and gets every answer.
func (p *passage) icmp(total int) {
	p.t.Helper()
	since := p.counted()
	var c net.PacketConn
	err := p.Gen.Do(func() (err error) {
		c, err = net.ListenPacket(p.f.icmp, p.f.near)
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	request, reply := byte(8), byte(0)
	if p.f.name == "ipv6" {
		request, reply = 128, 129
	}
	to := &net.IPAddr{IP: net.ParseIP(p.f.far)}
	buf := make([]byte, 256)
	for i := range total {
		msg := []byte{request, 0, 0, 0, 'w', 'e', 0, byte(i)}
		if p.f.name == "ipv4" { // the kernel does it for IPv6
			var sum uint32
			for j := 0; j < len(msg); j += 2 {
				sum += uint32(bin.BigEndian.Uint16(msg[j:]))
			}
			bin.BigEndian.PutUint16(msg[2:], ^uint16(sum+sum>>16))
		}
		if _, err := c.WriteTo(msg, to); err != nil {
			p.t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(patience)) // a socket that refuses it would fail below
		for {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				p.t.Fatalf("%s: echo %d of %d: %v", p.f.name, i, total, err)
			}
			if n >= 8 && buf[0] == reply && buf[7] == byte(i) {
				break
			}
		}
	}
	p.expectCounted("ICMP", since, total)
}
