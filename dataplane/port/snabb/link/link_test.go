package link

import (
	"strings"
	"testing"
)

func valid() Geometry { return Geometry{Queues: 2, Slots: 128, Data: MinData, Snap: 1500} }

func TestGeometry(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(g *Geometry)
		want   string // of the error
	}{
		{"valid", func(*Geometry) {}, ""},
		{"least", func(g *Geometry) { *g = Geometry{1, MinSlots, MinData, MinSnap} }, ""},
		{"most slots", func(g *Geometry) { g.Slots, g.Queues = MaxSlots, MaxQueues }, ""},
		{"no queue", func(g *Geometry) { g.Queues = 0 }, "queues: 0 is outside 1..16"},
		{"queues", func(g *Geometry) { g.Queues = 17 }, "queues: 17"},
		{"slots", func(g *Geometry) { g.Slots = 100 }, "slots: 100 is no power of two"},
		{"few slots", func(g *Geometry) { g.Slots = 32 }, "slots: 32 is outside"},
		{"negative", func(g *Geometry) { g.Data = -1 << 31 }, "data: -2147483648 is outside"},
		{"data", func(g *Geometry) { g.Data = MinData + 4096 }, "data: 69632 is no power of two"},
		{"snap", func(g *Geometry) { g.Snap = MaxSnap + 1 }, "snap: 16385"},
		{"all", func(g *Geometry) { g.Queues, g.Data = 16, MaxData }, "in total are too many"},
		{"two faults", func(g *Geometry) { g.Snap, g.Queues = 0, 0 }, "queues: 0"},
	} {
		g := valid()
		c.change(&g)
		err := g.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// Nothing overlaps, everything is inside and aligned.
func TestPlaces(t *testing.T) {
	t.Parallel()
	for queues := 1; queues <= MaxQueues; queues++ {
		for _, slots := range []int{MinSlots, 256, 4096} {
			g := Geometry{queues, slots, MinData, MinSnap}
			end := OffPolls + 8
			for _, part := range []struct {
				at     func(q int) int
				length int
				align  int
			}{{g.Head, 16, 128}, {g.Tail, 8, 128}, {g.Descs, slots * descSize, page}, {g.Frames, g.Data, page}} {
				for q := range queues {
					if at := part.at(q); at < end || at%part.align != 0 {
						t.Fatalf("%+v: %d is behind %d, or not aligned to %d", g, end, at, part.align)
					}
					end = part.at(q) + part.length
				}
			}
			if g.Dropped(0) != g.Head(0)+8 || g.Head(queues-1)+16 > offTails || g.Tail(queues-1)+8 > offDescs || end != g.Size() {
				t.Fatalf("%+v: does not fit into its %d bytes", g, g.Size())
			}
		}
	}
}

func TestDeviceNames(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"0000:03:00.0": true, "03:00.0": true, "": false, "a b": false, "a\n": false, "\x00": false, "é": false, strings.Repeat("x", 63): true,
		strings.Repeat("x", 64): false,
	} {
		if err := CheckDevice(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// What anybody may send is refused or within all limits.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"version":1,"device":"0000:03:00.0","geometry":{"queues":1,"slots":64,"data":65536,"snap":64}}`))
	f.Add([]byte(`{"version":1,"later":[{}]}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRequest(b)
		if err != nil {
			return
		}
		if r.Geometry.Validate() != nil || r.Geometry.Size() <= 0 || CheckDevice(r.Device) != nil || len(b) > maxMessage {
			t.Errorf("accepted %q as %+v", b, r)
		}
	})
}

func TestReply(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"version":1}`:                  "",
		`{"version":1,"later":true}`:     "",
		`{"version":2}`:                  "speaks version 2, this appliance 1",
		`{"version":1,"error":"a\nb\""}`: `the library says "a\nb\""`,
		`{"version":2,"error":"old"}`:    `says "old"`,
		``:                               "no JSON object",
		`null`:                           "no JSON object",
		`{"version":"1"}`:                "makes no sense",
		strings.Repeat("{", 5000):        "too long",
	} {
		err := parseReply([]byte(text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.20s: %v, want %q", text, err, want)
		}
	}
}
