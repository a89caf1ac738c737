package dpdk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Case is one measurement.
type Case struct {
	// Hosts is how many targets the capture has, each with a flow of its own; 0 is net_null, and nothing is counted.
	Hosts int
	// Time is how long each side is measured in a turn.
	Time time.Duration
}

// String is what stands in a table.
func (c Case) String() string {
	if c.Hosts == 0 {
		return "net_null, 64-byte frames, received only"
	}
	return fmt.Sprintf("net_pcap, 64-byte frames, everything on, %d hosts", c.Hosts)
}

// Cases is the table of DESIGN.md 8.
func Cases(length time.Duration) (list []Case) {
	for _, hosts := range []int{0, 256, 4096, 65536} {
		list = append(list, Case{Hosts: hosts, Time: length})
	}
	return list
}

// Sample is what one side did in one turn.
type Sample struct {
	Packets uint64
	// Wall is how long it took, and CPU what all threads of the process used in that time.
	Wall, CPU time.Duration
}

// Mpps is millions of packets a second.
func (s Sample) Mpps() float64 { return float64(s.Packets) / s.Wall.Seconds() / 1e6 }

// Nanoseconds is CPU time a packet.
func (s Sample) Nanoseconds() float64 { return float64(s.CPU) / float64(s.Packets) }

// Bench has what the measurements need.
type Bench struct {
	// HugePages says that both sides use huge pages; else neither does.
	HugePages bool

	dir        string
	weir, bare string // programs
	restore    func()
}

// Missing says which programs and libraries are not there, and how to get them; empty when all are.
func Missing() string {
	var list []string
	for _, p := range [][2]string{{"pkg-config", "pkg-config"}, {"gcc", "gcc"}, {"dpdk-testpmd", "dpdk-dev"}, {"taskset", "util-linux"}} {
		if _, err := exec.LookPath(p[0]); err != nil {
			list = append(list, p[1])
		}
	}
	for _, p := range []string{"libdpdk", "libpcap"} {
		if exec.Command("pkg-config", "--exists", p).Run() != nil {
			list = append(list, p+"-dev")
		}
	}
	if len(list) > 0 {
		return "Debian packages are missing: " + strings.Join(list, " ")
	}
	if os.Geteuid() != 0 {
		return "root is needed"
	}
	return ""
}

// New builds the programs and reserves huge pages where the machine has them. Close gives them back.
func New(ctx context.Context) (b *Bench, err error) {
	if why := Missing(); why != "" {
		return nil, errors.New(why)
	}
	b = &Bench{restore: func() {}}
	if b.dir, err = os.MkdirTemp("", "weir-bench-dpdk-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	if b.weir, err = b.build(ctx, "appliance/cmd/weir"); err != nil {
		return nil, err
	}
	if b.bare, err = b.build(ctx, "bench/dpdk/bare"); err != nil {
		return nil, err
	}
	b.restore, b.HugePages = reserve(memory / 2)
	return b, nil
}

// Close removes what New made.
func (b *Bench) Close() error {
	b.restore()
	return os.RemoveAll(b.dir)
}

// build makes a program of this module with the tag dpdk. The flags come through the environment, as in the Makefile; where that has
// set them already they stay, so that what was compiled is found again.
func (b *Bench) build(ctx context.Context, path string) (string, error) {
	env := append(os.Environ(), "CGO_ENABLED=1")
	for _, kind := range [][3]string{{"CGO_CFLAGS", "--cflags", " -O3"}, {"CGO_LDFLAGS", "--libs", ""}} {
		if strings.Contains(os.Getenv("CGO_CFLAGS"), "rte_config") {
			break
		}
		out, err := exec.CommandContext(ctx, "pkg-config", kind[1], "libdpdk").Output()
		if err != nil {
			return "", fmt.Errorf("pkg-config %s libdpdk: %w", kind[1], err)
		}
		env = append(env, kind[0]+"="+strings.TrimSpace(string(out))+kind[2])
	}
	to := filepath.Join(b.dir, filepath.Base(path))
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "dpdk,pcap", "-o", to, "github.com/weir-ddos/weir/"+path)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s with tag dpdk: %w\n%s", path, err, out)
	}
	return to, nil
}

// Memory for both sides: megabytes for DPDK in all, buffers in the pool, and bytes of each, room in front included. net_pcap
// takes a buffer for each frame of the capture.
const (
	memory = 512
	mbufs  = 131071
	room   = 128
	buffer = 1024
)

// processor is the one that each side gets: the last, since the first has the interrupts.
func processor() string { return strconv.Itoa(runtime.NumCPU() - 1) }

// device is the virtual device of a case, in DPDK's words.
func (b *Bench) device(c Case) (string, error) {
	if c.Hosts == 0 {
		return "net_null0,size=64,copy=0", nil
	}
	path := filepath.Join(b.dir, fmt.Sprintf("%d.pcap", c.Hosts))
	if _, err := os.Stat(path); err == nil {
		return "net_pcap0,infinite_rx=1,rx_pcap=" + path, nil
	}
	return "net_pcap0,infinite_rx=1,rx_pcap=" + path, os.WriteFile(path, capture(c.Hosts), 0o600)
}

// Turn measures both sides once, Weir first.
func (b *Bench) Turn(ctx context.Context, c Case) (weir, testpmd Sample, err error) {
	dev, err := b.device(c)
	if err != nil {
		return weir, testpmd, err
	}
	if c.Hosts == 0 {
		weir, err = b.runBare(ctx, dev, c.Time)
	} else {
		weir, err = b.runWeir(ctx, dev, c)
	}
	if err != nil {
		return weir, testpmd, fmt.Errorf("weir on %s: %w", dev, err)
	}
	if testpmd, err = b.runTestpmd(ctx, dev, c.Time); err != nil {
		return weir, testpmd, fmt.Errorf("dpdk-testpmd on %s: %w", dev, err)
	}
	return weir, testpmd, nil
}
