package alone

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// childKey marks the environment of the process that holds a change, with the processor.
const childKey = "WEIR_BENCH_ALONE"

// sweepEvery is how often threads are looked for that the kernel has started meanwhile.
const sweepEvery = 5 * time.Second

// Child holds a change when this process was started for it, and then never returns.
func Child() {
	text := os.Getenv(childKey)
	if text == "" {
		return
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	cpu, err := strconv.Atoi(text)
	if err == nil {
		err = hold(newMove("/", cpu), os.Stdin, os.Stdout, sweepEvery)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "alone:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// hold moves, says what was moved, and puts it back when in ends.
func hold(m *move, in io.Reader, out io.Writer, every time.Duration) error {
	m.files()
	m.threads()
	err := json.NewEncoder(out).Encode(m.Moved)
	over := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, in) // however it ends, it is over
		close(over)
	}()
	for sweep := time.NewTicker(every); err == nil; {
		select {
		case <-over:
			sweep.Stop()
			return m.restore()
		case <-sweep.C:
			m.threads()
		}
	}
	return errors.Join(err, m.restore())
}

// Hold is a processor that is kept free.
type Hold struct {
	// Moved is what was moved, without what a later look has found.
	Moved

	cmd   *exec.Cmd
	stdin io.Closer
}

// Clear moves what can be moved off a processor, of which there must be another one. It needs root.
func Clear(cpu int) (h *Hold, err error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	h = &Hold{cmd: exec.Command(exe)}
	h.cmd.Env = append(os.Environ(), childKey+"="+strconv.Itoa(cpu))
	h.cmd.Stderr = os.Stderr
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // who ends this process with its group leaves it the time to put things back
	stdin, err := h.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	h.stdin = stdin
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := h.cmd.Start(); err != nil {
		return nil, fmt.Errorf("clear processor %d: %w", cpu, err)
	}
	if err := json.NewDecoder(stdout).Decode(&h.Moved); err != nil {
		return nil, errors.Join(fmt.Errorf("clear processor %d (see standard error): %w", cpu, err), h.Release())
	}
	return h, nil
}

// Release puts everything back; what is gone meanwhile is no error. Again it does nothing.
func (h *Hold) Release() error {
	if h.stdin == nil {
		return nil
	}
	err := h.stdin.Close()
	h.stdin = nil
	return errors.Join(err, h.cmd.Wait())
}
