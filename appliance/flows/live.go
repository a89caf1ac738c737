package flows

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// liveBuffer is the receive buffer of a live socket, in bytes, as far as the system gives it.
const liveBuffer = 4 << 20

// live prints the records that are sent to the addresses, each PORT or ADDRESS:PORT, until ctx ends. It shares no port with anybody: a
// running appliance would lose the datagrams that are shown here.
func (p *printer) live(ctx context.Context, addresses []string) error {
	var conns []*net.UDPConn
	shut := func() {
		for _, c := range conns {
			_ = c.Close() // there is nothing to be lost
		}
	}
	for _, a := range addresses {
		if _, err := strconv.ParseUint(a, 10, 16); err == nil {
			a = ":" + a
		}
		c, err := net.ListenPacket("udp", a)
		if err != nil {
			shut()
			return fmt.Errorf("%w; what a running appliance receives is shown by tcpdump -U -w - udp port PORT | weir flows -", err)
		}
		conns = append(conns, c.(*net.UDPConn)) //nolint:forcetypeassert // "udp" gives one
	}
	var mu sync.Mutex // guards p
	var wg sync.WaitGroup
	errs := make([]error, len(conns))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i, c := range conns {
		_ = c.SetReadBuffer(liveBuffer) // less will do
		wg.Go(func() {
			defer cancel()
			errs[i] = p.receive(c, &mu)
		})
	}
	<-ctx.Done()
	shut()
	wg.Wait()
	return errors.Join(errs...)
}

// receive prints what comes to one socket until it is closed, or nobody reads what is printed.
func (p *printer) receive(c *net.UDPConn, mu *sync.Mutex) error {
	b := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.now(b[:n], from.Addr(), mu); err != nil {
			return err
		}
	}
}

// now prints one datagram at once.
func (p *printer) now(b []byte, from netip.Addr, mu *sync.Mutex) error {
	mu.Lock()
	defer mu.Unlock()
	p.datagram(&record.Datagram{Exporter: from.As16(), Arrived: time.Now().UnixNano(), Payload: b})
	return errors.Join(p.err, p.out.Flush())
}
