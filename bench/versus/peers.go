package versus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weir-ddos/weir/bench/cable"
	"github.com/weir-ddos/weir/tools/lab"
)

// captured is what tcpdump answers to SIGUSR1.
var captured = regexp.MustCompile(`(\d+) packets? captured`)

// startTcpdump captures whole packets into nothing. Its count grows when the kernel hands over a block, within a second.
func startTcpdump(ctx context.Context, b *Bench, _ Scenario) (*receiver, error) {
	p, err := b.launch("tcpdump", "-i", lab.Watch, "-n", "-B", "65536", "-w", "/dev/null")
	if err != nil {
		return nil, err
	}
	// Before it says so, the signal that asks for the count would end it.
	err = b.until(ctx, p, "start of tcpdump", func() (bool, error) { return strings.Contains(p.output.String(), "listening on"), nil })
	if err != nil {
		return nil, err
	}
	return &receiver{
		pid: p.cmd.Process.Pid, stop: p.kill, lag: 1200 * time.Millisecond,
		received: func() (uint64, error) {
			return b.ask(p, captured, func() error { return p.signal(syscall.SIGUSR1) })
		},
	}, nil
}

// ask makes a program print a count, and returns it.
func (b *Bench) ask(p *process, answer *regexp.Regexp, question func() error) (uint64, error) {
	before := len(answer.FindAllString(p.output.String(), -1))
	if err := question(); err != nil {
		return 0, err
	}
	var text string
	err := lab.Wait(context.Background(), patience, "count", func() (bool, error) {
		all := answer.FindAllStringSubmatch(p.output.String(), -1)
		if len(all) <= before {
			return false, nil
		}
		text = all[len(all)-1][1]
		return true, nil
	})
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, tail(p.output.String()))
	}
	return strconv.ParseUint(text, 10, 64)
}

// DPDK's device for both testpmd and Weir: a ring as large as AF_PACKET's own default of ours.
const (
	packetDevice = "net_af_packet0,iface=" + lab.Watch + ",blocksz=65536,framesz=2048,framecnt=32768"
	packetMemory = 512 // megabytes
)

// counted is testpmd's line of statistics; those that it prints at its end look different.
var counted = regexp.MustCompile(`RX-packets: +(\d+) +RX-missed`)

func startTestpmd(ctx context.Context, b *Bench, _ Scenario) (*receiver, error) {
	cpu := strconv.Itoa(cable.ReceiverCPU())
	// It keeps what it prints to itself unless the lines are not buffered.
	p, err := b.launch("stdbuf", "-oL", "dpdk-testpmd", "--no-telemetry", "-m", strconv.Itoa(packetMemory), "--lcores", "0@"+cpu+",1@"+cpu,
		"-a", "0000:00:00.0", "--vdev="+packetDevice, "--no-huge", "--no-shconf",
		"--", "--forward-mode=rxonly", "-i", "--auto-start", "--burst=64", "--total-num-mbufs=16384", "--no-lsc-interrupt")
	if err != nil {
		return nil, err
	}
	err = b.until(ctx, p, "start of testpmd", func() (bool, error) { return strings.Contains(p.output.String(), "packets/burst"), nil })
	if err != nil {
		return nil, err
	}
	return &receiver{
		pid: p.cmd.Process.Pid, lag: 200 * time.Millisecond, stop: p.kill,
		received: func() (uint64, error) {
			return b.ask(p, counted, func() error {
				_, err := io.WriteString(p.stdin, "show port stats 0\n")
				return err
			})
		},
	}, nil
}

// fastNetMon is Debian's package with its own configuration, but for what makes it watch this cable, write into this directory, and ban
// nobody. For AF_XDP it needs an object file that its package has not (see microcode), and it polls its socket and not the processor.
func fastNetMon(name, label, engine string, flows bool) Side {
	return Side{
		Name: name, Label: label, Kind: Peer, Periodic: true, missing: program("fastnetmon", "fastnetmon"),
		version: func(ctx context.Context, c Config) string {
			return strings.Replace(firstLine("fastnetmon", "--version")(ctx, c), "Version:", "FastNetMon", 1)
		},
		start: func(ctx context.Context, b *Bench, sc Scenario) (*receiver, error) {
			return b.startFastNetMon(ctx, sc, engine, flows)
		},
	}
}

// packaged is the configuration that the package installs.
const packaged = "/etc/fastnetmon.conf"

func (b *Bench) startFastNetMon(ctx context.Context, sc Scenario, engine string, flows bool) (*receiver, error) {
	shipped, err := os.ReadFile(packaged)
	if err != nil {
		return nil, err
	}
	dir := b.lab.Path("fastnetmon")
	if err := writeFastNetMon(dir, string(shipped), sc, engine, flows); err != nil {
		return nil, err
	}
	command := []string{"fastnetmon"}
	if engine == "afxdp" {
		exe, err := os.Executable()
		if err != nil {
			return nil, err
		}
		command = []string{"env", lockedKey + "=1", exe, "fastnetmon"} // Child
	}
	p, err := b.launch(append(command, "--configuration_file", filepath.Join(dir, "fastnetmon.conf"),
		"--log_file", filepath.Join(dir, "log"), "--disable_pid_logic")...)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: b.dial}}
	received := func() (uint64, error) { return scrape(client, "fastnetmon_total_simple_packets_processed") }
	// It opens a socket for each processor, or loads its XDP program.
	err = b.until(ctx, p, "start of FastNetMon", func() (bool, error) {
		ok, err := b.listening(runtime.NumCPU())
		if engine == "afxdp" {
			ok, err = b.attached(ctx)
		}
		if ok && err == nil {
			_, err = received()
		}
		return ok && err == nil, err
	})
	if err != nil {
		return nil, err
	}
	r := &receiver{
		pid: p.cmd.Process.Pid, received: received, lag: 300 * time.Millisecond, warm: warmTicks * warmTick,
		stop: func() error {
			client.CloseIdleConnections()
			err := p.kill() // asked to end, it leaves a dump of its stack in /var/log
			if engine == "afxdp" {
				err = errors.Join(err, b.lab.App.IP("link", "set", "dev", lab.Watch, "xdp", "off")) // it leaves its program
			}
			return err
		},
	}
	if flows { // it gets slower when the memory of its flows has been given back once, each second
		r.warm = 2500 * time.Millisecond
	}
	if sc.Hosts >= many {
		r.warm = 4 * tick
	}
	return r, nil
}

// dial connects inside the receiver's namespace.
func (b *Bench) dial(_ context.Context, network, address string) (c net.Conn, err error) {
	err = b.lab.App.Do(func() error {
		c, err = net.Dial(network, address)
		return err
	})
	return c, err
}

// writeFastNetMon writes what FastNetMon reads.
func writeFastNetMon(dir, shipped string, sc Scenario, engine string, flows bool) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	program, err := microcode()
	if err != nil {
		return err
	}
	config := edit(shipped, [][2]string{
		{"disable_usage_report", "on"},
		{"monitor_local_ip_addresses", "off"},
		{"interfaces", lab.Watch},
		{"mirror_afpacket", onOff(engine == "afpacket")},
		{"mirror_afxdp", onOff(engine == "afxdp")},
		{"poll_mode_xdp", "on"}, // else it never sleeps
		{"force_native_mode_xdp", "on"},
		{"microcode_xdp_path", in("xdp_kernel.o")},
		{"enable_ban", "off"},
		{"enable_connection_tracking", onOff(flows)},
		{"networks_list_path", in("networks")},
		{"white_list_path", in("whitelist")},
		{"pid_path", in("pid")},
		{"cli_stats_file_path", in("stats")},
		{"cli_stats_ipv6_file_path", in("stats6")},
	})
	var networks strings.Builder
	for _, n := range sc.Networks {
		fmt.Fprintln(&networks, n)
	}
	return errors.Join(
		os.WriteFile(in("fastnetmon.conf"), []byte(config), 0o600),
		os.WriteFile(in("networks"), []byte(networks.String()), 0o600),
		os.WriteFile(in("whitelist"), nil, 0o600),
		os.WriteFile(in("xdp_kernel.o"), program, 0o600),
	)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// edit replaces settings of a fastnetmon.conf.
func edit(text string, settings [][2]string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		key, _, _ := strings.Cut(line, "=")
		replaced := false
		for _, s := range settings {
			replaced = replaced || strings.TrimSpace(key) == s[0]
		}
		if !replaced {
			b.WriteString(strings.TrimRight(line, "\n") + "\n")
		}
	}
	for _, s := range settings {
		fmt.Fprintf(&b, "%s = %s\n", s[0], s[1])
	}
	return b.String()
}

// scrape reads one number from FastNetMon's page for Prometheus.
func scrape(client *http.Client, metric string) (uint64, error) {
	resp, err := client.Get("http://127.0.0.1:9209/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return value(resp.Body, metric)
}

// value finds a metric without labels.
func value(page io.Reader, metric string) (uint64, error) {
	lines := bufio.NewScanner(io.LimitReader(page, maxOutput))
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), metric+" "); ok {
			return strconv.ParseUint(strings.TrimSpace(rest), 10, 64)
		}
	}
	return 0, errors.Join(fmt.Errorf("no metric %s", metric), lines.Err())
}
