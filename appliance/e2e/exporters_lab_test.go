package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
	"github.com/weir-ddos/weir/flowcollect/collector"
	"github.com/weir-ddos/weir/tools/lab"
)

// flowPort is where the appliance, and FastNetMon beside it, listen for every protocol.
const flowPort = 2055

// yard is a rig in which exporters run in the generator's namespace and reach the appliance over a cable of their own. Each
// has a network of its own there, and so an address by which the appliance tells it from the others.
type yard struct {
	*rig
	ends     int // networks on the cable
	programs int
}

// newYard makes a yard, and skips the test naming the program that is missing.
func newYard(t *testing.T, programs ...string) *yard {
	t.Helper()
	packages := map[string]string{
		"softflowd": "softflowd", "pmacctd": "pmacct", "ovs-vswitchd": "openvswitch-switch", "ovsdb-server": "openvswitch-switch",
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is missing: apt-get install %s", p, packages[p])
		}
	}
	y := &yard{rig: newRig(t, 1)}
	if err := netns.Cable(&netns.Link{NS: y.Gen, Name: "e0"}, &netns.Link{NS: y.App, Name: "e1"}, 1); err != nil {
		t.Fatal(err)
	}
	return y
}

// end is one exporter's network: its own address, and the collector's.
type end struct {
	exporter, collector netip.Addr
}

// end adds a network to the cable, of IPv6 when six.
func (y *yard) end(six bool) end {
	y.t.Helper()
	y.ends++
	format, bits := "10.98.%d.%d", 24
	if six {
		format, bits = "fd98:%x::%x", 64
		y.Gen.IPv6(y.t)
		y.App.IPv6(y.t)
	}
	addr := func(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf(format, y.ends, n)) }
	e := end{exporter: addr(2), collector: addr(1)}
	for _, x := range []struct {
		ns   *netns.NS
		dev  string
		addr netip.Addr
	}{{y.Gen, "e0", e.exporter}, {y.App, "e1", e.collector}} {
		args := []string{"addr", "add", netip.PrefixFrom(x.addr, bits).String(), "dev", x.dev}
		if six {
			// A cable has no stranger who could have the same address: no waiting for duplicate address detection.
			args = append(args, "nodad")
			if err := x.ns.Do(func() error {
				return os.WriteFile("/proc/sys/net/ipv6/conf/"+x.dev+"/disable_ipv6", []byte("0"), 0)
			}); err != nil {
				y.t.Fatal(err)
			}
		}
		if err := x.ns.IP(args...); err != nil {
			y.t.Fatal(err)
		}
	}
	return e
}

// flows is the section of the appliance's configuration: one port for everything, and what rules say of exporters.
func (y *yard) flows(rules ...string) string {
	s := fmt.Sprintf("flows:\n  listeners: [{address: \"::\", ports: [%d]}]\n  templates: {path: %s}\n", flowPort, y.Path("templates.json"))
	if len(rules) > 0 {
		s += "  exporters:\n    - " + strings.Join(rules, "\n    - ") + "\n"
	}
	return s
}

// to is where an exporter of this network sends to.
func (e end) to() netip.AddrPort { return netip.AddrPortFrom(e.collector, flowPort) }

// rule is a line of flows.exporters.
func (e end) rule(text string) string {
	return fmt.Sprintf("{prefix: %q, %s}", netip.PrefixFrom(e.exporter, e.exporter.BitLen()), text)
}

// process is a program of the test.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	err  error // of its end, after done
}

// spawn starts a program in a namespace. It ends with the test at the latest, and all its children with it.
func (y *yard) spawn(ns *netns.NS, name string, args ...string) *process {
	y.t.Helper()
	y.programs++
	p := &process{log: y.Path(fmt.Sprintf("%s-%d.log", name, y.programs)), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		y.t.Fatal(err)
	}
	defer log.Close()
	p.cmd = ns.Command(y.t.Context(), name, args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = y.Dir, log, log
	p.cmd.Env = append(os.Environ(), "OVS_RUNDIR="+y.Dir, "OVS_LOGDIR="+y.Dir, "OVS_DBDIR="+y.Dir)
	p.cmd.SysProcAttr.Setpgid = true
	p.cmd.Cancel = func() error { return nil } // stop ends it, and its children
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // see lab.Restart
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		y.t.Fatalf("start %s: %v", name, err)
	}
	y.t.Cleanup(func() {
		p.stop()
		if y.t.Failed() {
			y.t.Logf("%s %v:\n%s", name, args, p.text())
		}
	})
	return p
}

// stop asks the program to end, and then sees to it.
func (p *process) stop() {
	group := -p.cmd.Process.Pid
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(group, syscall.SIGINT) // it may be gone already
		select {
		case <-p.done:
		case <-time.After(5 * time.Second):
		}
	}
	_ = syscall.Kill(group, syscall.SIGKILL) // children, if any
	<-p.done
}

// running reports whether the program has not ended.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// text is what the program has written.
func (p *process) text() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4000):])
}

// softflowd exports a capture as fast as it can read it.
func (y *yard) softflowd(capture string, to netip.AddrPort, args ...string) *process {
	y.t.Helper()
	// With an absolute path for -c it hangs; none means no control socket.
	return y.spawn(y.Gen, "softflowd", append([]string{"-r", capture, "-n", to.String(), "-d", "-p", "none", "-c", "none", "-m", "100000"}, args...)...)
}

// pmacctd runs with the given source of packets and plugin.
func (y *yard) pmacctd(source, plugin string) *process {
	y.t.Helper()
	// Buffers are large, so that a capture that is read at once passes to the plugin whole.
	config := "daemonize: false\n" + source + "plugin_pipe_size: 67108864\nplugin_buffer_size: 65536\n" + plugin
	path := y.Path(fmt.Sprintf("pmacctd-%d.conf", y.programs+1))
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		y.t.Fatal(err)
	}
	return y.spawn(y.Gen, "pmacctd", "-f", path)
}

// savedPackets is a capture as pmacctd's source; it ends two seconds after the last packet.
func savedPackets(capture string) string {
	return "pcap_savefile: " + capture + "\n"
}

// livePackets are those that a device receives to or from hosts.
func livePackets(dev string, hosts ...string) string {
	return "pcap_interface: " + dev + "\npcap_filter: host " + strings.Join(hosts, " or host ") + "\n"
}

// nfprobe is pmacctd's plugin for NetFlow 5, 9 and 10, which is IPFIX. rate 1 does not sample.
func nfprobe(to netip.AddrPort, version int, rate uint32, timeouts string) string {
	s := fmt.Sprintf("plugins: nfprobe\nnfprobe_receiver: %s\nnfprobe_version: %d\nnfprobe_timeouts: %s\n", to, version, timeouts)
	aggregate := "src_host, dst_host, src_port, dst_port, proto, tos, tcpflags"
	if rate > 1 {
		engine := "7"
		if version == 5 {
			engine = "1:2"
		}
		aggregate += ", sampling_rate"
		s += fmt.Sprintf("nfprobe_engine: %s\nsampling_rate: %d\n", engine, rate)
	}
	return s + "aggregate: " + aggregate + "\n"
}

// sfprobe is pmacctd's plugin for sFlow.
func sfprobe(e end, rate uint32) string {
	return fmt.Sprintf("plugins: sfprobe\nsfprobe_receiver: %s\nsfprobe_agentip: %s\nsampling_rate: %d\n", e.to(), e.exporter, rate)
}

// ovs is an Open vSwitch with its datapath in user space. Nothing of it is outside of the lab.
type ovs struct {
	y  *yard
	db string
}

// startOVS starts the database and the switch.
func (y *yard) startOVS() *ovs {
	y.t.Helper()
	o := &ovs{y: y, db: "unix:" + y.Path("db.sock")}
	out, err := exec.Command("ovsdb-tool", "create", y.Path("conf.db"), "/usr/share/openvswitch/vswitch.ovsschema").CombinedOutput()
	if err != nil {
		y.t.Fatalf("ovsdb-tool: %v: %s", err, out)
	}
	y.spawn(y.Gen, "ovsdb-server", y.Path("conf.db"), "--remote=p"+o.db, "--unixctl="+y.Path("db.ctl"), "--pidfile="+y.Path("db.pid"), "--no-chdir")
	y.wait("database of Open vSwitch", func() (bool, error) { err := o.set("--no-wait", "init"); return err == nil, err })
	y.spawn(y.Gen, "ovs-vswitchd", o.db, "--disable-system", "--unixctl="+y.Path("vs.ctl"), "--pidfile="+y.Path("vs.pid"), "--no-chdir")
	return o
}

// received says how many packets came to the switch so far, as it counts them.
func (o *ovs) received() uint64 {
	o.y.t.Helper()
	out, err := exec.Command("ovs-appctl", "-t", o.y.Path("vs.ctl"), "dpif/show").CombinedOutput()
	if err != nil {
		o.y.t.Fatalf("ovs-appctl dpif/show: %v: %s", err, out)
	}
	var hit, missed uint64
	_, line, _ := strings.Cut(string(out), "hit:")
	if _, err := fmt.Sscanf(line, "%d missed:%d", &hit, &missed); err != nil {
		o.y.t.Fatalf("ovs-appctl dpif/show: %v: %s", err, out)
	}
	return hit + missed
}

// lostOn is how many frames a device of the generator's namespace could not hand over to the other end of its cable.
func (y *yard) lostOn(dev string) (n uint64) {
	y.t.Helper()
	err := y.Gen.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		_, line, ok := strings.Cut(string(b), " "+dev+":")
		line, _, _ = strings.Cut(line, "\n")
		// Eight numbers of reception; then bytes, packets, errors and drops of sending.
		numbers := strings.Fields(line)
		if !ok || len(numbers) < 12 {
			return fmt.Errorf("statistics of %s: %q", dev, b)
		}
		n, err = strconv.ParseUint(numbers[11], 10, 64)
		return err
	})
	if err != nil {
		y.t.Fatal(err)
	}
	return n
}

// set runs ovs-vsctl.
func (o *ovs) set(args ...string) error {
	out, err := exec.Command("ovs-vsctl", append([]string{"--timeout=20", "--db=" + o.db}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ovs-vsctl %v: %w: %s", args, err, out)
	}
	return nil
}

// bridge makes a bridge that receives from the device dev and exports as each of exports says: one of sflow, netflow and ipfix.
func (o *ovs) bridge(name, dev string, exports map[string]end) {
	o.y.t.Helper()
	args := []string{"add-br", name, "--", "set", "bridge", name, "datapath_type=netdev", "--", "add-port", name, dev}
	for kind, e := range exports {
		args = append(args, "--", "--id=@"+kind, "create", kind, "targets=\""+e.to().String()+"\"")
		switch kind {
		case "sflow":
			args = append(args, "agent=e0", "header=128", "sampling=4", "polling=2")
		case "netflow":
			args = append(args, "active_timeout=2")
		case "ipfix":
			args = append(args, "obs_domain_id=123", "sampling=4", "cache_active_timeout=2")
		}
		args = append(args, "--", "set", "bridge", name, kind+"=@"+kind)
	}
	if err := o.set(args...); err != nil {
		o.y.t.Fatal(err)
	}
}

// veth makes a cable inside the generator's namespace.
func (y *yard) veth(a, b string) {
	y.t.Helper()
	if err := netns.Cable(&netns.Link{NS: y.Gen, Name: a}, &netns.Link{NS: y.Gen, Name: b}, 1); err != nil {
		y.t.Fatal(err)
	}
}

// exporters lists what the appliance knows of its exporters, by address.
func exporters(w *lab.Weir) (map[netip.Addr]collector.ExporterStats, error) {
	var list []collector.ExporterStats
	err := w.Get("exporters", &list)
	by := make(map[netip.Addr]collector.ExporterStats, len(list))
	for _, e := range list {
		by[e.Address] = e
	}
	return by, err
}

// incoming is the rate at which the appliance sees a host receive, in packets per second.
func incoming(w *lab.Weir, host string) (float64, error) {
	var c api.Counters
	if err := w.Get("single_host_counters/"+host, &c); err != nil {
		return 0, err
	}
	return c.Incoming.Total.Packets, nil
}

// fastnetmon is FastNetMon beside the appliance, for comparison only.
type fastnetmon struct {
	*process
	calls string
	to    netip.AddrPort
}

// startFastNetMon starts FastNetMon with its own defaults but the given threshold and what keeps it inside the lab. It returns nil, having
// logged why, when there is none.
func (y *yard) startFastNetMon(threshold int) *fastnetmon {
	y.t.Helper()
	if _, err := exec.LookPath("fastnetmon"); err != nil {
		y.t.Log("FastNetMon is not compared: apt-get install fastnetmon")
		return nil
	}
	e := y.end(false)
	f := &fastnetmon{calls: y.Path("fastnetmon.calls"), to: netip.AddrPortFrom(e.collector, flowPort+1)}
	files := map[string]string{
		"fastnetmon.networks": "10.0.0.0/16\n2001:db8::/32\n", "fastnetmon.whitelist": "", "fastnetmon.calls": "",
		"fastnetmon.notify": "#!/bin/sh\ncat >/dev/null\necho \"$@\" >> " + f.calls + "\n",
		"fastnetmon.conf": fmt.Sprintf(`disable_usage_report = on
monitor_local_ip_addresses = off
netflow = on
netflow_host = %s
netflow_port = %d
netflow_sampling_ratio = 1
enable_ban = on
enable_ban_ipv6 = on
ban_for_pps = on
ban_for_bandwidth = off
ban_for_flows = off
threshold_pps = %d
process_incoming_traffic = on
process_outgoing_traffic = on
average_calculation_time = 5
speed_calculation_delay = 1
check_period = 1
ban_time = 1900
unban_only_if_attack_finished = on
ban_details_records_count = 0
enable_connection_tracking = on
networks_list_path = %s
white_list_path = %s
notify_script_path = %s
pid_path = %s
cli_stats_file_path = %s
cli_stats_ipv6_file_path = %s
enable_api = off
prometheus = off
`, e.collector, f.to.Port(), threshold, y.Path("fastnetmon.networks"), y.Path("fastnetmon.whitelist"), y.Path("fastnetmon.notify"),
			y.Path("fastnetmon.pid"), y.Path("fastnetmon.dat"), y.Path("fastnetmon6.dat")),
	}
	for name, text := range files {
		if err := os.WriteFile(y.Path(name), []byte(text), 0o700); err != nil {
			y.t.Fatal(err)
		}
	}
	f.process = y.spawn(y.App, "fastnetmon", "--configuration_file", y.Path("fastnetmon.conf"), "--log_file", y.Path("fastnetmon.log"), "--disable_pid_logic")
	err := lab.Wait(y.t.Context(), 20*time.Second, "FastNetMon", func() (bool, error) {
		if !f.running() {
			return false, errors.New("it has ended")
		}
		return f.listens(y.App), nil
	})
	if err != nil {
		y.t.Logf("FastNetMon is not compared: %v\n%s", err, f.text())
		return nil
	}
	return f
}

// listens reports whether it has opened its port.
func (f *fastnetmon) listens(ns *netns.NS) (yes bool) {
	_ = ns.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/udp")
		yes = strings.Contains(string(b), fmt.Sprintf(":%04X ", f.to.Port()))
		return err
	})
	return yes
}

// bans are the hosts that it has banned so far.
func (f *fastnetmon) bans() (hosts []netip.Addr) {
	b, _ := os.ReadFile(f.calls) // an unreadable file has no bans
	for line := range strings.Lines(string(b)) {
		if w := strings.Fields(line); len(w) == 4 && w[3] == "ban" {
			if a, err := netip.ParseAddr(w[0]); err == nil {
				hosts = append(hosts, a)
			}
		}
	}
	return hosts
}
