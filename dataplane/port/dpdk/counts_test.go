//go:build dpdk && cgo

package dpdk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/dpdk/dpdktest"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
	"github.com/weir-ddos/weir/dataplane/port/porttest/counted"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
	"github.com/weir-ddos/weir/dataplane/port/replay"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// sameAsReplay compares what is counted of one capture through a port and through the replay driver. feed, when set, makes
// the capture's frames arrive at the port.
func sameAsReplay(t *testing.T, path string, frames int, p port.Port, feed func() error) (hosts int) {
	t.Helper()
	r, err := port.Open(port.Config{Driver: "replay", Device: path, Queues: 1, Options: map[string]any{"speed": "max"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	want := counted.Of(t, r, frames)
	if int(want.Frames) != frames {
		t.Fatalf("%s: replay counts %d frames of %d, %d hosts", path, want.Frames, frames, len(want.Hosts))
	}
	fed := make(chan error, 1)
	go func() {
		if feed == nil {
			feed = func() error { return nil }
		}
		fed <- feed()
	}()
	got := counted.Of(t, p, frames)
	if err := <-fed; err != nil {
		t.Error(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", path, got, want)
	}
	if s := p.Stats(); s.Dropped != 0 || s.Err != "" {
		t.Errorf("%s: %+v", path, s)
	}
	return len(want.Hosts)
}

// paced gives frames to put in small groups, each when the port has received what came before, so that no ring overflows.
func paced(p port.Port, frames [][]byte, put func([][]byte) (int, error)) func() error {
	return func() error {
		var sent uint64
		for part := range slices.Chunk(frames, 64) {
			n, err := put(part)
			if err != nil || n != len(part) {
				return errors.Join(err, fmt.Errorf("%d of %d frames were taken", n, len(part)))
			}
			sent += uint64(n)
			for end := time.Now().Add(porttest.Patience); p.Queues()[0].Stats().Received < sent; time.Sleep(50 * time.Microsecond) {
				if time.Now().After(end) {
					return fmt.Errorf("%d frames received of %d", p.Queues()[0].Stats().Received, sent)
				}
			}
		}
		return nil
	}
}

const mixedFrames = 5000

func TestSameCountsPcap(t *testing.T) {
	if !alone(t) {
		return
	}
	path := writePcap(t, "mixed.pcap", mixed(mixedFrames))
	if n := sameAsReplay(t, path, mixedFrames, mustOpen(t, "net_pcap0,rx_pcap="+path, 0, lean(nil)), nil); n < 14 {
		t.Errorf("%d hosts", n)
	}
}

// The ring's frames come as from a device that strips tags, hashes and tells types: nothing of that changes a count.
func TestSameCountsRing(t *testing.T) {
	if !alone(t) {
		return
	}
	frames := mixed(mixedFrames)
	p := mustOpen(t, "net_ring0", 0, lean(nil))
	put := func(part [][]byte) (int, error) { return dpdktest.Enqueue("ETH_RXTX0_net_ring0", part) }
	if n := sameAsReplay(t, writePcap(t, "mixed.pcap", frames), mixedFrames, p, paced(p, frames, put)); n < 14 {
		t.Errorf("%d hosts", n)
	}
	if s := p.Stats(); s.Extra["nic_untagged"] != (mixedFrames+2)/3 || s.Extra["nic_hashed"] != mixedFrames || s.Extra["nic_typed"] != mixedFrames {
		t.Errorf("%+v", s)
	}
}

// net_null makes frames of zeros.
func TestSameCountsNull(t *testing.T) {
	if !alone(t) {
		return
	}
	frames := make([][]byte, 64*port.MaxBurst)
	for i := range frames {
		frames[i] = make([]byte, 64)
	}
	p := mustOpen(t, "net_null0,size=64", 1, lean(nil))
	sameAsReplay(t, writePcap(t, "zeros.pcap", frames), len(frames), p, nil)
}

// Frames that come through the kernel.
func TestSameCountsVeth(t *testing.T) {
	netns.Inside(t)
	if !alone(t) {
		return
	}
	frames := mixed(mixedFrames)
	path := writePcap(t, "mixed.pcap", frames)
	for _, device := range []string{"net_af_xdp0,iface=%s", "net_af_packet0,iface=%s,blocksz=65536,framesz=2048,framecnt=8192"} {
		a, b := cable(t, 1)
		p := mustOpen(t, fmt.Sprintf(device, b), 0, lean(map[string]any{"descriptors": 2048}))
		if n := sameAsReplay(t, path, mixedFrames, p, paced(p, frames, send(a))); n < 14 {
			t.Errorf("%d hosts", n)
		}
	}
}

// The captures of the working group, where present: what real attacks and odd encapsulations look like.
func TestSameCountsAsReplayOnCaptures(t *testing.T) {
	root := os.Getenv("WEIR_SHARED")
	if root == "" {
		root = "../../../../shared"
	}
	paths, _ := filepath.Glob(root + "/data/pcap/[^b]*/*.pcap") // not bad: readers differ on where a damaged file ends
	if len(paths) == 0 {
		t.Skip("no captures in " + root + "/data/pcap")
	}
	if !alone(t) {
		return
	}
	played, hosts := 0, 0
	for _, path := range paths {
		frames, ok := length(t, path)
		if !ok {
			continue
		}
		p, err := port.Open(port.Config{Driver: "dpdk", Device: "net_pcap0,rx_pcap=" + path, Options: lean(nil)})
		if err != nil {
			t.Fatal(err)
		}
		hosts += sameAsReplay(t, path, frames, p, nil)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		played++
	}
	if played < 5 || hosts < 100 {
		t.Errorf("only %d captures of %d were usable, with %d hosts", played, len(paths), hosts)
	}
	t.Logf("%d captures, %d hosts", played, hosts)
}

// length is how many frames a capture holds; false when net_pcap would not show all of each: other link types, and frames
// that are longer than our buffers or were cut.
func length(t *testing.T, path string) (int, bool) {
	t.Helper()
	if info, err := os.Stat(path); err != nil || info.Size() > 20<<20 {
		return 0, false
	}
	p, err := port.Open(port.Config{Driver: "replay", Device: path, Queues: 1, Options: map[string]any{"speed": "max"}})
	if err != nil {
		return 0, false // a damaged file
	}
	defer func() { _ = p.Close() }()
	q := p.Queues()[0]
	if q.LinkType() != wire.LinkEthernet {
		return 0, false
	}
	var b port.Burst
	n := 0
	for !p.(*replay.Port).Drained() {
		if q.RxBurst(&b) == 0 {
			continue
		}
		n += b.N
		for _, f := range b.Frames[:b.N] {
			if len(f.Data) != int(f.WireLen) || len(f.Data) > 2048 || len(f.Data) == 0 {
				return 0, false
			}
		}
		q.Release(&b)
	}
	return n, n > 0 && p.Stats().Err == ""
}
