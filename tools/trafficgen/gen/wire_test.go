package gen

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/weir-ddos/weir/dataplane/wire"
)

// TestDecoderAgrees lets the dataplane's decoder read every kind in every encapsulation and compares with the labels.
// Neither side knows the other's code.
func TestDecoderAgrees(t *testing.T) {
	t.Parallel()
	g, err := New(builtin(t, "all-cases"))
	if err != nil {
		t.Fatal(err)
	}
	outer, inner := &wire.Decoder{}, &wire.Decoder{}
	for i := range inner.Charge {
		inner.Charge[i] = wire.ChargeInner
	}
	var f Frame
	var h wire.Headers
	wrong := map[int]bool{}
	for g.Next(&f) {
		for _, c := range []struct {
			name    string
			decoder *wire.Decoder
			want    *Header
		}{{"outer", outer, f.Outer}, {"inner", inner, f.Inner}} {
			code := c.decoder.Decode(wire.LinkEthernet, f.Data, &h)
			got := code.String()
			if code.Addressed() {
				ip, _ := h.Charged()
				got += " " + fromWire(ip).String()
			}
			want := f.Code
			if c.want != nil {
				want += " " + c.want.String()
			}
			if got != want && !wrong[f.Stream] {
				wrong[f.Stream] = true
				t.Errorf("%s, charging %s:\n got %s\nwant %s\n%x", g.Streams()[f.Stream].Name, c.name, got, want, f.Data)
			}
		}
	}
}

func fromWire(ip *wire.IP) *Header {
	return &Header{
		Src: netip.AddrFrom16(ip.Src).Unmap(), Dst: netip.AddrFrom16(ip.Dst).Unmap(), SrcPort: ip.SrcPort, DstPort: ip.DstPort,
		Length: ip.Length, Proto: ip.Proto, TCPFlags: ip.TCPFlags, Fragment: ip.Fragment, HasPorts: ip.HasPorts,
	}
}

func (h *Header) String() string {
	s := fmt.Sprintf("%s > %s proto %d flags %#x length %d fragment %v", h.Src, h.Dst, h.Proto, h.TCPFlags, h.Length, h.Fragment)
	if h.HasPorts {
		s += fmt.Sprintf(" ports %d %d", h.SrcPort, h.DstPort)
	}
	return s
}

// TestChecksums has gopacket as its oracle: frames of the encapsulations that it knows parse without complaint and every
// checksum that it finds in them is right.
func TestChecksums(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, via, target string }{
		{"udp", "", "10.0.0.1"},
		{"udp", "", "2001:db8::1"},
		{"syn", "", "10.0.0.1"},
		{"syn", "", "2001:db8::1"},
		{"icmp", "", "10.0.0.1"},
		{"icmp", "", "2001:db8::1"},
		{"sctp", "", "10.0.0.1"},
		{"sctp", "", "2001:db8::1"},
		{"udp", "options", "10.0.0.1"},
		{"udp", "qinq", "2001:db8::1"},
		{"syn", "mpls2", "10.0.0.1"},
		{"udp", "ipip", "10.0.0.1"},
		{"udp", "gre_key", "10.0.0.1"},
		{"udp", "vxlan", "10.0.0.1"},
		{"udp", "vxlan6", "10.0.0.1"},
		{"udp", "gtpu6", "2001:db8::1"},
		{"icmp", "4in6", "10.0.0.1"},
		{"udp", "mpls_udp6", "2001:db8::1"},
	} {
		st := Stream{Kind: c.kind, Target: c.target, PPS: 10, Count: 30, Sizes: []int{0, 1, 33, 200}}
		if c.via != "" {
			st.Via = []string{c.via}
		}
		g, err := New(Scenario{Streams: []Stream{st}, Length: seconds(3)})
		if err != nil {
			t.Fatal(err)
		}
		var f Frame
		for g.Next(&f) {
			p := gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, gopacket.DecodeOptions{})
			if e := p.ErrorLayer(); e != nil {
				t.Errorf("%s/%s: %v", c.kind, c.via, e.Error())
				break
			}
			var network gopacket.NetworkLayer
			for _, l := range p.Layers() {
				if n, ok := l.(gopacket.NetworkLayer); ok {
					network = n
				}
				if c, ok := l.(interface {
					SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
				}); ok && network != nil {
					if err := c.SetNetworkLayerForChecksum(network); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err, bad := p.VerifyChecksums(); err != nil || len(bad) > 0 {
				var names []string
				for _, b := range bad {
					names = append(names, fmt.Sprintf("%v: %x, want %x", b.Layer.LayerType(), b.Actual, b.Correct))
				}
				t.Errorf("%s/%s %s: checksums: %v %s\n%x", c.kind, c.via, c.target, err, strings.Join(names, "; "), f.Data)
				break
			}
		}
	}
}
