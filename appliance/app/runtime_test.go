package app

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/controlplane/engine"
	"github.com/weir-ddos/weir/controlplane/rule"
)

// TestFirst: both families in one order, by each rate and direction; equal ones by address; no more than asked for.
func TestFirst(t *testing.T) {
	host := func(addr string, in, out, flows float64) engine.HostView {
		h := engine.HostView{Host: netip.MustParseAddr(addr)}
		h.In[rule.PPS], h.Out[rule.PPS], h.In[rule.Mbps], h.In[rule.Flows] = in, out, 100-in, flows
		return h
	}
	hosts := []engine.HostView{
		host("10.0.0.10", 5, 1, 0), host("10.0.0.9", 5, 2, 7), host("2001:db8::10", 5, 3, 0), host("2001:db8::9", 9, 4, 0),
	}
	for _, c := range []struct {
		q    api.Query
		want []string
	}{
		{api.Query{Order: "packets", Limit: 10}, []string{"2001:db8::9", "10.0.0.9", "10.0.0.10", "2001:db8::10"}},
		{api.Query{Order: "packets", Limit: 2}, []string{"2001:db8::9", "10.0.0.9"}},
		{api.Query{Order: "packets", Outgoing: true, Limit: 10}, []string{"2001:db8::9", "2001:db8::10", "10.0.0.9", "10.0.0.10"}},
		{api.Query{Order: "bytes", Limit: 10}, []string{"10.0.0.9", "10.0.0.10", "2001:db8::10", "2001:db8::9"}},
		{api.Query{Order: "flows", Limit: 1}, []string{"10.0.0.9"}},
	} {
		t.Run(fmt.Sprintf("%+v", c.q), func(t *testing.T) {
			var list []rated[engine.HostView]
			for i := range hosts {
				list = append(list, rated[engine.HostView]{rateOf(&c.q, &hosts[i].In, &hosts[i].Out), &hosts[i]})
			}
			var got []string
			for _, h := range first(list, &c.q, func(a, b *engine.HostView) int { return a.Host.Compare(b.Host) }, hostRates) {
				got = append(got, h.Name)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
