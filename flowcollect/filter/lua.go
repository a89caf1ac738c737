package filter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	lua "github.com/yuin/gopher-lua"
	luaparse "github.com/yuin/gopher-lua/parse"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// script is one Lua file, compiled, and its counters over all workers. A call costs about a microsecond, so that counting with shared
// atomics does not matter here.
type script struct {
	function, path string
	proto          *lua.FunctionProto
	timeout        time.Duration
	memory         int64
	maxErrors      int
	clock          func() int64
	log            *slog.Logger

	calls, dropped, failed, timeouts, skipped atomic.Uint64
	kept                                      atomic.Int64 // bytes that all workers' states keep
	workers, disabled                         atomic.Int64
	last                                      atomic.Pointer[string] // last error
}

// newScript compiles a file and tries it; it returns nil for no path.
func newScript(key, path, function string, cfg Config, deps Deps) (*script, error) {
	if path == "" {
		return nil, nil
	}
	if deps.Clock == nil {
		return nil, fmt.Errorf("%s: no clock to time it with", key)
	}
	text, err := readFile(key, path)
	if err != nil {
		return nil, err
	}
	if len(text) > maxScript {
		return nil, fmt.Errorf("%s: %q has more than %d bytes", key, path, maxScript)
	}
	chunk, err := luaparse.Parse(strings.NewReader(text), path)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", key, oneLine(err.Error()))
	}
	proto, err := lua.Compile(chunk, path)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", key, oneLine(err.Error()))
	}
	s := &script{
		function: function, path: path, proto: proto, timeout: cfg.LuaTimeout, memory: cfg.LuaMemory, maxErrors: cfg.LuaErrors,
		clock: deps.Clock, log: deps.Log,
	}
	h, err := s.start()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	h.close()
	return s, nil
}

// oneLine is an error's text without line breaks and traceback.
func oneLine(s string) string {
	s, _, _ = strings.Cut(s, "\nstack traceback:")
	return strings.Join(strings.Fields(s), " ")
}

// start makes a state of its own for one worker and runs the script's main chunk in it.
func (s *script) start() (*hook, error) {
	h := &hook{script: s, state: newState(), budget: budget{clock: s.clock}, walk: heapWalk{}}
	h.state.SetContext(&h.budget)
	h.flow, h.view = newFlow(h.state)
	h.state.Push(h.state.NewFunctionFromProto(s.proto))
	h.budget.start(100 * s.timeout)
	if err := h.state.PCall(0, 0, nil); err != nil {
		return nil, fmt.Errorf("%s: %s", s.path, h.describe(err))
	}
	fn, ok := h.state.GetGlobal(s.function).(*lua.LFunction)
	if !ok {
		return nil, fmt.Errorf("%s: it defines no function %s(agent, flow)", s.path, s.function)
	}
	h.fn = fn
	if err := h.measure(s.clock()); err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	s.workers.Add(1)
	return h, nil
}

func (s *script) stats() HookStats {
	st := HookStats{
		Function: s.function, Path: s.path, Calls: s.calls.Load(), Dropped: s.dropped.Load(), Errors: s.failed.Load(),
		Timeouts: s.timeouts.Load(), Skipped: s.skipped.Load(), Workers: int(s.workers.Load()), Disabled: int(s.disabled.Load()),
		Memory: s.kept.Load(),
	}
	if p := s.last.Load(); p != nil {
		st.LastError = *p
	}
	return st
}

// hook is a script in one worker.
type hook struct {
	script *script
	state  *lua.LState // nil when closed or switched off
	fn     *lua.LFunction
	flow   *flow
	view   *lua.LUserData // flow as the script sees it
	budget budget
	walk   heapWalk

	exporter netip.Addr  // the last one, and its text
	agent    lua.LString // so that it is not made anew for every record
	off      bool
	inRow    int   // errors in a row
	used     int64 // ns in the script since memory was measured
	next     int64 // used at which it is measured again
	kept     int64 // bytes at the last measurement
}

// measureEvery is the time in a script after which its memory is measured, unless measuring takes long itself. In that time a script can
// make some tens of MB at most.
const measureEvery = int64(5 * time.Millisecond)

// keep calls the script. It returns true when the script fails.
func (h *hook) keep(exporter netip.Addr, r *record.Record) bool {
	s := h.script
	if h.off {
		s.skipped.Add(1)
		return true
	}
	if exporter != h.exporter || h.agent == "" {
		h.exporter, h.agent = exporter, lua.LString(exporter.Unmap().String())
	}
	h.flow.record = r
	began := h.budget.start(s.timeout)
	h.state.Push(h.fn)
	h.state.Push(h.agent)
	h.state.Push(h.view)
	err := h.state.PCall(2, 1, nil)
	h.flow.record = nil
	s.calls.Add(1)
	keep := true
	if err == nil {
		verdict, ok := h.state.Get(-1).(lua.LBool)
		if keep = !ok || bool(verdict); !ok {
			err = fmt.Errorf("%s returned %s; it must return true or false", s.function, h.state.Get(-1).Type())
		}
		h.state.Pop(1)
	}
	now := s.clock()
	if h.used += now - began; h.used >= h.next { // after a failure too: failing calls must not grow unseen
		err = cmp.Or(h.measure(now), err)
	}
	if err != nil {
		h.fail(err)
		return true
	}
	h.inRow = 0
	if !keep {
		s.dropped.Add(1)
	}
	return keep
}

// errMemory is what a script ends with that keeps too much.
var errMemory = errors.New("the script keeps too much memory")

// measure adds up what the script keeps.
func (h *hook) measure(now int64) error {
	bytes := h.walk.measure(h.state, h.script.memory)
	h.script.kept.Add(bytes - h.kept)
	h.kept, h.used = bytes, 0
	h.next = max(measureEvery, 4*(h.script.clock()-now))
	if bytes > h.script.memory {
		return fmt.Errorf("%w: more than %d bytes", errMemory, h.script.memory)
	}
	return nil
}

// fail counts an error and switches the hook off when there were too many in a row, or at once when memory ran out.
func (h *hook) fail(err error) {
	s := h.script
	s.failed.Add(1)
	if h.budget.spent {
		s.timeouts.Add(1)
	}
	text := h.describe(err)
	if s.last.Swap(&text) == nil && s.log != nil {
		s.log.Warn("flow hook failed; the record was kept", "function", s.function, "path", s.path, "error", text)
	}
	h.inRow++
	if !errors.Is(err, errMemory) && (s.maxErrors == 0 || h.inRow < s.maxErrors) {
		return
	}
	h.release()
	s.disabled.Add(1)
	if s.log != nil {
		s.log.Error("flow hook switched off; records are kept unasked until the configuration is loaded anew",
			"function", s.function, "path", s.path, "errors_in_a_row", h.inRow, "error", text)
	}
}

// describe is an error of a call as one bounded line.
func (h *hook) describe(err error) string {
	var api *lua.ApiError
	text := err.Error()
	if errors.As(err, &api) && api.Object != nil {
		text = api.Object.String()
	}
	text = oneLine(text)
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	return text
}

// release frees the state.
func (h *hook) release() {
	h.off = true
	h.state, h.fn, h.flow, h.view, h.walk = nil, nil, nil, nil, heapWalk{}
	h.script.kept.Add(-h.kept)
	h.kept = 0
}

func (h *hook) close() {
	if h.off {
		h.script.disabled.Add(-1)
	} else {
		h.release()
	}
	h.script.workers.Add(-1)
}

// budget bounds one call. The interpreter asks Done before each of its instructions: that is a counter and, now and then, a look at the
// clock, without a timer or a goroutine per call. Used up stays used up until the next start, so that pcall cannot catch it for long.
type budget struct {
	clock           func() int64
	deadline        int64
	steps, maxSteps int64
	spent           bool
}

// stepsPerMicrosecond bounds instructions by time as well, far above what the interpreter reaches: a clock that stands still (or virtual
// time) must not make a loop endless.
const stepsPerMicrosecond = 200

// clockEvery is after how many instructions the clock is read. So few, since the size of a string may triple every few instructions.
const clockEvery = 8

func (b *budget) start(d time.Duration) (now int64) {
	now = b.clock()
	b.deadline, b.steps, b.spent = now+int64(d), 0, false
	b.maxSteps = d.Microseconds() * stepsPerMicrosecond
	return now
}

// closed is what Done returns when the budget is used up.
var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Done counts an instruction; nil means that there may be more.
func (b *budget) Done() <-chan struct{} {
	b.steps++
	if b.steps%clockEvery == 0 && (b.steps > b.maxSteps || b.clock() > b.deadline) {
		b.spent = true
	}
	if b.spent {
		return closed
	}
	return nil
}

var errTimeout = errors.New("took too long")

// Err is why the call was ended.
func (b *budget) Err() error {
	if b.spent {
		return errTimeout
	}
	return nil
}

// Deadline is not known as a wall-clock time.
func (b *budget) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value knows nothing.
func (b *budget) Value(any) any { return nil }

var _ context.Context = (*budget)(nil)
