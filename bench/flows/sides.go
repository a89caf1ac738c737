package flows

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weir-ddos/weir/bench/cable"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
	"github.com/weir-ddos/weir/tools/lab"
)

// missingError is a program that is not there.
type missingError struct{ program, pkg string }

func (e *missingError) Error() string {
	return fmt.Sprintf("%s is not installed (Debian package %s)", e.program, e.pkg)
}

// find returns the program's path.
func find(program, pkg string) (string, error) {
	for _, path := range []string{program, "/usr/sbin/" + program} {
		if p, err := exec.LookPath(path); err == nil {
			return p, nil
		}
	}
	return "", &missingError{program, pkg}
}

// receiveBuffer is the socket buffer that collectors are told to ask for, where they can be told.
const receiveBuffer = 16_000_000

// command is how the case's collector is started at a port of 127.0.0.1, with its files in dir.
func (c *BesideCase) command(dir string, port uint16) ([]string, error) {
	at := strconv.Itoa(int(port))
	sampled := c.Protocol == SFlow
	switch c.Side {
	case Weir:
		self, err := os.Executable()
		return []string{"env", childEnv + "=" + at, self}, err
	case Nfcapd:
		name, pkg := "nfcapd", "nfdump"
		if sampled {
			name, pkg = "sfcapd", "nfdump-sflow"
		}
		path, err := find(name, pkg)
		return []string{path, "-b", "127.0.0.1", "-p", at, "-w", dir, "-B", strconv.Itoa(receiveBuffer)}, err
	case Nfacctd:
		name := "nfacctd"
		if sampled {
			name = "sfacctd"
		}
		path, err := find(name, "pmacct")
		if err != nil {
			return nil, err
		}
		conf := filepath.Join(dir, "conf")
		text := fmt.Sprintf("daemonize: false\n%[1]s_ip: 127.0.0.1\n%[1]s_port: %[2]s\n%[1]s_renormalize: true\n%[1]s_pipe_size: %[3]d\n"+
			"plugins: memory\naggregate: dst_host\nimt_path: %[4]s/pipe\nplugin_pipe_size: %[3]d\nplugin_buffer_size: 16000\n", name, at, receiveBuffer, dir)
		return []string{path, "-f", conf}, os.WriteFile(conf, []byte(text), 0o600)
	case FastNetMon:
		return c.fastNetMon(dir, at)
	}
	return nil, fmt.Errorf("no side %q", c.Side)
}

// fastNetMon is the package's configuration, but for what makes it collect here, write into dir and ban nobody.
func (c *BesideCase) fastNetMon(dir, port string) ([]string, error) {
	path, err := find("fastnetmon", "fastnetmon")
	if err != nil {
		return nil, err
	}
	shipped, err := os.ReadFile("/etc/fastnetmon.conf")
	if err != nil {
		return nil, &missingError{"fastnetmon's configuration", "fastnetmon"}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	settings := map[string]string{
		"disable_usage_report": "on", "monitor_local_ip_addresses": "off", "enable_ban": "off", "enable_api": "off", "prometheus": "off",
		"mirror_afpacket": "off", "netflow": "off", "sflow": "off", "networks_list_path": in("networks"), "white_list_path": in("whitelist"),
		"pid_path": in("pid"), "cli_stats_file_path": in("stats"), "cli_stats_ipv6_file_path": in("stats6"),
	}
	protocol := "netflow"
	if c.Protocol == SFlow {
		protocol = "sflow"
	}
	settings[protocol], settings[protocol+"_port"], settings[protocol+"_host"] = "on", port, "127.0.0.1"
	var b strings.Builder
	for line := range strings.Lines(string(shipped)) {
		key, _, _ := strings.Cut(line, "=")
		if _, ours := settings[strings.TrimSpace(key)]; !ours {
			b.WriteString(line)
		}
	}
	b.WriteString("\n")
	for key, value := range settings {
		fmt.Fprintf(&b, "%s = %s\n", key, value)
	}
	return []string{path, "--configuration_file", in("conf"), "--log_file", in("log"), "--disable_pid_logic"}, errors.Join(
		os.WriteFile(in("conf"), []byte(b.String()), 0o600),
		os.WriteFile(in("networks"), []byte("10.0.0.0/16\n"), 0o600),
		os.WriteFile(in("whitelist"), nil, 0o600),
	)
}

// process is a collector and what it starts itself, in a process group.
type process struct {
	side Side
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// launch starts a collector on the receivers' processor.
func launch(dir string, c BesideCase, args []string) (*process, error) {
	p := &process{side: c.Side, done: make(chan struct{})}
	var err error
	if p.log, err = os.Create(filepath.Join(dir, "output")); err != nil {
		return nil, err
	}
	p.cmd = exec.Command("taskset", append([]string{"-c", strconv.Itoa(cable.ReceiverCPU())}, args...)...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, p.log, p.log
	p.cmd.SysProcAttr = netns.Mortal()
	p.cmd.SysProcAttr.Setpgid = true
	// Our own collector ends with this pipe, should this process end without a word.
	if _, err = p.cmd.StdinPipe(); err != nil {
		return nil, errors.Join(err, p.log.Close())
	}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the kernel kills the process when the thread that started it ends
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // it is killed
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", c.Side, err), p.log.Close())
	}
	return p, nil
}

// until waits for the collector to come so far.
func (p *process) until(ctx context.Context, what string, ok func() bool) error {
	err := lab.Wait(ctx, patience, what, func() (bool, error) {
		if !p.running() {
			return false, errors.New("it has ended")
		}
		return ok(), nil
	})
	if err != nil {
		text, _ := os.ReadFile(p.log.Name()) // as much as there is
		return fmt.Errorf("%s: %w\n%s", p.side, err, text[max(0, len(text)-2000):])
	}
	return nil
}

// cpu is the run time of the group's processes.
func (p *process) cpu() (sum time.Duration) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil { // it has ended meanwhile
			continue
		}
		pid, group := groupOf(string(text))
		if group == p.cmd.Process.Pid {
			sum += cable.CPUTime(pid)
		}
	}
	return sum
}

// groupOf reads a process and its group from a text like /proc/PID/stat.
func groupOf(stat string) (pid, group int) {
	// pid (name) state ppid pgrp ...; the name may hold anything
	head, _, _ := strings.Cut(stat, " ")
	rest := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(rest) < 3 {
		return 0, 0
	}
	pid, _ = strconv.Atoi(head)
	group, _ = strconv.Atoi(rest[2])
	return pid, group
}

// end kills the group: asked to end, FastNetMon leaves a dump in /var/log.
func (p *process) end() error {
	err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		err = fmt.Errorf("%s had ended by itself", p.side)
	}
	<-p.done
	return errors.Join(err, p.log.Close())
}

// Versions are those of the other collectors that are installed.
func Versions(ctx context.Context) (list []string) {
	for _, q := range [][]string{{"nfcapd", "nfdump", "-V"}, {"nfacctd", "pmacct", "-V"}, {"fastnetmon", "fastnetmon", "--version"}} {
		path, err := find(q[0], q[1])
		if err != nil {
			continue
		}
		text, _ := exec.CommandContext(ctx, path, q[2]).CombinedOutput() // nfacctd ends with 1
		if number := version.Find(text); number != nil {
			list = append(list, q[1]+" "+string(number))
		}
	}
	return list
}

var version = regexp.MustCompile(`[0-9]+(\.[0-9]+)+`)
