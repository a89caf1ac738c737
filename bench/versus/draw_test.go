package versus

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestMarkdown(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := Markdown(&b, "heading", testResults(t)); err != nil {
		t.Fatal(err)
	}
	const want = `heading

| Scenario | Side | CPU a packet | Range | Offered | Not counted | Idle |
|---|---|---|---|---|---|---|
| SYN flood, 64-byte frames, 1 host, as fast as it goes | Weir, AF_PACKET, hosts and flows | 70 ns | 60 .. 80 | 0.900 Mpps | 0.00 % | 2.0 % |
|  | dpdk-testpmd rxonly, net_af_packet | 1000 ns (never sleeps) | 1000 .. 1000 | 0.900 Mpps | 0.00 % | 2.0 % |
|  | FastNetMon, AF_PACKET, connection tracking | 1500 ns | 1400 .. 1500 | 0.900 Mpps | 40.00 % | 2.0 % |
|  | tcpdump -w /dev/null, AF_PACKET | not run: no program tcpdump <&> | | | | |
| VLAN, MPLS, L2TP around a SYN flood, 65 k hosts, 200 k packets/s | FastNetMon, AF_PACKET, connection tracking | 30 ns | 30 .. 30 | 0.900 Mpps | 100.00 % (cannot parse them) | 2.0 % |
`
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
}

// TestSVG: it is XML, every side has its label and figure, and bars are as long as their figures say.
func TestSVG(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	results := testResults(t)
	results = append(results, Result{Scenario: results[4].Scenario, Side: results[0].Side, Rate: Paced}) // a turn failed
	if err := SVG(&b, "CPU <a packet>", "machine\nversions", results); err != nil {
		t.Fatal(err)
	}
	var texts, widths []string
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch x := token.(type) {
		case xml.CharData:
			if s := strings.TrimSpace(string(x)); s != "" {
				texts = append(texts, s)
			}
		case xml.StartElement:
			for _, a := range x.Attr {
				if x.Name.Local == "rect" && a.Name.Local == "width" {
					widths = append(widths, a.Value)
				}
			}
		}
	}
	const want = `CPU <a packet>|SYN flood, 64-byte frames, 1 host, as fast as it goes|Weir, AF_PACKET, hosts and flows|70 ns|` +
		`dpdk-testpmd rxonly, net_af_packet|1000 ns, never sleeps|FastNetMon, AF_PACKET, connection tracking|1500 ns, 40 % lost|` +
		`tcpdump -w /dev/null, AF_PACKET|no program tcpdump <&>|VLAN, MPLS, L2TP around a SYN flood, 65 k hosts, 200 k packets/s|` +
		`FastNetMon, AF_PACKET, connection tracking|30 ns, 100 % not parsed|Weir, AF_PACKET, hosts and flows|not measured|machine|versions`
	if got := strings.Join(texts, "|"); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got := strings.Join(widths, " "); got != "100% 15 220 330 330" {
		t.Error(got)
	}
}
