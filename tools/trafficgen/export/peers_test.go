package export

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/dataset"
	"github.com/weir-ddos/weir/flowcollect/ipfix"
	"github.com/weir-ddos/weir/flowcollect/listen/freeport"
	"github.com/weir-ddos/weir/flowcollect/netflow"
	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/sampling"
	"github.com/weir-ddos/weir/flowcollect/sflow"
	"github.com/weir-ddos/weir/flowcollect/template"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// hosts adds records up by address.
type hosts map[netip.Addr]*Host

func (h hosts) host(a [16]byte) *Host {
	addr := netip.AddrFrom16(a).Unmap()
	if h[addr] == nil {
		h[addr] = &Host{Addr: addr}
	}
	return h[addr]
}

func (h hosts) add(x *record.Record) {
	in, out := &h.host(x.Dst).Incoming, &h.host(x.Src).Outgoing
	in.Packets, in.Bytes = in.Packets+x.Packets, in.Bytes+x.Bytes
	out.Packets, out.Bytes = out.Packets+x.Packets, out.Bytes+x.Bytes
}

func (h hosts) check(t *testing.T, want []Host) {
	t.Helper()
	for _, w := range want {
		if g := h[w.Addr]; g == nil || *g != w {
			t.Errorf("%s: %+v, want %+v", w.Addr, g, w)
		}
	}
}

// TestWeirSFlow holds the product's decoder and this exporter against each other, host by host.
func TestWeirSFlow(t *testing.T) {
	t.Parallel()
	r, res, _ := play(t, mixed(), Config{Protocol: SFlow, Sampling: 5})
	got := hosts{}
	var st record.Stats
	sources := sflow.NewSources(10)
	d := sflow.New(sflow.Config{}, nil)
	sink := record.SinkFunc(func(x *record.Record) {
		sources.Observe(x.Agent, x.Domain, d.Sample())
		if x.SamplingRate != 5 || x.Direction != record.Ingress {
			t.Errorf("%+v", x)
		}
		if x.Traffic() {
			got.add(x)
		}
	})
	for _, dg := range r.datagrams {
		if c := d.Decode(&record.Datagram{Payload: dg.payload}, &st, sink); c != record.OK {
			t.Fatalf("code %v", c)
		}
	}
	if st.Records != res.Records || st.Datagrams != res.Datagrams || st.CounterSamples != res.CounterSamples {
		t.Errorf("%+v, want %+v", st, res)
	}
	got.check(t, res.Hosts)
	for _, s := range sources.All() {
		if s.Lost() != 0 || s.Effective() < 4.9 || s.Effective() > 5.1 {
			t.Errorf("source %d: effective rate %.2f, %d samples lost", s.Source.Index, s.Effective(), s.Lost())
		}
	}
}

// TestWeirNetFlow does the same with NetFlow and IPFIX: sums, sampling rates, durations, sequence.
func TestWeirNetFlow(t *testing.T) {
	t.Parallel()
	for _, p := range []Protocol{NetFlow5, NetFlow9, IPFIX} {
		r, res, _ := play(t, mixed(), Config{Protocol: p, Sampling: 5})
		templates, err := template.New(template.Default())
		if err != nil {
			t.Fatal(err)
		}
		rates, err := sampling.New(sampling.Default())
		if err != nil {
			t.Fatal(err)
		}
		deps := dataset.Deps{Templates: templates, Sampling: rates, Wire: &wire.Decoder{}}
		decode := netflow.New(deps).Decode
		if p == IPFIX {
			decode = ipfix.New(deps).Decode
		}
		got := hosts{}
		var st record.Stats
		sink := record.SinkFunc(func(x *record.Record) {
			got.add(x)
			if x.SamplingRate != 5 || x.Has&record.HasDuration == 0 || x.Duration > int64(4*time.Second) || x.Input == 0 || x.Output == 0 {
				t.Errorf("%s: %+v", p, x)
			}
		})
		next := uint32(0)
		for i, dg := range r.datagrams {
			if c := decode(&record.Datagram{Payload: dg.payload, Arrived: dg.at}, &st, sink); c != record.OK {
				t.Fatalf("%s: datagram %d: code %v", p, i, c)
			}
			if st.Last.Sequence != next {
				t.Errorf("%s: datagram %d: sequence %d, want %d", p, i, st.Last.Sequence, next)
			}
			next = st.Last.Sequence + st.Last.Units
		}
		if st.Records != res.Records || st.OptionRecords != res.OptionRecords || st.Templates != res.Templates || st.OptionTemplates != res.OptionTemplates || st.UnknownRate != 0 {
			t.Errorf("%s: %+v, want %+v", p, st, res)
		}
		got.check(t, res.Hosts)
	}
}

func capture(t *testing.T, s gen.Scenario, cfg Config, collector string) (string, Truth) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "export.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	truth, err := WritePcap(f, s, gen.Options{}, cfg, netip.MustParseAddrPort(collector))
	if err != nil {
		t.Fatal(err)
	}
	return path, truth
}

// TestTshark: an independent dissector finds the same datagrams, packets and bytes, and nothing malformed.
func TestTshark(t *testing.T) {
	t.Parallel()
	bin, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	for _, c := range []struct {
		protocol        Protocol
		collector       string
		packets, octets string
	}{
		{NetFlow5, "198.51.100.1:2055", "cflow.packets", "cflow.octets"},
		{NetFlow9, "[2001:db8:ffff::9]:2055", "cflow.packets", "cflow.octets"},
		{IPFIX, "198.51.100.1:4739", "cflow.packets", "cflow.octets"},
		{SFlow, "[2001:db8:ffff::9]:6343", "sflow.flow_sample.sampling_rate", "sflow_245.header.frame_length"},
	} {
		t.Run(string(c.protocol), func(t *testing.T) {
			t.Parallel()
			s := mixed()
			s.Background, s.Streams[0].PPS, s.Streams[1].PPS = 500, 500, 500
			path, truth := capture(t, s, Config{Protocol: c.protocol, Sampling: 4}, c.collector)
			// sFlow's heads are cut, which their own dissectors may complain of.
			args := []string{"-r", path, "-n", "-d", "udp.port==2055,cflow", "-d", "udp.port==4739,cflow", "-o", "sflow.enable_dissection:FALSE", "-o", "udp.check_checksum:TRUE"}
			out, err := exec.Command(bin, append(args, "-T", "fields", "-e", c.packets, "-e", c.octets, "-e", "udp.checksum.status")...).Output()
			if err != nil {
				t.Fatal(err)
			}
			var got gen.C
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			for _, line := range lines {
				col := strings.Split(line, "\t")
				if col[2] != "1" {
					t.Fatalf("checksum: %q", line)
				}
				got.Packets += total(t, col[0])
				got.Bytes += total(t, col[1])
			}
			if c.protocol == SFlow {
				got.Packets /= 4 // what was added is the rate of each sample
			}
			if uint64(len(lines)) != truth.Export.Datagrams || got != truth.Export.Exported {
				t.Errorf("tshark: %d datagrams, %+v, want %d, %+v", len(lines), got, truth.Export.Datagrams, truth.Export.Exported)
			}
			bad, err := exec.Command(bin, append(args, "-Y", "_ws.malformed or _ws.expert.severity >= 0x00600000 or (udp and not cflow and not sflow)")...).Output()
			if err != nil || len(bytes.TrimSpace(bad)) > 0 {
				t.Errorf("tshark complains: %v %s", err, bad)
			}
		})
	}
}

// total adds up a field that tshark found several times in a datagram.
func total(t *testing.T, text string) (n uint64) {
	t.Helper()
	for v := range strings.SplitSeq(text, ",") {
		if v == "" {
			continue
		}
		x, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		n += x
	}
	return n
}

// TestNfcapd exports live to nfdump's collector, which must find every flow, the sums, no loss, and the rate of NetFlow v5.
func TestNfcapd(t *testing.T) {
	t.Parallel()
	for _, bin := range []string{"nfcapd", "nfdump"} {
		if _, err := exec.LookPath(bin); err != nil {
			t.Skip(bin + " is not installed")
		}
	}
	for _, p := range []Protocol{NetFlow5, NetFlow9, IPFIX} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			port := freePort(t)
			pid := filepath.Join(dir, "pid")
			cmd := exec.Command("nfcapd", "-w", dir, "-b", "127.0.0.1", "-p", strconv.Itoa(port), "-t", "3600", "-P", pid)
			var log bytes.Buffer
			cmd.Stdout, cmd.Stderr = &log, &log
			if err := cmd.Start(); err != nil {
				t.Skipf("nfcapd does not start: %v", err)
			}
			defer func() { _ = cmd.Process.Kill() }()
			await(t, "nfcapd listens", func() bool { _, err := os.Stat(pid); return err == nil && bound(port) })
			sampling := uint32(10)
			if p == IPFIX { // this nfcapd leaves option records out of IPFIX's sequence, against RFC 7011 section 3.1
				sampling = 1
			}
			s := gen.Scenario{Seed: 2, Background: 400, Length: seconds(1), Streams: []gen.Stream{{Kind: "syn", Target: "2001:db8::7", PPS: 800}}}
			g, err := gen.New(s)
			if err != nil {
				t.Fatal(err)
			}
			truth, err := gen.NewTruth(g, gen.Options{})
			if err != nil {
				t.Fatal(err)
			}
			all, stats, err := Run(context.Background(), g, truth, Config{Protocol: p, Sampling: sampling},
				Live{Collector: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port)), Speed: 2})
			if err != nil || stats.Refused != 0 {
				t.Fatalf("%v, %+v", err, stats)
			}
			await(t, "nfcapd read everything", func() bool { return queued(port) == 0 })
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
			got := readNfcapd(t, dir)
			want := all.Export.Exported
			if p == NetFlow5 { // the rate in its header is applied; those in options are not by this nfcapd
				want.Packets, want.Bytes = 10*want.Packets, 10*want.Bytes
			}
			if got.sum != want || got.flows != all.Export.Records || got.flows < 20 {
				t.Errorf("nfcapd: %+v, want %d flows, %+v\n%s", got, all.Export.Records, want, log.String())
			}
			if !strings.Contains(log.String(), "Sequence Errors: 0, Bad Packets: 0") {
				t.Errorf("nfcapd missed something:\n%s", log.String())
			}
		})
	}
}

type nfsums struct {
	flows uint64
	sum   gen.C
}

func readNfcapd(t *testing.T, dir string) (n nfsums) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "nfcapd.*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("nfcapd wrote nothing: %v", err)
	}
	for _, f := range files {
		out, err := exec.Command("nfdump", "-r", f, "-q", "-N", "-o", "fmt:%pkt %byt").Output()
		if err != nil {
			t.Fatal(err)
		}
		for sc := bufio.NewScanner(bytes.NewReader(out)); sc.Scan(); {
			var packets, size uint64
			if _, err := fmt.Sscan(sc.Text(), &packets, &size); err != nil {
				continue
			}
			n.flows++
			n.sum.Packets += packets
			n.sum.Bytes += size
		}
	}
	return n
}

func freePort(t *testing.T) int {
	t.Helper()
	a, err := freeport.UDP(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	if err != nil {
		t.Fatal(err)
	}
	return int(a.Port())
}

// socket finds the receive queue of the UDP socket on port; -1 when there is no such socket.
func socket(port int) int64 {
	b, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		return -1
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		col := strings.Fields(line)
		if len(col) > 4 && strings.HasSuffix(col[1], fmt.Sprintf(":%04X", port)) {
			_, queue, _ := strings.Cut(col[4], ":")
			n, err := strconv.ParseInt(queue, 16, 64)
			if err != nil {
				return -1
			}
			return n
		}
	}
	return -1
}

func bound(port int) bool { return socket(port) >= 0 }

func queued(port int) int64 { return socket(port) }

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
