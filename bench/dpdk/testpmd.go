package dpdk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
)

// received is testpmd's line with its count; those that it prints when it ends look different.
var received = regexp.MustCompile(`RX-packets: +(\d+) +RX-missed: +(\d+)`)

// parseCount finds the packets received and missed in a line of testpmd.
func parseCount(line string) (packets, missed uint64, ok bool) {
	m := received.FindStringSubmatch(line)
	if m == nil {
		return 0, 0, false
	}
	packets, err1 := strconv.ParseUint(m[1], 10, 64)
	missed, err2 := strconv.ParseUint(m[2], 10, 64)
	return packets, missed, err1 == nil && err2 == nil
}

// testpmdArgs is testpmd that only receives, with bursts, buffers and memory as ours, and both of its threads on one processor.
func (b *Bench) testpmdArgs(device string) []string {
	args := []string{
		"-c", processor(), "dpdk-testpmd", "--no-telemetry", "-m", strconv.Itoa(memory),
		"--lcores", fmt.Sprintf("0@%s,1@%s", processor(), processor()), "-a", "0000:00:00.0", "--vdev=" + device,
	}
	if b.HugePages {
		args = append(args, "--in-memory")
	} else {
		args = append(args, "--no-huge", "--no-shconf")
	}
	return append(args, "--", "--forward-mode=rxonly", "--stats-period=1", "--burst=64", "--no-lsc-interrupt",
		"--total-num-mbufs="+strconv.Itoa(mbufs), "--mbuf-size="+strconv.Itoa(buffer+room))
}

// runTestpmd measures from its second statistics, which it prints once a second, to the first that are long enough after.
func (b *Bench) runTestpmd(ctx context.Context, device string, length time.Duration) (s Sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, length+patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "taskset", b.testpmdArgs(device)...)
	cmd.SysProcAttr = netns.Mortal()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return s, err
	}
	if err := cmd.Start(); err != nil {
		return s, err
	}
	s, err = follow(out, cmd.Process.Pid, length)
	cancel()
	_, _ = io.Copy(io.Discard, out) // it must not block at its end
	_ = cmd.Wait()                  // ended by us
	if err != nil {
		return s, fmt.Errorf("%w\n%s", err, said.String())
	}
	return s, nil
}

// follow reads the statistics of a testpmd process.
func follow(out io.Reader, pid int, length time.Duration) (s Sample, err error) {
	type reading struct {
		packets uint64
		at      time.Time
		cpu     time.Duration
	}
	var first reading
	n := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		packets, missed, ok := parseCount(lines.Text())
		if !ok || packets == 0 {
			continue
		}
		cpu, err := used(pid)
		if err != nil {
			return s, err
		}
		now := reading{packets, time.Now(), cpu}
		if n++; n <= 2 {
			first = now
			continue
		}
		if missed > 0 {
			return s, fmt.Errorf("it missed %d packets", missed)
		}
		if s = (Sample{now.packets - first.packets, now.at.Sub(first.at), now.cpu - first.cpu}); s.Wall >= length {
			return s, nil
		}
	}
	return s, errors.New("it ended before its time")
}
