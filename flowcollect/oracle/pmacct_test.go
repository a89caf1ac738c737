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

// run is a program of pmacct that reads a capture. It waits for seconds at both ends, so that many run at a time.
type run struct {
	flows []accounted
	err   error
	done  chan struct{}
}

// account starts a program of pmacct over a capture, to count by some primitives, scaled.
func account(t *testing.T, name, capture, aggregate string) *run {
	t.Helper()
	bin, dir := program(t, name), t.TempDir()
	r := &run{done: make(chan struct{})}
	ctx := t.Context()
	go func() {
		defer close(r.done)
		r.flows, r.err = accountIn(ctx, dir, name, bin, capture, aggregate)
	}()
	return r
}

// wait returns what was counted: nothing when nothing was printed.
func (r *run) wait(t *testing.T) []accounted {
	t.Helper()
	<-r.done
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.flows
}

// sum is what was counted in all.
func (r *run) sum(t *testing.T) (sum accounted) {
	t.Helper()
	for _, a := range r.wait(t) {
		sum.Packets += a.Packets
		sum.Bytes += a.Bytes
	}
	return sum
}

func accountIn(ctx context.Context, dir, name, bin, capture, aggregate string) (out []accounted, err error) {
	if capture, err = filepath.Abs(capture); err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "pmacct.conf")
	text := fmt.Sprintf(`pcap_savefile: %s
pcap_savefile_wait: 2
plugins: print
print_output: json
print_output_file: %s/out.json
print_output_file_append: true
print_refresh_time: 1
aggregate: %s
%s_renormalize: true
daemonize: false
`, capture, dir, aggregate, name)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "-f", conf)
	cmd.Dir = dir
	log, err := cmd.CombinedOutput()
	if ctx.Err() != nil || !strings.Contains(string(log), "Purging cache - END") {
		return nil, fmt.Errorf("%s did not end by itself: %w\n%s", name, cmp.Or(ctx.Err(), err, errors.New("it accounted nothing")), log)
	}
	f, err := os.Open(filepath.Join(dir, "out.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it makes the file for the first line
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		var a accounted
		if err := json.Unmarshal(sc.Bytes(), &a); err != nil {
			return nil, fmt.Errorf("%s wrote %q: %w", name, sc.Text(), err)
		}
		out = append(out, a)
	}
	return out, sc.Err()
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
	cases := []struct{ capture, deviation string }{
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
	}
	runs := make([]*run, len(cases))
	for i, c := range cases {
		runs[i] = account(t, "nfacctd", filepath.Join(dir, c.capture+".pcap"), "sampling_rate")
	}
	for i, c := range cases {
		t.Run(filepath.Base(c.capture), func(t *testing.T) {
			theirs := runs[i].sum(t)
			ours, _ := scaled(t, filepath.Join(dir, c.capture+".pcap"))
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
	names := []string{"sflow-v2-synthetic", "sflow-v4-synthetic"}
	runs := make([]*run, len(names))
	for i, name := range names {
		runs[i] = account(t, "sfacctd", filepath.Join(dir, "generated", name+".pcap"), "src_host,dst_host,src_port,dst_port,proto")
	}
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "generated", name+".pcap")
			theirs := runs[i].wait(t)
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
	theirs := account(t, "sfacctd", path, "sampling_rate").sum(t)
	ours, _ := scaled(t, path)
	for _, d := range [][2]uint64{{ours.Packets, theirs.Packets}, {ours.Bytes, theirs.Bytes}} {
		if low, high := min(d[0], d[1]), max(d[0], d[1]); low == 0 || float64(high)/float64(low) > 1.05 {
			t.Errorf("ours %d, sfacctd's %d: more than 5 %% apart", d[0], d[1])
		}
	}
}
