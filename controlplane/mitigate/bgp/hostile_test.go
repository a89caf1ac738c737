package bgp

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/weir-ddos/weir/controlplane/mitigate"
)

// touchyRouter answers an UPDATE that holds poison with NOTIFICATION 3/1, as BIRD does with a rule that it dislikes.
type touchyRouter struct {
	poison []byte
	// graceful makes it able to do graceful restart, as most are.
	graceful bool
	resets   atomic.Int32
	// clean counts UPDATEs with NLRI of the present session.
	clean atomic.Int32
}

func (r *touchyRouter) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go r.session(c)
	}
}

func (r *touchyRouter) session(c net.Conn) {
	defer c.Close()
	r.clean.Store(0)
	caps := []gobgp.ParameterCapabilityInterface{gobgp.NewCapFourOctetASNumber(routerASN)}
	for _, f := range families {
		caps = append(caps, gobgp.NewCapMultiProtocol(f))
	}
	if r.graceful {
		var tuples []*gobgp.CapGracefulRestartTuple
		for _, f := range families {
			tuples = append(tuples, gobgp.NewCapGracefulRestartTuple(f, false))
		}
		caps = append(caps, gobgp.NewCapGracefulRestart(false, false, 120, tuples))
	}
	open, err := gobgp.NewBGPOpenMessage(routerASN, 90, netip.MustParseAddr("192.0.2.200"),
		[]gobgp.OptionParameterInterface{gobgp.NewOptionParameterCapability(caps)})
	if err != nil {
		panic(err)
	}
	send := func(m *gobgp.BGPMessage) {
		b, err := m.Serialize()
		if err == nil {
			_, _ = c.Write(b) // a dead connection ends the reader
		}
	}
	send(open)
	send(gobgp.NewBGPKeepAliveMessage())
	greeted := false
	for {
		head := make([]byte, 19)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		body := make([]byte, int(head[16])<<8|int(head[17])-19)
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		switch head[18] {
		case gobgp.BGP_MSG_UPDATE:
			if bytes.Contains(body, r.poison) {
				r.resets.Add(1)
				send(gobgp.NewBGPNotificationMessage(gobgp.BGP_ERROR_UPDATE_MESSAGE_ERROR, gobgp.BGP_ERROR_SUB_MALFORMED_ATTRIBUTE_LIST, nil))
				return
			}
			if len(body) > 4+8 { // more than an end-of-RIB
				r.clean.Add(1)
			}
		case gobgp.BGP_MSG_KEEPALIVE:
			if greeted {
				send(gobgp.NewBGPKeepAliveMessage())
				continue
			}
			greeted = true
			for _, f := range families { // a speaker that restarts waits for these
				send(gobgp.NewEndOfRib(f))
			}
		}
	}
}

// TestRouterThatResets: the rule that a router answers with a reset is taken back, and the blackholes of that router live on.
func TestRouterThatResets(t *testing.T) {
	t.Parallel()
	for _, graceful := range []bool{false, true} {
		t.Run(fmt.Sprint("graceful restart ", graceful), func(t *testing.T) {
			t.Parallel()
			testRouterThatResets(t, graceful)
		})
	}
}

func testRouterThatResets(t *testing.T, graceful bool) {
	b := newTestbed(t)
	cfg := b.peer(t, "touchy")
	l, err := net.Listen("tcp", netip.AddrPortFrom(cfg.Address, cfg.Port).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := &touchyRouter{graceful: graceful, poison: []byte{0x03, 0x81, 0x06, 0x09}} // protocol TCP, then flags
	go r.serve(l)
	c := b.client(t)
	good := []mitigate.Mitigation{blackhole("four", "203.0.113.1/32"), blackhole("six", "2001:db8::1/128")}
	bad := flow("bad", mitigate.Match{Destination: host6, Protocols: []uint8{6}, TCPFlags: 2})
	reconcile(t, c, append(good, bad)...)
	eventually(t, "the rule is refused and the rest is in force", func() string {
		st := c.Status()
		if r.resets.Load() == 0 || st.Announced != 2 || !strings.Contains(st.Refused["bad"], "rejected by router touchy") ||
			!strings.Contains(st.Refused["bad"], "code 3(update)") || r.clean.Load() != 2 {
			return fmt.Sprint(stringOf(st), r.resets.Load(), r.clean.Load())
		}
		return ""
	})
	// A notification is lost when our next write meets the closed connection first: then the second reset says what the first meant.
	resets := r.resets.Load()
	if resets > 2 {
		t.Errorf("the router had to reset %d times", resets)
	}
	// It stays so, however often it is wanted.
	for range 3 {
		reconcile(t, c, append(good, bad)...)
	}
	if n := r.resets.Load(); n != resets {
		t.Errorf("the router had to reset again: %d times", n)
	}
	if st := c.Status(); st.Peers[0].Flaps != uint64(resets) || !strings.Contains(st.Peers[0].LastError, "notification-received code 3") {
		t.Errorf("status is %s", stringOf(st))
	}
}
