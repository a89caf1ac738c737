package soak

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/bench/alone"
	"github.com/weir-ddos/weir/bench/cable"
	"github.com/weir-ddos/weir/dataplane/cpu"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
	"github.com/weir-ddos/weir/tools/lab"
)

// Config says how long.
type Config struct {
	// Weir is the program.
	Weir string
	// Time is how long packets are sent, the first WarmUp of it not being judged for memory and gaps.
	Time, WarmUp time.Duration
	// Rate is packets a second; 0 is as many as can be sent.
	Rate int
	// Alone clears the worker's processor of what of the kernel can be moved, for the time of the run.
	Alone bool
}

// Result is what came out of it.
type Result struct {
	Config
	// Sent is what the generator sent, Delivered what came through the cable, Counted what the ticks counted, and Dropped what
	// the port says that it lost.
	Sent, Delivered, Counted, Dropped uint64
	// Elapsed is how long it took to send.
	Elapsed time.Duration
	// Commits and Queries are how often the configuration was changed and the API asked.
	Commits, Queries int
	// RSS is the program's memory in bytes, the median of the middle fifth of the time behind the warm-up, when it has taken what it may take
	// before it collects its garbage, and Growth what the median of the last fifth has more. Peak is the most that was seen.
	RSS, Growth, Peak int64
	// Gaps are the worker's gaps behind the warm-up by length, and Longest the longest of them.
	Gaps    []api.Gap
	Longest time.Duration
	// Waited is how long the worker's thread was ready behind the warm-up and something else had its processor: Threads of the kernel
	// that are bound to it ran that long, the longest first; what is missing is others' that were not moved, since no thread of the
	// program or of the generator may run there.
	Waited  time.Duration
	Threads []alone.Ran
	// Interrupts and Stolen are what interrupts, and the machine's host, took of the worker's processor behind the warm-up.
	Interrupts, Stolen time.Duration
	// Moved is what was moved off the worker's processor.
	Moved alone.Moved
	// Busy is the worker's share of busy time: the median of its seconds.
	Busy float64
	// Unexplained is how many gaps of longGap or more there were in ticks beside which the host took nothing of the processor, and in which
	// no thread of the kernel kept the worker off it.
	Unexplained uint64
	// TickLongest is the longest tick.
	TickLongest time.Duration
}

// Unaccounted is by how much counted and dropped packets differ from those that came.
func (r *Result) Unaccounted() int64 { return int64(r.Counted + r.Dropped - r.Delivered) }

// Over is how many gaps were as long as d or longer.
func (r *Result) Over(d time.Duration) (n uint64) {
	for i := 1; i < len(r.Gaps); i++ {
		if r.Gaps[i-1].Below >= d.Seconds() {
			n += r.Gaps[i].Count
		}
	}
	return n
}

// soak is a run.
type soak struct {
	Result
	lab   *lab.Lab
	weir  *lab.Weir
	cable *cable.Cable
	base  uint64 // packets that had been delivered before

	begin time.Time
	rss   []int64
	busy  []float64
	first *api.Worker // at the end of the warm-up
	last  *api.Worker

	waitedBefore time.Duration // in the warm-up
	usageBefore  alone.Usage

	polls          uint64 // that the worker has told of, at its last tick
	stolen, waited time.Duration
	ticks          []tick
}

// Run runs it.
func Run(ctx context.Context, c Config) (r Result, err error) {
	if runtime.NumCPU() < 2 {
		return r, errors.New("the generator and the worker need a processor each")
	}
	s := &soak{Result: Result{Config: c}}
	if s.lab, err = lab.New(c.Weir, 1); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.lab.Close()) }()
	s.cable, err = cable.Over(&netns.Link{NS: s.lab.Gen, Name: lab.Wire}, &netns.Link{NS: s.lab.App, Name: lab.Watch})
	if err != nil {
		return r, err
	}
	if s.weir, err = s.lab.Start(ctx, s.config(0)); err != nil {
		return r, err
	}
	if s.base, err = s.cable.Delivered(); err != nil {
		return r, err
	}
	free, err := s.leave()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, free()) }()
	if err := s.run(ctx); err != nil {
		return s.Result, fmt.Errorf("%w\n%s", err, tail(s.weir.Log()))
	}
	return s.Result, nil
}

// leave has this process, and with it the generator that it starts, leave the worker's processor to the program, which has placed
// its threads by now. The generator takes what the program's other threads leave of theirs: it is no part of an appliance.
func (s *soak) leave() (back func() error, _ error) {
	all, err := cpu.Affinity()
	if err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(slices.Clone(all), func(id int) bool { return id == cable.ReceiverCPU() })
	if err := cpu.SetProcess(others); err != nil {
		return nil, err
	}
	everywhere := func() error { return cpu.SetProcess(all) }
	s.cable.Modest = true
	if !s.Alone {
		return everywhere, nil
	}
	hold, err := alone.Clear(cable.ReceiverCPU())
	if err != nil {
		return nil, errors.Join(err, everywhere())
	}
	s.Moved = hold.Moved
	return func() error { return errors.Join(hold.Release(), everywhere()) }, nil
}

// tail is the end of a log, each line after a tab.
func tail(log string) string {
	log = strings.TrimSpace(log[max(0, len(log)-2000):])
	return "\t" + strings.ReplaceAll(log, "\n", "\n\t")
}

// config is the i-th configuration: networks, hostgroups and limits differ from the last one's, ports and workers do not.
func (s *soak) config(i int) string {
	base := s.lab.Base()
	if i%2 == 1 { // the same addresses in other networks
		base = strings.Replace(base, "10.0.0.0/16, 2001:db8::/32",
			`10.0.0.0/17, 10.0.128.0/17, 10.0.9.0/24, "2001:db8::/33", "2001:db8:8000::/33", 192.168.0.0/16`, 1)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%sports: [{driver: afxdp, device: %s, queues: 1, options: {frames: 65536}}]\nworkers: {idle: spin, cpus: [%d]}\n",
		base, lab.Watch, cable.ReceiverCPU())
	fmt.Fprintf(&b, "traffic: {hosts_per_worker: 262144, flows_per_worker: 2097152}\nlog: {level: warn}\n")
	fmt.Fprintf(&b, "hostgroups:\n  global: {ban_for_pps: true, threshold_pps: %d}\n", 100_000_000+i)
	switch i % 4 {
	case 1:
		fmt.Fprintf(&b, "  web%d: {networks: [10.0.9.0/24, \"2001:db8::900/120\"], threshold_pps: %d}\n", i, 50_000_000+i)
	case 2:
		fmt.Fprintf(&b, "  one: {networks: [10.0.0.0/17], calculation: total, threshold_pps: %d}\n  web: {networks: [10.0.8.0/22], parent: one}\n", 60_000_000+i)
	}
	return b.String()
}

// run sends, disturbs, and takes stock.
func (s *soak) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, err := s.cable.Generator(mix()) // which may take a busy machine longer than all the rest
	if err != nil {
		return err
	}
	s.begin = time.Now()
	sent := make(chan error, 1)
	go func() { sent <- s.send(ctx, g) }()
	err = s.disturb(ctx, sent)
	cancel()
	if err != nil {
		return err
	}
	waited, usage, err := s.processor()
	if err != nil {
		return err
	}
	s.Waited = waited - s.waitedBefore
	s.Threads, s.Interrupts, s.Stolen = usage.Since(s.usageBefore)
	return s.account()
}

// turn is how many packets the generator sends at a time.
const turn = 1 << 20

// send sends until the time is over, and ends the generator.
func (s *soak) send(ctx context.Context, g *cable.Generator) error {
	defer g.Close()
	for time.Since(s.begin) < s.Time && ctx.Err() == nil {
		count := uint64(turn)
		if s.Rate > 0 {
			count = uint64(s.Rate)/4 + 1
		}
		n, err := g.Send(cable.Order{Count: count, Rate: s.Rate})
		if err != nil {
			return err
		}
		s.Sent += n.Packets
	}
	s.Elapsed = time.Since(s.begin)
	return ctx.Err()
}

// How often things are done while packets come.
const (
	commitEvery = time.Second
	askEvery    = 100 * time.Millisecond
)

// disturb commits and asks until everything is sent.
func (s *soak) disturb(ctx context.Context, sent <-chan error) error {
	commit, ask := time.NewTicker(commitEvery), time.NewTicker(askEvery)
	defer commit.Stop()
	defer ask.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-sent:
			return err
		case <-commit.C:
			s.Commits++
			err := s.weir.Call(http.MethodPut, "import", strings.NewReader(s.config(s.Commits)), nil)
			if err == nil {
				err = s.weir.Put("commit")
			}
			if err != nil {
				return fmt.Errorf("commit %d: %w", s.Commits, err)
			}
		case <-ask.C:
			if err := s.ask(); err != nil {
				return err
			}
		}
	}
}

// ask puts the questions of a console, and notes what is to be known.
func (s *soak) ask() error {
	for _, path := range []string{"total_traffic_counters", "host_counters", "network_counters", "incidents", "hostgroup"} {
		s.Queries++
		if err := s.weir.Get(path, nil); err != nil {
			return fmt.Errorf("show %s: %w", path, err)
		}
	}
	s.Queries++
	var ports []api.Port
	if err := s.weir.Get("interfaces", &ports); err != nil {
		return fmt.Errorf("show interfaces: %w", err)
	}
	if len(ports) != 1 || len(ports[0].Workers) != 1 || ports[0].Workers[0].CPU != cable.ReceiverCPU() {
		return fmt.Errorf("ports %+v", ports)
	}
	if time.Since(s.begin) < s.WarmUp {
		return nil
	}
	return s.note(&ports[0].Workers[0])
}

// longGap is a gap that a worker should never have.
const longGap = 5 * time.Millisecond

// tick is what happened to the worker's processor in one of its ticks.
type tick struct {
	long   uint64 // gaps of longGap or more
	stolen bool   // the host took something of it
	waited bool   // another thread had it for the best part of each long gap
}

// watch notes the worker's tick if it is a new one.
func (s *soak) watch(w *api.Worker) error {
	var polls, long, before uint64
	for i, g := range w.Gaps {
		polls += g.Count
		if i > 0 && w.Gaps[i-1].Below >= longGap.Seconds() {
			long += g.Count
			before += s.last.Gaps[i].Count
		}
	}
	if polls == s.polls {
		return nil
	}
	s.polls = polls
	waited, u, err := s.processor()
	if err != nil {
		return err
	}
	const part = longGap * 4 / 5
	long -= before
	s.ticks = append(s.ticks, tick{
		long: long, stolen: u.Stolen > s.stolen, waited: long > 0 && waited-s.waited >= time.Duration(long)*part,
	})
	s.stolen, s.waited = u.Stolen, waited
	return nil
}

// unexplained adds up the long gaps of ticks in which no other thread made them and that are not beside a theft: the host's are told in
// hundredths of a second, some late.
func unexplained(ticks []tick) (n uint64) {
	for i, t := range ticks {
		if !t.waited && !slices.ContainsFunc(ticks[max(0, i-1):min(len(ticks), i+2)], func(t tick) bool { return t.stolen }) {
			n += t.long
		}
	}
	return n
}

func (s *soak) note(w *api.Worker) error {
	rss, err := residentSize(s.weir.PID())
	if err != nil {
		return err
	}
	gap, err := s.weir.Counter("worker_longest_gap_seconds")
	if err != nil {
		return err
	}
	if s.first == nil { // its last tick began in the warm-up
		s.first = w
		s.last = w
		s.waitedBefore, s.usageBefore, err = s.processor()
		s.stolen, s.waited = s.usageBefore.Stolen, s.waitedBefore
		return err
	}
	if err := s.watch(w); err != nil {
		return err
	}
	s.last = w
	s.rss, s.busy = append(s.rss, rss), append(s.busy, w.Busy)
	s.Longest = max(s.Longest, time.Duration(gap*float64(time.Second)))
	return nil
}

// processor is how long the worker has waited for its processor, and what else that has done.
func (s *soak) processor() (waited time.Duration, u alone.Usage, err error) {
	waited, err = waitedFor(s.weir.PID(), cable.ReceiverCPU())
	if err == nil {
		u, err = alone.Of(cable.ReceiverCPU())
	}
	return waited, u, err
}

// residentSize is a process's memory.
func residentSize(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			var kib int64
			_, err := fmt.Sscan(rest, &kib)
			return kib << 10, err
		}
	}
	return 0, errors.New("no VmRSS")
}

// waitedFor is how long the threads that may run on one processor only were ready and did not run.
func waitedFor(pid, cpu int) (sum time.Duration, err error) {
	dirs, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, dir := range dirs {
		status, err := os.ReadFile(filepath.Join(dir, "status"))
		if err != nil || !strings.Contains(string(status), fmt.Sprintf("Cpus_allowed_list:\t%d\n", cpu)) {
			continue // another thread, or one that ended meanwhile
		}
		text, err := os.ReadFile(filepath.Join(dir, "schedstat"))
		if err != nil {
			continue
		}
		var ran, waited int64
		if _, err := fmt.Sscan(string(text), &ran, &waited); err != nil {
			return 0, fmt.Errorf("%s/schedstat: %w", dir, err)
		}
		sum += time.Duration(waited)
	}
	return sum, err
}

// settleWithin is how long the last packets may take to be counted.
const settleWithin = 20 * time.Second

// account holds the counters against each other, and makes the figures.
func (s *soak) account() error {
	var err error
	get := func(name string) uint64 {
		v, e := s.weir.Counter(name)
		err = errors.Join(err, e)
		return uint64(v)
	}
	for end := time.Now().Add(settleWithin); ; time.Sleep(50 * time.Millisecond) {
		delivered, e := s.cable.Delivered() // the kernel may be handing over the last ones
		err = errors.Join(err, e)
		s.Delivered = delivered - s.base
		s.Counted, s.Dropped = get("packets_counted"), get("port_dropped_packets")
		if err != nil || s.Unaccounted() == 0 || time.Now().After(end) {
			break
		}
	}
	if n := get("conservation_faults"); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d ticks with packets counted twice or not at all", n))
	}
	longest, e := s.weir.Counter("tick_longest_seconds")
	s.TickLongest = time.Duration(longest * float64(time.Second))
	err = errors.Join(err, e)
	if s.last == nil || len(s.rss) < 5 {
		return errors.Join(err, errors.New("the run is too short to judge memory and gaps"))
	}
	s.figures()
	return err
}

func (s *soak) figures() {
	s.Unexplained = unexplained(s.ticks)
	for i, g := range s.last.Gaps {
		s.Gaps = append(s.Gaps, api.Gap{Below: g.Below, Count: g.Count - s.first.Gaps[i].Count})
	}
	fifth := len(s.rss) / 5
	s.RSS = median(s.rss[2*fifth : 3*fifth])
	s.Growth = median(s.rss[len(s.rss)-fifth:]) - s.RSS
	s.Peak = slices.Max(s.rss)
	s.Busy = median(s.busy)
}

func median[T int64 | float64](list []T) T {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}
