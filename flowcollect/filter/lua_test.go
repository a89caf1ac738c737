package filter

import (
	"bytes"
	"log/slog"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/weir-ddos/weir/flowcollect/record"
)

var started = time.Now()

// monotonic is the clock of production.
func monotonic() int64 { return int64(time.Since(started)) }

// ticking is a clock that goes on by a microsecond whenever it is read, so that no pause of the machine is a script's.
func ticking() func() int64 {
	var now atomic.Int64
	return func() int64 { return now.Add(1000) }
}

// hooked returns a worker with one script for both hooks.
func hooked(t testing.TB, body string, change ...func(*Config)) (*Set, *Worker) {
	t.Helper()
	return hookedBy(t, ticking(), body, change...)
}

// hookedBy is hooked with a clock.
func hookedBy(t testing.TB, clock func() int64, body string, change ...func(*Config)) (*Set, *Worker) {
	t.Helper()
	c := Default()
	c.LuaTimeout = time.Second
	c.LuaNetflow = write(t, "netflow.lua", body+"\nprocess_sflow = nil")
	c.LuaSFlow = write(t, "sflow.lua", body+"\nprocess_netflow = nil")
	if !strings.Contains(body, "process_netflow") {
		c.LuaNetflow = ""
	}
	if !strings.Contains(body, "process_sflow") {
		c.LuaSFlow = ""
	}
	for _, f := range change {
		f(&c)
	}
	s, err := New(c, Deps{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Worker()
	if err != nil {
		t.Fatal(err)
	}
	return s, w
}

func TestHooksDropAndKeep(t *testing.T) {
	t.Parallel()
	s, w := hooked(t, `
local muted = {["203.0.113.1"] = {[7] = true}}
function process_netflow(agent, flow)
  local ports = muted[agent]
  return not (ports and ports[flow.if_index_in])
end
function process_sflow(agent, flow)
  if agent == "2001:db8:ffff::1" and flow.outputPort == 9 then return false end
  return true
end`)
	sflow := v6()
	sflow.Protocol = record.SFlow5
	if w.Keep(exporter4, v4()) || !w.Keep(exporter6, v6()) || w.Keep(exporter6, sflow) || !w.Keep(exporter4, sflow) || w.Keep(exporter4, v6()) {
		t.Error("wrong records are kept")
	}
	for _, p := range []record.Protocol{record.NetFlow1, record.NetFlow5, record.NetFlow7, record.NetFlow9, record.IPFIX} {
		r := v4()
		if r.Protocol = p; w.Keep(exporter4, r) {
			t.Errorf("%v is not filtered", p)
		}
	}
	w.Flush()
	st := s.Stats()
	n, f := st.Hooks[0], st.Hooks[1]
	if n.Function != "process_netflow" || n.Calls != 8 || n.Dropped != 7 || f.Function != "process_sflow" || f.Calls != 2 || f.Dropped != 1 ||
		n.Errors+f.Errors != 0 || st.Records != 10 || st.Dropped != 8 || n.Workers != 1 {
		t.Errorf("got %+v", st)
	}
}

// A hook written for FastNetMon, with its casts, works unchanged apart from reading its list from a file.
func TestFastNetMonsPreamble(t *testing.T) {
	t.Parallel()
	_, w := hooked(t, `
local ffi = require("ffi")
ffi.cdef([[typedef struct NF5_FLOW { uint32_t src_ip; } NF5_FLOW_t;]])
print("loaded")
function process_netflow(flow_agent_ip, flow)
  local t = ffi.typeof('NF5_FLOW_t*')
  local f = ffi.cast(t, flow)
  return not (f.dest_port == 4242 and f.flow_octets == 4500 and f.protocol == 17)
end`)
	if w.Keep(exporter4, v4()) {
		t.Error("kept")
	}
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	r := v4()
	r.Has |= record.HasFlags | record.HasICMP | record.HasForwarding
	r.TCPFlags, r.ICMPType, r.ICMPCode, r.ForwardingStatus, r.MPLSLabel = 0x12, 3, 4, 130, 16
	r.SrcMask, r.DstMask, r.L2Bytes, r.DroppedPackets, r.DroppedBytes, r.FlowEndReason = 24, 25, 4600, 1, 100, 2
	r.SamplerID, r.Template, r.PostPackets, r.PostBytes, r.FragmentOffset, r.RateFrom = 1<<32|77, 300, 2, 4000, 185, record.RateDomain
	r.Start, r.End, r.Fragment, r.Exporter = 1_700_000_000_123_456_789, 1_700_000_002_123_456_789, true, exporter6.As16()
	want := map[string]string{
		"src": `"192.0.2.1"`, "dst": `"198.51.100.2"`, "nexthop": `"fe80::1"`, "agent": `"10.9.9.9"`, "exporter": `"2001:db8:ffff::1"`,
		"src_port": "53", "dst_port": "4242", "proto": "17", "tcp_flags": "18", "tos": "184", "dscp": "46", "packets": "3", "bytes": "4500",
		"length": "1500", "input": "7", "output": "9", "src_as": "64500", "dst_as": "64501", "src_vlan": "10", "dst_vlan": "20", "domain": "5",
		"icmp_type": "3", "icmp_code": "4", "mpls_label": "16", "forwarding_status": "130", "sampler_id": "4294967373", "src_mask": "24", "dst_mask": "25",
		"l2_bytes": "4600", "dropped_packets": "1", "dropped_bytes": "100", "flow_end_reason": "2", "sampling_rate": "100.5", "duration": "2",
		"flow_start": "1700000000123", "flow_finish": "1700000002123", "ip_version": "4", "direction": `"ingress"`,
		"ttl": "64", "sampling_from": `"domain"`, "template": "300", "post_packets": "2", "post_bytes": "4000", "fragment_offset": "185", "ds_class": "1", "ds_index": "77",
		"export_protocol": `"netflow9"`, "kind": `"data"`, "dropped": "false", "fragment": "true", "datagramVersion": "9",
	}
	if got, all := slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(attributes)); !slices.Equal(got, all) {
		t.Fatalf("expectations for %v, attributes are %v", got, all)
	}
	var script strings.Builder
	script.WriteString("function process_netflow(agent, f)\n")
	for _, name := range Attributes() {
		value, ok := want[name]
		if !ok {
			value = want[aliases[name]]
		}
		script.WriteString("assert(f." + name + " == " + value + ", '" + name + " is ' .. tostring(f." + name + "))\n")
	}
	script.WriteString("return false end")
	s, w := hooked(t, script.String())
	if w.Keep(exporter4, r) {
		t.Errorf("kept: %+v", s.Stats().Hooks[0])
	}
	s, w = hooked(t, `function process_netflow(agent, f)
  return not (f.src == "" and f.nexthop == "" and f.src_port == 0 and f.ip_version == 0 and f.duration == 0 and not f.dropped)
end`)
	if w.Keep(exporter4, &record.Record{}) {
		t.Errorf("what was not exported: %+v", s.Stats().Hooks[0])
	}
	s, w = hooked(t, `function process_netflow(agent, f) return not (agent == "2001:db8:ffff::1" and f.src == "2001:db8::1" and f.ip_version == 6) end`)
	if w.Keep(exporter6, v6()) {
		t.Errorf("IPv6: %+v", s.Stats().Hooks[0])
	}
}

// Errors keep the record, are counted with their text, and end the hook after so many in a row.
func TestErrorsKeepTheRecord(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, want string }{
		"error":          {"error('boom')", "netflow.lua:1: boom"},
		"error object":   {"error({})", "table: "},
		"unknown field":  {"return flow.nonsense == 1", `flow has no field "nonsense"`},
		"write":          {"flow.src = 1", "a flow cannot be changed"},
		"nothing":        {"", "process_netflow returned nil; it must return true or false"},
		"number":         {"return 0", "process_netflow returned number; it must return true or false"},
		"nil call":       {"return os.exit()", "attempt to index a non-table object(nil) with key 'exit'"},
		"recursion":      {"return process_netflow(agent, flow) == 1", "stack overflow"},
		"pattern":        {"return agent:find('^1')", "patterns are not available"},
		"rep":            {"return ('x'):rep(1e9) == ''", "string.rep: the result has more than 65536 bytes"},
		"format":         {"return ('%999999d'):format(1) == ''", "more than two digits"},
		"format length":  {"return ('%s'):rep(200):format(1) == ''", "the format has more than 256 bytes"},
		"long argument":  {"return ('%s'):format(('x'):rep(5000)) == ''", "argument 2 has more than 4096 bytes"},
		"in_net":         {"return in_net(agent, 'x')", `in_net: "x" is no prefix`},
		"unpack":         {"return unpack({}, 1, 1e8) == 1", "registry overflow"},
		"require":        {"return require('os')", `require("os"): a hook cannot load modules`},
		"metatable":      {"getmetatable(flow).__index = nil", "attempt to index a non-table object(string)"},
		"find from end":  {"error(tostring(('abcabc'):find('c', -2)) .. tostring(('abc'):find('z')) .. tostring(('a.b'):find('.', 1, true)))", "6nil2"},
		"find from past": {"error(tostring(('abc'):find('', 9)))", "nil"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, w := hooked(t, "function process_netflow(agent, flow) "+c.body+" end", func(c *Config) { c.LuaErrors = 3 })
			for range 5 {
				if !w.Keep(exporter4, v4()) {
					t.Fatal("dropped by a failing hook")
				}
			}
			h := s.Stats().Hooks[0]
			if h.Calls != 3 || h.Errors != 3 || h.Timeouts != 0 || h.Skipped != 2 || h.Disabled != 1 || h.Memory != 0 || !strings.Contains(h.LastError, c.want) {
				t.Errorf("got %+v", h)
			}
			if w.Close(); s.Stats().Hooks[0].Disabled != 0 || s.Stats().Hooks[0].Workers != 0 {
				t.Errorf("closed: %+v", s.Stats().Hooks[0])
			}
		})
	}
}

func TestErrorsNotInARow(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	c := Default()
	c.LuaErrors, c.LuaTimeout = 2, time.Second
	c.LuaNetflow = write(t, "n.lua", "n = 0 function process_netflow(agent, flow) n = n + 1 if n % 2 == 0 then error('even') end return n < 9 end")
	s, err := New(c, Deps{Clock: ticking(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Worker()
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for range 10 {
		if w.Keep(exporter4, v4()) {
			kept++
		}
	}
	if h := s.Stats().Hooks[0]; kept != 9 || h.Errors != 5 || h.Disabled != 0 || h.Dropped != 1 {
		t.Errorf("kept %d, %+v", kept, h)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 1 {
		t.Errorf("%d lines for one fault that repeats:\n%s", lines, log.String())
	}
}

// Endless scripts end, however they try not to.
func TestEndlessScripts(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"loop":             "while true do end",
		"for":              "for i = 1, 1e18 do end",
		"pcall":            "while true do pcall(function() while true do end end) end",
		"xpcall":           "xpcall(function() while true do end end, function() while true do end end) return true",
		"tail":             "local function f() return f() end return f()",
		"metatable":        "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) while true do pcall(function() return t[1] end) end",
		"concat":           "local s = 'x' while true do s = s .. s .. s .. s end",
		"table":            "local t = {} while true do t[#t + 1] = {} end",
		"sparse":           "local t = {} local i = 1 while true do i = i * 2 % 60000000 t[i] = i end",
		"upper":            "local s = ('x'):rep(65536) while true do s = s:upper() end",
		"insert at a head": "local t = {} while true do table.insert(t, 1, t) end",
	} {
		t.Run(name, func(t *testing.T) {
			var loaded atomic.Bool // from then on it is the clock of production
			clock := ticking()
			s, w := hookedBy(t, func() int64 {
				if loaded.Load() {
					return monotonic()
				}
				return clock()
			}, "function process_netflow(agent, flow) "+body+" end", func(c *Config) { c.LuaTimeout = time.Millisecond })
			loaded.Store(true)
			began := time.Now()
			if !w.Keep(exporter4, v4()) {
				t.Error("dropped")
			}
			// A busy machine may take the processor away for long, so that this says no more than that it ends.
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("took %v", took)
			}
			if h := s.Stats().Hooks[0]; h.Errors != 1 || h.Timeouts != 1 || !strings.Contains(h.LastError, "took too long") {
				t.Errorf("got %+v", h)
			}
		})
	}
}

// With a clock that stands still, as in virtual time, the number of instructions is the bound.
func TestClockThatStandsStill(t *testing.T) {
	t.Parallel()
	c := Default()
	c.LuaNetflow = write(t, "n.lua", "function process_netflow() while true do end end")
	s, err := New(c, Deps{Clock: func() int64 { return 5 }})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Worker()
	if err != nil {
		t.Fatal(err)
	}
	if !w.Keep(exporter4, v4()) || s.Stats().Hooks[0].Timeouts != 1 {
		t.Errorf("got %+v", s.Stats().Hooks[0])
	}
}

// A script that keeps more and more is switched off soon after its limit, in whatever way it keeps it.
func TestMemoryIsBounded(t *testing.T) {
	for name, body := range map[string]string{
		"array":         "n = n + 1 t[n] = {n}",
		"strings":       "n = n + 1 t['key' .. n] = ('x'):rep(1000) .. n",
		"one string":    "s = s .. ('x'):rep(30000)",
		"doubling":      "s = s .. s",
		"upvalues":      "n = n + 1 local old, v = f, ('x'):rep(100) .. n f = function() return old, v end",
		"deleted keys":  "n = n + 1 t['key' .. n] = 1 t['key' .. n] = nil",
		"sparse":        "n = n + 65536 t[n] = n",
		"string method": "n = n + 1 string['f' .. n] = ('x'):rep(1000) .. n",
		"failing":       "n = n + 1 t[n] = ('x'):rep(1000) .. n error('no')",
	} {
		t.Run(name, func(t *testing.T) {
			s, w := hookedBy(t, monotonic, "t = {} n = 0 s = 'x' function process_netflow(agent, flow) "+body+" return true end", func(c *Config) {
				c.LuaMemory, c.LuaErrors = 4<<20, 0
			})
			var before, now runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			highest := uint64(0)
			for i := 0; s.Stats().Hooks[0].Disabled == 0; i++ {
				if !w.Keep(exporter4, v4()) {
					t.Fatal("dropped")
				}
				if i%1000 == 0 {
					runtime.ReadMemStats(&now)
					highest = max(highest, now.HeapAlloc-min(before.HeapAlloc, now.HeapAlloc))
				}
				if i == 5_000_000 {
					t.Fatalf("never switched off: %+v", s.Stats().Hooks[0])
				}
			}
			if highest > 512<<20 {
				t.Errorf("it took %d MB to notice", highest>>20)
			}
			h := s.Stats().Hooks[0]
			if !strings.Contains(h.LastError, "keeps too much memory") || h.Memory != 0 || h.Calls > 4_000_000 {
				t.Errorf("got %+v", h)
			}
			if !w.Keep(exporter4, v4()) {
				t.Error("dropped by a hook that is switched off")
			}
		})
	}
}

// A script that keeps a fixed amount stays on for ever.
func TestSteadyScriptStays(t *testing.T) {
	s, w := hooked(t, `t = {} function process_netflow(agent, flow) t[flow.src_port] = (t[flow.src_port] or 0) + flow.packets return true end`)
	r := v4()
	for i := range 100_000 {
		r.SrcPort = uint16(i)
		w.Keep(exporter4, r)
	}
	if h := s.Stats().Hooks[0]; h.Disabled != 0 || h.Errors != 0 || h.Calls != 100_000 || h.Memory < 65535*costSlot {
		t.Errorf("got %+v", h)
	}
}

func TestFlowOutlivesNothing(t *testing.T) {
	t.Parallel()
	s, w := hooked(t, `local old function process_netflow(agent, flow) if old then return old.src == flow.src end old = flow return true end`)
	w.Keep(exporter4, v4())
	// The same value stands for every record: an old one shows the new, and never freed memory.
	if !w.Keep(exporter4, v6()) || s.Stats().Hooks[0].Errors != 0 {
		t.Errorf("got %+v", s.Stats().Hooks[0])
	}
	if w.netflow.flow.record != nil {
		t.Error("the record is kept after the call")
	}
}

// Scripts see no more globals than the list.
func TestSandbox(t *testing.T) {
	t.Parallel()
	l := newState()
	want := append(slices.Clone(allowed[""]), "in_net", "print", "require")
	var got []string
	l.G.Global.ForEach(func(k, _ lua.LValue) { got = append(got, k.String()) })
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("globals are %v, not %v", got, want)
	}
	s, w := hooked(t, `function process_netflow(agent, flow)
  for _, bad in ipairs{"io", "os", "debug", "coroutine", "package", "load", "loadstring", "loadfile", "dofile", "module", "newproxy", "collectgarbage",
      "getfenv", "setfenv"} do
    if _G[bad] ~= nil then error(bad) end
  end
  return not (in_net(flow.src, "192.0.2.0/24") and not in_net(flow.dst, "2001:db8::/32") and not in_net("", "::/0")
    and ("aXb"):lower() == "axb" and math.floor(2.5) == 2 and #table.remove({"xy"}) == 2 and string.format("%02x", 10) == "0a")
end`)
	if w.Keep(exporter4, v4()) {
		t.Errorf("got %+v", s.Stats().Hooks[0])
	}
}

func TestDeepSourceDoesNotCrash(t *testing.T) {
	for _, text := range []string{
		"x = " + strings.Repeat("(", 100_000) + "1" + strings.Repeat(")", 100_000),
		"x = " + strings.Repeat("{", 100_000) + strings.Repeat("}", 100_000),
		strings.Repeat("do ", 50_000) + strings.Repeat("end ", 50_000),
		"x = " + strings.Repeat("-", 1) + strings.Repeat("not ", 60_000) + "1",
		"x = " + strings.Repeat("1 .. ", 50_000) + "1",
	} {
		c := Default()
		c.LuaSFlow = write(t, "deep.lua", text)
		if s, err := New(c, Deps{Clock: ticking()}); err == nil || s != nil {
			t.Errorf("%s: no error, although no function is defined", text[:20])
		}
	}
}

func BenchmarkHook(b *testing.B) {
	for name, body := range map[string]string{
		"nothing": "return true",
		"port":    "return flow.dst_port ~= 443",
		"agent":   `return not (agent == "192.0.2.1" and flow.if_index_in == 7)`,
		"address": `return not in_net(flow.src, "10.0.0.0/8")`,
	} {
		b.Run(name, func(b *testing.B) {
			_, w := hookedBy(b, monotonic, "function process_netflow(agent, flow) "+body+" end")
			r, from := v4(), netip.MustParseAddr("203.0.113.9")
			b.ReportAllocs()
			for b.Loop() {
				w.Keep(from, r)
			}
		})
	}
}
