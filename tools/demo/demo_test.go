package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// programs has the real binaries, as `make run` builds them.
var programs string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "weir-demo-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		programs = dir
		if err := os.Chmod(dir, 0o755); err != nil { // nobody must be able to run them
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		build := exec.Command("go", "build", "-o", dir+"/", "../../appliance/cmd/weir", ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		// The tests wait for the demos' own time rather than compute: all at a time, whatever the number of cores.
		flag.Parse()
		if err := flag.Set("test.parallel", "8"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// demo starts the program; nobody has it run without privileges when the test has them.
func demo(t *testing.T, nobody bool, args ...string) (*exec.Cmd, *output) {
	t.Helper()
	out := &output{changed: make(chan struct{}, 1)}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, filepath.Join(programs, "demo"), args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that it tidies up
	cmd.WaitDelay = 20 * time.Second
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "TMPDIR="+shortDir(t, nobody))
	if nobody && os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// shortDir is a temporary directory for everything that a demo leaves; t.TempDir is too long for a unix socket's path.
func shortDir(t *testing.T, nobody bool) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-dt-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if nobody {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// output collects what a program prints.
type output struct {
	mu      sync.Mutex // guards b
	b       bytes.Buffer
	changed chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// inOrder fails unless each text is in out, behind the one before.
func inOrder(t *testing.T, out string, texts ...string) {
	t.Helper()
	rest := out
	for _, want := range texts {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("no %q at its place in:\n%s", want, out)
		}
		rest = after
	}
}

func privileged(t *testing.T) {
	t.Helper()
	if why := netns.Missing(); why != "" {
		t.Skip(why)
	}
	if _, err := os.Stat("/usr/sbin/bird"); err != nil {
		t.Skip("BIRD (Debian package bird2) is needed as the router")
	}
	if testing.Short() {
		t.Skip("takes 20 s")
	}
}

func TestLive(t *testing.T) {
	t.Parallel()
	privileged(t)
	for _, variant := range [][]string{nil, {"--send-twice"}} {
		t.Run(strings.Join(variant, ""), func(t *testing.T) {
			t.Parallel()
			cmd, out := demo(t, false, append(variant, "--quiet=2s", "--attack=5s", "--stagger=1s", "--pps=5000")...)
			err := cmd.Wait()
			text := out.String()
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			for _, v := range [][2]string{{"10.0.0.66", "/32"}, {"2001:db8::66", "/128"}} {
				inOrder(t, text, "QUIET", "on "+v[0]+" begins", "BREACH     "+v[0]+" incoming: threshold_",
					"ROUTE      BIRD has "+v[0]+v[1]+", next hop", "blackhole no-export", "SHIELDED   "+v[0]+": ",
					"on "+v[0]+" has ended", "WITHDRAWN  BIRD no longer has "+v[0]+v[1], "BACK       "+v[0], "SUMMARY", "OK: ")
			}
			inOrder(t, text, "threshold_tcp_syn_pps 1,000 exceeded", "syn_flood", "threshold_udp_pps 1,000 exceeded", "udp_flood",
				"first attack packet to route in BIRD", "packets sent", "packets seen by Weir", "packets lost")
			if strings.Contains(text, "WRONG") || strings.Contains(text, "\x1b") {
				t.Errorf("an innocent's route, or escape codes without a terminal:\n%s", text)
			}
			nothingLeft(t, cmd)
		})
	}
}

// nothingLeft fails when namespaces or files of a demo that has ended are still there.
func nothingLeft(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	list, err := exec.Command("ip", "netns", "list").Output()
	if err != nil || strings.Contains(string(list), fmt.Sprintf("-%d-", cmd.Process.Pid)) {
		t.Errorf("namespaces are left: %v\n%s", err, list)
	}
	for _, e := range cmd.Env {
		if dir, ok := strings.CutPrefix(e, "TMPDIR="); ok && e == cmd.Env[len(cmd.Env)-1] {
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("files are left in %s: %v %v", dir, left, err)
			}
		}
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	privileged(t)
	cmd, out := demo(t, false)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for !strings.Contains(out.String(), "QUIET") {
		select {
		case <-out.changed:
		case err := <-ended:
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := <-ended; !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
		t.Errorf("%v, want exit status %d\n%s", err, exitInterrupted, out)
	}
	inOrder(t, out.String(), "interrupted; everything that it made is removed")
	nothingLeft(t, cmd)
}

// TestReplay needs no rights at all.
func TestReplay(t *testing.T) {
	t.Parallel()
	cmd, out := demo(t, true, "--no-root", "--quiet=2s", "--attack=4s", "--stagger=1s", "--pps=3000", "--speed=2")
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, v := range [][2]string{{"10.0.0.66", "/32"}, {"2001:db8::66", "/128"}} {
		inOrder(t, out.String(), "on "+v[0]+" begins", "BREACH     "+v[0]+" incoming: threshold_", "ROUTE      the router has "+v[0]+v[1],
			"SHIELDED   "+v[0], "on "+v[0]+" has ended", "WITHDRAWN  the router no longer has "+v[0]+v[1], "SUMMARY", "OK: ")
	}
	inOrder(t, out.String(), "packets lost                                0")
	nothingLeft(t, cmd)
}

// write makes a capture.
func write(t *testing.T, s gen.Scenario) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "given.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gen.WritePcap(f, s, gen.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// replayGiven plays a capture of which nothing is known.
func replayGiven(t *testing.T, s gen.Scenario) (code int, out string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), []string{"--weir", filepath.Join(programs, "weir"), "--replay", write(t, s), "--speed", "4"}, &stdout, &stderr,
		func(string) string { return "" })
	return code, stdout.String() + stderr.String()
}

func seconds(n int) gen.Duration { return gen.Duration(time.Duration(n) * time.Second) }

// Demos in one process share the loopback addresses of their routers, so these run one after the other.
func TestReplayOfGivenCaptures(t *testing.T) {
	t.Parallel()
	t.Run("attack in networks of its own", func(t *testing.T) {
		code, out := replayGiven(t, gen.Scenario{Streams: []gen.Stream{
			{Kind: "udp", Target: "172.16.5.5", PPS: 3000, Duration: seconds(4)},
			{Kind: "syn", Target: "2001:db9::5", PPS: 3000, Duration: seconds(4)},
			{Kind: "tcp", Target: "172.16.5.6", PPS: 50, Duration: seconds(12), Benign: true},
		}})
		if code != exitOK {
			t.Errorf("exit code %d", code)
		}
		inOrder(t, out, "networks: [172.16.5.0/24, 2001:db9::/48]")
		inOrder(t, out, "ROUTE      the router has 172.16.5.5/32", "OVER", "WITHDRAWN  the router no longer has 172.16.5.5/32")
		inOrder(t, out, "BREACH     2001:db9::5 incoming: threshold_tcp_syn_pps", "ROUTE      the router has 2001:db9::5/128", "WITHDRAWN")
	})
	t.Run("ends during the attack", func(t *testing.T) {
		code, out := replayGiven(t, gen.Scenario{Streams: []gen.Stream{{Kind: "udp", Target: "10.0.0.9", PPS: 3000, Duration: seconds(4)}}})
		if code != exitOK {
			t.Errorf("exit code %d", code)
		}
		inOrder(t, out, "ROUTE      the router has 10.0.0.9/32", "the capture ends while 10.0.0.9", "WITHDRAWN", "OK: ")
	})
	t.Run("no attack", func(t *testing.T) {
		code, out := replayGiven(t, gen.Scenario{Background: 100, Length: seconds(2)})
		if code != exitFailed {
			t.Errorf("exit code %d, want %d", code, exitFailed)
		}
		inOrder(t, out, "The log is in ")
		inOrder(t, out, "FAILED")
		inOrder(t, out, "nothing exceeded a threshold")
		_, rest, _ := strings.Cut(out, "The log is in ")
		os.RemoveAll(filepath.Dir(strings.SplitN(rest, "\n", 2)[0]))
	})
}

func TestUsage(t *testing.T) {
	t.Parallel()
	weir := filepath.Join(programs, "weir")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--help"}, exitOK, "main job"},
		{[]string{"now"}, exitUsage, `unexpected argument "now"`},
		{[]string{"--weir", weir, "--quiet", "0s"}, exitUsage, "the times must be"},
		{[]string{"--weir", weir, "--pps", "10"}, exitUsage, "pps must be"},
		{[]string{"--weir", weir, "-c", "x"}, exitUsage, "-c goes with --replay"},
		{[]string{"--weir", "/nowhere/weir"}, exitUsage, "make build"},
		{[]string{"--weir", weir, "--replay", "/nowhere.pcap"}, exitFailed, "/nowhere.pcap"},
		{[]string{"--weir", weir, "--replay", "demo_test.go"}, exitFailed, "neither pcap nor pcapng"},
	} {
		var out bytes.Buffer
		code := run(t.Context(), c.args, io.Discard, &out, func(string) string { return "" })
		if code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%v: exit code %d, %q; want %d, %q", c.args, code, out.String(), c.code, c.want)
		}
	}
}
