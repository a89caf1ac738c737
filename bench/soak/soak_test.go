package soak

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/weir-ddos/weir/bench/alone"
	"github.com/weir-ddos/weir/bench/cable"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

func TestMain(m *testing.M) {
	cable.Child()
	alone.Child()
	os.Exit(m.Run())
}

// What is sent is what is promised: all classes of both families, to many hosts inside the networks.
func TestTraffic(t *testing.T) {
	t.Parallel()
	tr := mix()
	if err := tr.Validate(); err != nil {
		t.Fatal(err)
	}
	var d wire.Decoder
	var h wire.Headers
	codes := map[wire.Code]int{}
	classes := map[[2]int]int{}
	hosts := map[[16]byte]bool{}
	inside, err := nets.New(nets.Spec{Networks: networks()})
	if err != nil {
		t.Fatal(err)
	}
	const packets = 1 << 15
	for n := range uint64(packets) {
		code := d.Decode(wire.LinkEthernet, tr.Packet(n), &h)
		codes[code]++
		if !code.Addressed() {
			continue
		}
		ip, _ := h.Charged()
		if inside.Lookup(&ip.Dst) == nets.Outside || inside.Lookup(&ip.Src) != nets.Outside {
			t.Fatalf("packet %d: %v to %v", n, ip.Src, ip.Dst)
		}
		hosts[ip.Dst] = true
		classes[[2]int{int(ip.Version), int(traffic.ClassOf(ip.Proto, ip.TCPFlags, ip.Fragment))}]++
	}
	if len(classes) != 2*5 || len(hosts) < packets/4 || codes[wire.OK] < packets*13/16 || len(codes) < 3 {
		t.Errorf("%d classes %v, %d hosts, codes %v", len(classes), classes, len(hosts), codes)
	}
}

// A short run: every packet is accounted for. How long gaps are and whether memory grows is for the benchmark to judge, on a
// quiet machine and for long.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the program: not with -short")
	}
	if why := netns.Missing(); why != "" {
		t.Skip(why)
	}
	if runtime.NumCPU() < 2 {
		t.Skip("the generator and the worker need a processor each")
	}
	weir := filepath.Join(t.TempDir(), "weir")
	cmd := exec.Command("go", "build", "-o", weir, "github.com/weir-ddos/weir/appliance/cmd/weir")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r, err := Run(t.Context(), Config{Weir: weir, Time: 8 * time.Second, WarmUp: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", r)
	if r.Unaccounted() != 0 || r.Sent == 0 || r.Delivered > r.Sent || r.Commits < 2 || r.RSS == 0 || r.Longest == 0 {
		t.Errorf("%d packets unaccounted for: %+v", r.Unaccounted(), r)
	}
}

// A gap is the host's when it took something in the same tick or in one beside it, and another thread's when it had the processor as long.
func TestUnexplained(t *testing.T) {
	t.Parallel()
	stolen := tick{stolen: true}
	for _, c := range []struct {
		ticks []tick
		want  uint64
	}{
		{nil, 0},
		{[]tick{{long: 2}}, 2},
		{[]tick{{long: 2, stolen: true}}, 0},
		{[]tick{{long: 2, waited: true}, {long: 3}}, 3},
		{[]tick{{long: 2}, stolen, {long: 1}, {long: 4}, {}, {long: 8}}, 12},
	} {
		if n := unexplained(c.ticks); n != c.want {
			t.Errorf("%v: %d, want %d", c.ticks, n, c.want)
		}
	}
}
