package filter

import (
	"net/netip"
	"reflect"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// Bounds of a script.
const (
	maxScript   = 256 << 10 // bytes of source
	maxCalls    = 120       // functions inside each other
	maxStack    = 16 << 10  // values on the stack
	maxString   = 64 << 10  // bytes that string.rep and string.format make
	maxFormat   = 256       // bytes of a format
	maxArgument = 4 << 10   // bytes of a string given to string.format
)

// The interpreter fills an array up to an index that a script sets, so that t[60000000] = 1 would be a gigabyte in one instruction.
// Above this index it uses a map.
func init() { lua.MaxArrayIndex = 32 << 10 }

// allowed are the library functions that a script has: those that touch nothing outside and end in bounded time.
var allowed = map[string][]string{
	"": {
		"_G", "_VERSION", "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawset", "select",
		"setmetatable", "tonumber", "tostring", "type", "unpack", "xpcall", "table", "string", "math",
	},
	"table":  {"getn", "insert", "maxn", "remove"},
	"string": {"__index", "byte", "char", "format", "len", "lower", "rep", "reverse", "sub", "upper"},
	"math": {
		"abs", "ceil", "exp", "floor", "fmod", "frexp", "huge", "ldexp", "log", "log10", "max", "min", "mod", "modf", "pi", "pow", "sqrt",
	},
}

// newState makes an interpreter with bounded stacks and only the allowed functions.
func newState() *lua.LState {
	l := lua.NewState(lua.Options{
		SkipOpenLibs: true, CallStackSize: maxCalls, MinimizeStackMemory: true,
		RegistrySize: 256, RegistryMaxSize: maxStack, RegistryGrowStep: 256,
	})
	for _, open := range []lua.LGFunction{lua.OpenBase, lua.OpenTable, lua.OpenString, lua.OpenMath} {
		l.Push(l.NewFunction(open))
		l.Call(0, 0)
	}
	globals := l.G.Global
	str := globals.RawGetString("string").(*lua.LTable)
	limit(str, "rep", checkRep)
	limit(str, "format", checkFormat)
	restrict(globals, allowed[""])
	for name, functions := range allowed {
		if t, ok := globals.RawGetString(name).(*lua.LTable); ok && name != "" && name != "_G" {
			restrict(t, functions)
		}
	}
	str.RawSetString("find", l.NewFunction(findPlain))
	globals.RawSetString("in_net", l.NewFunction(inNet))
	globals.RawSetString("print", l.NewFunction(func(*lua.LState) int { return 0 }))
	globals.RawSetString("require", l.NewFunction(requireFFI))
	return l
}

// restrict removes all that is not in names.
func restrict(t *lua.LTable, names []string) {
	allow := map[string]bool{}
	for _, n := range names {
		allow[n] = true
	}
	var gone []string
	t.ForEach(func(k, _ lua.LValue) {
		if !allow[k.String()] {
			gone = append(gone, k.String())
		}
	})
	for _, n := range gone {
		t.RawSetString(n, lua.LNil)
	}
}

// limit puts a check before a library function.
func limit(t *lua.LTable, name string, check func(*lua.LState)) {
	fn := t.RawGetString(name).(*lua.LFunction)
	inner := fn.GFunction
	fn.GFunction = func(l *lua.LState) int {
		check(l)
		return inner(l)
	}
}

// checkRep refuses a string.rep whose result is too long.
func checkRep(l *lua.LState) {
	if n := l.CheckInt(2); n > 0 && len(l.CheckString(1)) > maxString/n {
		l.RaiseError("string.rep: the result has more than %d bytes", maxString)
	}
}

// checkFormat refuses formats and arguments whose result may be too long: widths have two digits, as in Lua's own implementation.
func checkFormat(l *lua.LState) {
	format := l.CheckString(1)
	if len(format) > maxFormat {
		l.RaiseError("string.format: the format has more than %d bytes", maxFormat)
	}
	digits := 0
	for i := range len(format) {
		if c := format[i]; c >= '0' && c <= '9' {
			digits++
		} else {
			digits = 0
		}
		if digits > 2 || format[i] == '*' {
			l.RaiseError("string.format: a width or precision has more than two digits")
		}
	}
	for i := 2; i <= l.GetTop(); i++ {
		if s, ok := l.Get(i).(lua.LString); ok && len(s) > maxArgument {
			l.RaiseError("string.format: argument %d has more than %d bytes", i, maxArgument)
		}
	}
}

// findPlain is string.find(s, text, init, true): patterns can take for ever, and are refused.
func findPlain(l *lua.LState) int {
	s, text, from := l.CheckString(1), l.CheckString(2), l.OptInt(3, 1)
	if !l.OptBool(4, false) && strings.ContainsAny(text, "^$*+?.([%-") {
		l.RaiseError("string.find: patterns are not available; string.find(s, text, 1, true) searches plain text")
	}
	if from < 0 {
		from += len(s) + 1
	}
	from = max(from, 1)
	if from > len(s)+1 {
		l.Push(lua.LNil)
		return 1
	}
	i := strings.Index(s[from-1:], text)
	if i < 0 {
		l.Push(lua.LNil)
		return 1
	}
	l.Push(lua.LNumber(from + i))
	l.Push(lua.LNumber(from + i + len(text) - 1))
	return 2
}

// inNet is in_net(address, prefix): whether the address lies in the prefix. What is no address is in no prefix; a bad prefix is an error.
func inNet(l *lua.LState) int {
	p, err := netip.ParsePrefix(l.CheckString(2))
	if err != nil {
		l.RaiseError("in_net: %q is no prefix", clip(l.CheckString(2)))
	}
	a, err := netip.ParseAddr(l.CheckString(1))
	l.Push(lua.LBool(err == nil && p.Contains(a.Unmap())))
	return 1
}

// requireFFI is require, which only knows "ffi": with it the casts that open a FastNetMon hook leave the flow as it is.
func requireFFI(l *lua.LState) int {
	if name := l.CheckString(1); name != "ffi" {
		l.RaiseError("require(%q): a hook cannot load modules", clip(name))
	}
	pass := func(n int) *lua.LFunction {
		return l.NewFunction(func(l *lua.LState) int {
			l.Push(l.Get(n))
			return 1
		})
	}
	t := l.NewTable()
	t.RawSetString("cdef", l.NewFunction(func(*lua.LState) int { return 0 }))
	t.RawSetString("typeof", pass(1))
	t.RawSetString("cast", pass(2))
	l.Push(t)
	return 1
}

// heapWalk estimates what a state keeps: all that can be reached from its globals.
type heapWalk struct {
	seen  map[lua.LValue]struct{}
	queue []lua.LValue
	bytes int64
}

// Costs of values, in bytes; measured with the Go heap, on the high side.
const (
	costSlot     = 16
	costEntry    = 160 // map entry, with the interpreter's own list of keys
	costTable    = 120
	costFunction = 120
	costString   = 32
)

// measure returns the estimate. It ends early when the estimate is above limit.
func (w *heapWalk) measure(l *lua.LState, limit int64) int64 {
	if w.seen == nil {
		w.seen = map[lua.LValue]struct{}{}
	}
	clear(w.seen)
	w.bytes, w.queue = 0, w.queue[:0]
	w.add(l.G.Global)
	w.add(l.G.Registry)
	for len(w.queue) > 0 && w.bytes <= limit {
		v := w.queue[len(w.queue)-1]
		w.queue = w.queue[:len(w.queue)-1]
		w.visit(v, limit)
	}
	clear(w.queue[:cap(w.queue)]) // keep nothing of the script alive
	w.queue = w.queue[:0]
	if len(w.seen) > 1<<16 {
		w.seen = nil
	}
	return w.bytes
}

// add counts a value and queues what it refers to.
func (w *heapWalk) add(v lua.LValue) {
	switch v := v.(type) {
	case lua.LString:
		w.bytes += costString + int64(len(v))
	case *lua.LTable, *lua.LFunction, *lua.LUserData:
		if _, ok := w.seen[v]; !ok {
			w.seen[v] = struct{}{}
			w.queue = append(w.queue, v)
		}
	}
}

func (w *heapWalk) visit(v lua.LValue, limit int64) {
	switch v := v.(type) {
	case *lua.LTable:
		w.bytes += costTable + int64(v.Len())*costSlot + int64(keysEverSet(v))*costEntry
		w.add(v.Metatable)
		v.ForEach(func(k, e lua.LValue) {
			if w.bytes <= limit {
				w.add(k)
				w.add(e)
			}
		})
	case *lua.LFunction:
		w.bytes += costFunction
		for _, u := range v.Upvalues {
			w.add(u.Value())
		}
	case *lua.LUserData:
		w.bytes += costTable
		w.add(v.Metatable)
	}
}

// keysEverSet is how many keys outside its array a table ever had: the interpreter keeps a list of them, from which setting a key to nil
// removes nothing, and has no method that tells.
func keysEverSet(t *lua.LTable) int {
	if keys := reflect.ValueOf(t).Elem().FieldByName("keys"); keys.IsValid() {
		return keys.Len()
	}
	return 0
}
