package cable

import (
	"fmt"
	"testing"

	"github.com/weir-ddos/weir/dataplane/packetbuild"
	"github.com/weir-ddos/weir/dataplane/port"
)

// TestLines: each host has its line, and each frame writes a flow's; what is too short to have a head is written for, too.
func TestLines(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("IPv6 %t", v6), func(t *testing.T) {
			t.Parallel()
			const hosts, packets = 1000, 8 * port.MaxBurst
			const ip = 14 + 4
			p, dst, short := packetbuild.Ether().VLAN(7).IPv4("198.18.0.1", "10.0.0.0"), ip+16, ip+need4-1
			if v6 {
				p, dst, short = packetbuild.Ether().VLAN(7).IPv6("2001:2::1", "2001:db8::"), ip+36, ip+need6-1
			}
			tr := Traffic{Frames: [][]byte{p.UDP(1, 2).Pad(60).Bytes()}, Fields: []Field{{Offset: dst, Mask: 0x3f}}}
			l, err := newLines(Work{Hosts: hosts, Flows: 1 << 16, IP: ip, IPv6: v6})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := l.memory.Free(); err != nil {
					t.Error(err)
				}
			}()
			frames := make([]port.Frame, port.MaxBurst)
			for n := uint64(0); n < packets; {
				for i := range frames {
					frames[i].Data = tr.Packet(n)
					n++
				}
				l.write(frames)
			}
			l.flush()
			if rows, flows := l.written(); rows != 64 || flows != packets {
				t.Errorf("%d rows and %d flows", rows, flows)
			}
			for i := range frames {
				frames[i].Data = frames[i].Data[:short]
			}
			l.write(frames[1:])
			if rows, flows := l.written(); rows != 64 || flows != packets {
				t.Errorf("%d rows and %d flows are written before their lines have come", rows, flows)
			}
			l.flush()
			l.flush()
			if rows, flows := l.written(); rows > 65 || flows != packets+port.MaxBurst-1 {
				t.Errorf("%d rows and %d flows", rows, flows)
			}
		})
	}
	if l, err := newLines(Work{Head: true}); err != nil || l.memory.Size() != 0 {
		t.Error("a bare counter has memory", err)
	}
}

// written is how many rows, and how often flows', lines were written.
func (l *lines) written() (rows int, flows uint64) {
	for i := range l.rows {
		if l.rows[i][0][0] > 0 {
			rows++
		}
	}
	for i := range l.flows {
		flows += l.flows[i][0]
	}
	return rows, flows
}
