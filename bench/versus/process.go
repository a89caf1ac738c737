package versus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/weir-ddos/weir/bench/cable"
	"github.com/weir-ddos/weir/tools/lab"
)

// process is a program in the receiver's namespace and on its processor. What it prints is in output.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	output output
	cancel context.CancelFunc
	done   chan struct{}
}

// output collects what a process prints.
type output struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

// maxOutput bounds what is kept.
const maxOutput = 1 << 20

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.text.Len() < maxOutput {
		o.text.Write(p)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// launch starts a program, with its arguments behind its name.
func (b *Bench) launch(command ...string) (*process, error) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{cancel: cancel, done: make(chan struct{})}
	p.cmd = b.lab.App.Command(ctx, "taskset", append([]string{"-c", strconv.Itoa(cable.ReceiverCPU())}, command...)...)
	p.cmd.Dir = b.lab.Dir
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		cancel()
		return nil, err
	}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the kernel kills the process when the thread that started it ends
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is seen in what it printed
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		cancel()
		return nil, fmt.Errorf("start %s: %w", command[0], err)
	}
	return p, nil
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *process) signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// kill ends it at once; a process that had ended by itself is an error.
func (p *process) kill() error {
	ended := !p.running()
	p.cancel()
	<-p.done
	if ended {
		return fmt.Errorf("%s has ended by itself\n%s", p.cmd.Args[len(p.cmd.Args)-1], tail(p.output.String()))
	}
	return nil
}

// until waits for a program to come so far.
func (b *Bench) until(ctx context.Context, p *process, what string, ok func() (bool, error)) error {
	err := lab.Wait(ctx, patience, what, func() (bool, error) {
		if !p.running() {
			return false, errors.New("it has ended")
		}
		return ok()
	})
	if err != nil {
		return errors.Join(fmt.Errorf("%w\n%s", err, tail(p.output.String())), p.kill())
	}
	return nil
}

// listening reports whether n packet sockets of the receiver's namespace are bound to its device.
func (b *Bench) listening(n int) (ok bool, err error) {
	err = b.lab.App.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/packet")
		ok = bound(string(text)) >= n
		return err
	})
	return ok, err
}

// bound counts the packet sockets that receive from a device, in the text of /proc/net/packet.
func bound(text string) (n int) {
	for line := range strings.Lines(text) {
		// sk RefCnt Type Proto Iface R Rmem User Inode
		f := strings.Fields(line)
		if len(f) >= 6 && f[0] != "sk" && f[4] != "0" && f[5] == "1" {
			n++
		}
	}
	return n
}

// tail is the end of what a program has printed, each line after a tab.
func tail(text string) string {
	text = strings.TrimSpace(text[max(0, len(text)-2000):])
	return "\t" + strings.ReplaceAll(text, "\n", "\n\t")
}
