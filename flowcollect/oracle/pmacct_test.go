package oracle

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// program finds a program of pmacct, or skips.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if p, err := exec.LookPath(path); err == nil {
			return p
		}
	}
	t.Skipf("%s is not installed (Debian package pmacct)", name)
	return ""
}

// accounted is one line of the print plugin.
type accounted struct {
	Src     string `json:"ip_src"`
	Dst     string `json:"ip_dst"`
	SrcPort uint16 `json:"port_src"`
	DstPort uint16 `json:"port_dst"`
	Proto   string `json:"ip_proto"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// account runs a program of pmacct over a capture and returns what it counted, scaled: nothing when it printed nothing.
func account(t *testing.T, name, capture, aggregate string) (out []accounted) {
	t.Helper()
	bin := program(t, name)
	capture, err := filepath.Abs(capture)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "pmacct.conf")
	text := fmt.Sprintf(`pcap_savefile: %s
pcap_savefile_wait: 2
plugins: print
print_output: json
print_output_file: %s/out.json
print_refresh_time: 1
aggregate: %s
%s_renormalize: true
daemonize: false
`, capture, dir, aggregate, name)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "-f", conf)
	cmd.Dir = dir
	log, err := cmd.CombinedOutput()
	if ctx.Err() != nil || !strings.Contains(string(log), "Purging cache - END") {
		t.Fatalf("%s did not end by itself: %v\n%s", name, err, log)
	}
	f, err := os.Open(filepath.Join(dir, "out.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it makes the file for the first line
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		var a accounted
		if err := json.Unmarshal(sc.Bytes(), &a); err != nil {
			t.Fatalf("%s wrote %q: %v", name, sc.Text(), err)
		}
		out = append(out, a)
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// scaled is what we make of a capture, scaled by sampling rates, by flow key.
func scaled(t *testing.T, capture string) (sum accounted, flows []accounted) {
	t.Helper()
	d := newDecoder(t)
	for _, dg := range read(t, capture) {
		list, _ := d.decode(dg)
		for i := range list {
			r := &list[i]
			a := accounted{
				Src: netip.AddrFrom16(r.Src).Unmap().String(), Dst: netip.AddrFrom16(r.Dst).Unmap().String(), SrcPort: r.SrcPort, DstPort: r.DstPort,
				Proto: map[uint8]string{6: "tcp", 17: "udp"}[r.Proto], Packets: r.Scale(r.Packets), Bytes: r.Scale(r.Bytes),
			}
			sum.Packets += a.Packets
			sum.Bytes += a.Bytes
			flows = append(flows, a)
		}
	}
	return sum, flows
}

// TestNfacctdTotals holds scaled totals against the one collector that gets sampling right (FLOWS.md 5): every capture with a sampling
// rate, and every kind of exporter.
func TestNfacctdTotals(t *testing.T) {
	t.Parallel()
	dir := shared(t)
	program(t, "nfacctd")
	for _, c := range []struct{ capture, deviation string }{
		{"generated/sf-v5-s10", ""},
		{"generated/sf-v9-s10", ""},
		{"generated/sf-v10-s10", ""},
		{"generated/sf-psamp", ""},
		{"generated/pms-v5", ""},
		{"generated/pms-v9", ""},
		{"generated/pms-v10", ""},
		{"generated/pm-v9", ""},
		{"generated/ovs-2", ""},
		{"generated/ovs-3", ""},
		{"generated/sf-v10-biflow", ""},
		{"netgauze_100-IPFIXv10-CISCO_traffic-00", ""},
		{"netgauze_102-NFv9-CISCO-f2rd-pretag-sampling-reload_traffic-00", ""},
		{"fluent-plugin-netflow_v9", ""},
		{"logstash-codec-netflow_netflow9_test_cisco_asr9k", ""},
		{"logstash-codec-netflow_netflow9_test_huawei_netstream", ""},
		{"logstash-codec-netflow_netflow9_test_iptnetflow_reduced_size_encoding", ""},
		{"logstash-codec-netflow_ipfix_test_vmware_vds", ""},
		{"logstash-codec-netflow_ipfix_test_viptela", ""},
		{"graylog-plugin-netflow_netflow9", "its v9 reader stops at the header's count, which counts templates only here: sampling options are lost with the rest"},
		{"calmh-ipfix_parser_test-TestParsingBufferAll", "it leaves out records that have packets but no bytes"},
	} {
		t.Run(filepath.Base(c.capture), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(dir, c.capture+".pcap")
			var theirs accounted
			for _, a := range account(t, "nfacctd", path, "sampling_rate") {
				theirs.Packets += a.Packets
				theirs.Bytes += a.Bytes
			}
			ours, _ := scaled(t, path)
			if same := ours == theirs; same != (c.deviation == "") {
				t.Errorf("ours %d packets, %d bytes; nfacctd's %d, %d; known deviation %q", ours.Packets, ours.Bytes, theirs.Packets, theirs.Bytes, c.deviation)
			}
		})
	}
}

// TestSfacctdOldVersions holds sFlow v2 and v4 against the one collector that reads them in full, flow by flow.
func TestSfacctdOldVersions(t *testing.T) {
	t.Parallel()
	dir := shared(t)
	program(t, "sfacctd")
	for _, name := range []string{"sflow-v2-synthetic", "sflow-v4-synthetic"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(dir, "generated", name+".pcap")
			theirs := account(t, "sfacctd", path, "src_host,dst_host,src_port,dst_port,proto")
			_, ours := scaled(t, path)
			for _, list := range [][]accounted{ours, theirs} {
				slices.SortFunc(list, func(a, b accounted) int { return cmp.Compare(a.Src+a.Dst, b.Src+b.Dst) })
			}
			if len(ours) < 2 || !slices.Equal(ours, theirs) {
				t.Errorf("ours\n%+v\nsfacctd's\n%+v", ours, theirs)
			}
		})
	}
}

// TestSfacctdEffectiveRate: sfacctd scales by what the sample pools say, we by the rate that each sample announces. Over a whole capture
// of one agent the two estimate the same traffic.
func TestSfacctdEffectiveRate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shared(t), "generated", "pm-sf.pcap")
	var theirs accounted
	for _, a := range account(t, "sfacctd", path, "sampling_rate") {
		theirs.Packets += a.Packets
		theirs.Bytes += a.Bytes
	}
	ours, _ := scaled(t, path)
	for _, d := range [][2]uint64{{ours.Packets, theirs.Packets}, {ours.Bytes, theirs.Bytes}} {
		if low, high := min(d[0], d[1]), max(d[0], d[1]); low == 0 || float64(high)/float64(low) > 1.05 {
			t.Errorf("ours %d, sfacctd's %d: more than 5 %% apart", d[0], d[1])
		}
	}
}
