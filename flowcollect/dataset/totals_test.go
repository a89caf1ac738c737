package dataset_test

import (
	"testing"

	"github.com/weir-ddos/weir/flowcollect/dataset"
	"github.com/weir-ddos/weir/flowcollect/ipfix"
)

// A flow of which every record repeats the total so far is counted once; flows that merely look alike are counted each.
func TestTotalsOfLongFlows(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, fields []el, src, dst string) {
		c := fresh(t)
		c.deps.Totals = dataset.NewTotals(64, 12345)
		c.ipfix = ipfix.New(c.deps)
		tf := append(fields[:2:2], el{85, 8, 0}, el{86, 8, 0}, el{152, 8, 0}, el{161, 4, 0})
		f := func(bytes, packets, start uint64) []byte {
			return msg10(1, set(300, ip(src), ip(dst), u64(bytes), u64(packets), u64(start), u32(60_000)))
		}
		c.send(msg10(1, set(2, tpl(300, tf...))),
			f(1000, 10, 1e12), f(5000, 50, 1e12), f(5000, 50, 1e12), f(9000, 90, 1e12), // one flow
			f(700, 7, 2e12),          // another one of the same ends
			f(300, 3, 2e12),          // less than before: the exporter began anew
			f(400, 4, 2e12),          // and went on
			f(50, 1, 0), f(50, 1, 0)) // no start: nothing to tell them by
		var got [][2]uint64
		for i := range c.list {
			p, b := c.list[i].Counts()
			got = append(got, [2]uint64{b, p})
		}
		want := [][2]uint64{{1000, 10}, {4000, 40}, {0, 0}, {4000, 40}, {700, 7}, {300, 3}, {100, 1}, {50, 1}, {50, 1}}
		for i, w := range want {
			if i >= len(got) || got[i] != w {
				t.Fatalf("got %v, want %v", got, want)
			}
		}
		if c.list[0].Duration != 60*second || c.list[1].Duration != second || c.list[4].Duration != 60*second { // they come a second apart
			t.Errorf("durations %d, %d, %d", c.list[0].Duration, c.list[1].Duration, c.list[4].Duration)
		}
		if c.list[3].Bytes != 9000 || !c.list[3].Totals {
			t.Errorf("as exported: %+v", c.list[3])
		}
	})
}

// Both directions of a biflow with totals are told apart, and each is counted once.
func TestTotalsOfBiflows(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, fields []el, src, dst string) {
		c := fresh(t)
		c.deps.Totals = dataset.NewTotals(64, 12345)
		c.ipfix = ipfix.New(c.deps)
		tf := append(fields[:2:2], el{85, 8, 0}, el{86, 8, 0}, el{85, 8, 29305}, el{86, 8, 29305}, el{152, 8, 0})
		f := func(bytes, packets, back, packetsBack uint64) []byte {
			return msg10(1, set(300, ip(src), ip(dst), u64(bytes), u64(packets), u64(back), u64(packetsBack), u64(1e12)))
		}
		c.send(msg10(1, set(2, tpl(300, tf...))), f(1000, 10, 70, 7), f(5000, 50, 90, 9), f(5000, 50, 100, 10))
		var forward, back uint64
		for i := range c.list {
			_, b := c.list[i].Counts()
			if addr(c.list[i].Src) == src {
				forward += b
			} else {
				back += b
			}
		}
		if len(c.list) != 6 || forward != 5000 || back != 100 {
			t.Errorf("%d records, %d and %d bytes", len(c.list), forward, back)
		}
	})
}

// Many more flows than places: memory is fixed, and a flow that is seen all the time is not forgotten for those that are not.
func TestTotalsBounded(t *testing.T) {
	t.Parallel()
	c := fresh(t)
	c.deps.Totals = dataset.NewTotals(16, 99)
	c.ipfix = ipfix.New(c.deps)
	tf := append(v4fields[:2:2], el{86, 8, 0}, el{22, 4, 0})
	c.send(msg10(1, set(2, tpl(300, tf...))))
	sum := uint64(0)
	for i := range uint32(200) {
		c.list = c.list[:0]
		c.decode(exporter, arrived+int64(i)*second, msg10(1, set(300,
			ip(a4), ip(b4), u64(uint64(i)+1), u32(7), u32(i), ip(b4), u64(5), u32(9))))
		p, _ := c.list[0].Counts()
		sum += p
		if p, _ := c.list[1].Counts(); p != 5 {
			t.Fatalf("a new flow counts %d", p)
		}
	}
	if sum != 200 {
		t.Errorf("the steady flow counts %d packets, want 200", sum)
	}
}
