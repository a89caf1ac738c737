package cable

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/dataplane/cpu"
)

// childKey marks the environment of a process that Child takes over, with what it is to become.
const childKey = "WEIR_BENCH_CABLE"

// What Child becomes.
const (
	asGenerator = "generator"
	asCounter   = "counter"
)

// Child becomes a generator or a counter when this process was started as one, and then never returns.
func Child() {
	var err error
	switch os.Getenv(childKey) {
	case "":
		return
	case asGenerator:
		err = generate(os.Stdin, os.Stdout)
	case asCounter:
		err = counter(os.Stdin, os.Stdout)
	default:
		err = errors.New("started as what nobody knows")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Getenv(childKey), err)
		os.Exit(1)
	}
	os.Exit(0)
}

// start runs this program again as a child in the namespace of a link, and gives it its first line.
func start(l interface {
	Command(ctx context.Context, name string, args ...string) *exec.Cmd
}, as string, order any,
) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	c.cmd, c.cancel = l.Command(ctx, exe), cancel
	c.cmd.Env = append(os.Environ(), childKey+"="+as)
	c.cmd.Stderr = os.Stderr
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	c.to, c.from = json.NewEncoder(stdin), json.NewDecoder(bufio.NewReader(stdout))
	started := make(chan error, 1)
	go func() {
		// The kernel kills the child when the thread that started it ends (see netns.Command): this one is kept.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			<-ctx.Done()
			_ = c.cmd.Wait() // killed, which is no news
			close(c.done)
		}
	}()
	if err := <-started; err != nil {
		cancel()
		return nil, fmt.Errorf("start %s: %w", as, err)
	}
	if err := c.ask(order, new(ready)); err != nil {
		c.Close()
		return nil, fmt.Errorf("start %s: %w", as, err)
	}
	return c, nil
}

// ready is the answer to the first line.
type ready struct{ Ready bool }

// child is a process that answers one line for each line.
type child struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	done   chan struct{}
	to     *json.Encoder
	from   *json.Decoder
}

func (c *child) ask(question, answer any) error {
	if err := c.to.Encode(question); err != nil {
		return err
	}
	if err := c.from.Decode(answer); err != nil {
		return fmt.Errorf("no answer (see standard error): %w", err)
	}
	return nil
}

// PID is the process's.
func (c *child) PID() int { return c.cmd.Process.Pid }

// Close kills the process and waits for its end. An Ask that is under way fails.
func (c *child) Close() {
	c.cancel()
	<-c.done
}

// Generator sends packets from the Send end of a cable.
type Generator struct{ *child }

// Order is what to send.
type Order struct {
	// Count is how many packets, from the Traffic's first one on.
	Count uint64
	// Rate is packets a second, at most a million times a thousand; 0 is as fast as it goes.
	Rate int
}

// Sent is what was sent.
type Sent struct {
	// Packets is how many. The cable may still have lost some: see Cable.Delivered.
	Packets uint64
	// Elapsed is the time between the first and the last.
	Elapsed time.Duration
}

// PerSecond is the rate.
func (s Sent) PerSecond() float64 { return float64(s.Packets) / max(s.Elapsed.Seconds(), 1e-9) }

// orders is what a generator is told first.
type orders struct {
	Device  string
	Traffic Traffic
	Modest  bool
}

// Generator starts a generator; its Close ends it.
func (c *Cable) Generator(t Traffic) (*Generator, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	p, err := start(c.Send.NS, asGenerator, orders{c.Send.Name, t, c.Modest})
	return &Generator{p}, err
}

// Send sends, and returns when all is sent.
func (g *Generator) Send(o Order) (s Sent, err error) {
	if err := g.ask(o, &s); err != nil {
		return s, fmt.Errorf("generator: %w", err)
	}
	return s, nil
}

// generate is the process's side.
func generate(in io.Reader, out io.Writer) error {
	runtime.LockOSThread()
	if err := cpu.Pin(SenderCPU()); err != nil {
		return err
	}
	from, to := json.NewDecoder(in), json.NewEncoder(out)
	var job orders
	if err := from.Decode(&job); err != nil {
		return err
	}
	if job.Modest {
		if err := takeTheRest(); err != nil {
			return err
		}
	}
	dev, err := net.InterfaceByName(job.Device)
	if err != nil {
		return err
	}
	l, err := load(job.Traffic, dev.Index)
	if err != nil {
		return err
	}
	defer l.close()
	for answer := any(ready{true}); ; {
		if err := to.Encode(answer); err != nil {
			return err
		}
		var o Order
		if err := from.Decode(&o); err != nil {
			return ended(err)
		}
		if answer, err = l.send(o, job.Traffic.longest()); err != nil {
			return err
		}
	}
}

// ended is no error when whoever gave orders went away.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// liveFrames is BPF_F_TEST_XDP_LIVE_FRAMES: what the program says is done with each frame.
const liveFrames = 1 << 1

// send carries out one order.
func (l *loaded) send(o Order, length int) (Sent, error) {
	s := state{Limit: o.Count}
	if o.Rate > 0 {
		s.Interval = max(1, uint64(time.Second)/uint64(o.Rate))
	}
	opts := &ebpf.RunOptions{Data: make([]byte, length), Flags: liveFrames, BatchSize: 64}
	if o.Rate > 0 {
		opts.BatchSize = 8 // frames go out when a batch is full
	}
	if err := l.states.Put(uint32(0), &s); err != nil {
		return Sent{}, fmt.Errorf("state of the generator: %w", err)
	}
	for s.N < o.Count {
		// Paced, a run may send nothing; those that come after the last packet cost little.
		opts.Repeat = uint32(min(o.Count-s.N, math.MaxInt32))
		if _, err := l.prog.Run(opts); err != nil && !errors.Is(err, unix.EINTR) {
			return Sent{}, fmt.Errorf("run generator program: %w", err)
		}
		if err := l.states.Lookup(uint32(0), &s); err != nil {
			return Sent{}, fmt.Errorf("state of the generator: %w", err)
		}
	}
	return Sent{Packets: s.N, Elapsed: time.Duration(s.End - s.Begin)}, nil
}
