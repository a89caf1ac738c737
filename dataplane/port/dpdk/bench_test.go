//go:build dpdk && cgo

package dpdk

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
)

// Receive and release, nothing more: what the binding costs a frame. Compare with: dpdk-testpmd --forward-mode=rxonly on the same
// device. WEIR_TEST_HUGE=1 uses huge pages.
func BenchmarkReceive(b *testing.B) {
	path := filepath.Join(b.TempDir(), "syn.pcap")
	le := binary.LittleEndian
	file := le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, 0xa1b2c3d4), 2|4<<16), 0)
	file = le.AppendUint32(le.AppendUint32(le.AppendUint32(file, 0), 65535), 1)
	for i := range 512 {
		f := porttest.Build(uint32(i), porttest.Shape{Size: 60, Flow: i})
		file = append(le.AppendUint32(le.AppendUint32(le.AppendUint64(file, 1e9), 60), 60), f...)
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct{ name, device string }{
		{"net_null", "net_null0,size=64,copy=0"},
		{"net_pcap", "net_pcap0,infinite_rx=1,rx_pcap=" + path},
	} {
		b.Run(c.name, func(b *testing.B) {
			opts := map[string]any{"huge_pages": os.Getenv("WEIR_TEST_HUGE") != "", "memory": 512}
			p, err := port.Open(port.Config{Driver: "dpdk", Device: c.device, Queues: 1, Options: opts})
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := p.Close(); err != nil {
					b.Error(err)
				}
			}()
			q := p.Queues()[0]
			var burst port.Burst
			for n := 0; n < b.N; {
				n += q.RxBurst(&burst)
				q.Release(&burst)
			}
			if s := p.Stats(); s.Dropped != 0 {
				b.Errorf("%+v", s)
			}
		})
	}
}
