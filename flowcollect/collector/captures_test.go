package collector

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/pcapfile"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Nothing is lost in captures of real exporters that were made without loss: softflowd, pmacctd and Open vSwitch in all their protocols,
// of which some do not number as the standards say.
func TestNoLossInCaptures(t *testing.T) {
	t.Parallel()
	root := os.Getenv("WEIR_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	files, err := filepath.Glob(filepath.Join(root, "data", "flow", "generated", "*.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("shared flow captures are not here (WEIR_SHARED)")
	}
	read := 0
	for _, f := range files {
		if name := filepath.Base(f); strings.Contains(name, "withdraw") || strings.Contains(name, "synthetic") || name == "truth.pcap" {
			continue // made by hand, or no flows
		}
		c := newOffline(t, loopback(t, "127.0.0.1", 1))
		n := c.replay(t, f)
		read += n
		for _, e := range c.Exporters() {
			if n == 0 || len(e.Lost) > 0 || e.Late > 0 || e.Restarts > 0 {
				t.Errorf("%s, %d datagrams: lost %v, late %d, restarts %d", filepath.Base(f), n, e.Lost, e.Late, e.Restarts)
			}
		}
	}
	if read < 500 {
		t.Errorf("only %d datagrams", read)
	}
}

// replay gives the worker the UDP payloads of a capture.
func (o *offline) replay(t *testing.T, path string) (n int) {
	t.Helper()
	r, err := pcapfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		var d wire.Decoder
		var h wire.Headers
		head := 14
		if rec.LinkType == wire.LinkRaw {
			head = 0
		}
		switch d.Decode(rec.LinkType, rec.Data, &h); h.Outer.Version {
		case 4:
			head += 28
		case 6:
			head += 48
		}
		if h.Outer.Proto != wire.ProtoUDP || len(rec.Data) < head {
			continue
		}
		o.now = time.Unix(0, rec.Time)
		o.send(netip.AddrFrom16(h.Outer.Src).String(), rec.Data[head:])
		n++
	}
}
