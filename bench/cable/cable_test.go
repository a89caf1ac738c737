package cable

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
)

func TestMain(m *testing.M) {
	Child()
	os.Exit(m.Run())
}

// testFrames are frames of a few lengths that no stack takes for its own, each with its number in the first byte of the payload.
func testFrames(lengths ...int) (list [][]byte) {
	for i, n := range lengths {
		f := make([]byte, n)
		copy(f, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5, byte(i)}) // local experimental EtherType
		list = append(list, f)
	}
	return list
}

func TestPacket(t *testing.T) {
	t.Parallel()
	tr := Traffic{Frames: testFrames(60, 100), Fields: []Field{{Offset: 20, Mask: 0xfff}, {Offset: 70, Mask: 0xffff0000, Shift: 20}}}
	if err := tr.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := tr.Packet(2); !bytes.Equal(got, tr.Frames[0]) {
		t.Errorf("a frame too short for its fields was changed: %x", got)
	}
	seen := make(map[uint32]bool)
	for n := range uint64(2 << 12) {
		f := tr.Packet(n)
		if len(f) != 60+40*int(n%2) || f[14] != byte(n%2) {
			t.Fatalf("packet %d is %x", n, f)
		}
		if n%2 == 1 {
			seen[binary.BigEndian.Uint32(f[20:])] = true
		}
	}
	// Odd numbers times an odd number are odd: half of the values.
	if len(seen) != 1<<11 {
		t.Errorf("%d values, want %d", len(seen), 1<<11)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for name, tr := range map[string]Traffic{
		"none":       {},
		"short":      {Frames: testFrames(59)},
		"long":       {Frames: testFrames(1515)},
		"many":       {Frames: make([][]byte, maxFrames+1)},
		"outside":    {Frames: testFrames(60), Fields: []Field{{Offset: 1511}}},
		"negative":   {Frames: testFrames(60), Fields: []Field{{Offset: -1}}},
		"shift":      {Frames: testFrames(60), Fields: []Field{{Shift: 64}}},
		"manyFields": {Frames: testFrames(60), Fields: make([]Field, maxFields+1)},
	} {
		if tr.Validate() == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestReceivedBy(t *testing.T) {
	t.Parallel()
	const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       1       2    0    0    0     0          0         0        0       0    0    0    0     0       0          0
receive: 600     10    0    0    0     0          0         0        0       0    0    0    0     0       0          0
`
	if n, err := receivedBy(text, "receive"); n != 10 || err != nil {
		t.Error(n, err)
	}
	if _, err := receivedBy(text, "eth0"); err == nil {
		t.Error("a device that is not there has a counter")
	}
}

// TestGenerator: the packets that arrive are those of the Go twin, byte for byte, at the wanted count and rate, and the bare
// counter counts them all.
func TestGenerator(t *testing.T) {
	if why := netns.Missing(); why != "" {
		t.Skip(why)
	}
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	tr := Traffic{Frames: testFrames(60, 1514, 590), Fields: []Field{{Offset: 20, Mask: 0x000fffff}, {Offset: 30, Mask: 0xffff0000, Shift: 36}}}
	g, err := c.Generator(tr)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	t.Run("bytes", func(t *testing.T) { sameBytes(t, c, g, tr) })
	for _, driver := range []string{"afxdp", "afpacket"} {
		t.Run(driver, func(t *testing.T) { countsAll(t, c, g, driver) })
	}
}

func sameBytes(t *testing.T, c *Cable, g *Generator, tr Traffic) {
	var p port.Port
	if err := c.Receive.NS.Do(func() (err error) {
		p, err = port.Open(port.Config{Driver: "afpacket", Device: c.Receive.Name, Queues: 1, Options: map[string]any{"head": 0}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	const packets = 3000
	if s, err := g.Send(Order{Count: packets}); err != nil || s.Packets != packets || s.Elapsed <= 0 {
		t.Fatal(s, err)
	}
	var b port.Burst
	n := uint64(0)
	for end := time.Now().Add(time.Minute); n < packets && time.Now().Before(end); {
		got := p.Queues()[0].RxBurst(&b)
		for _, f := range b.Frames[:got] {
			if want := tr.Packet(n); !bytes.Equal(f.Data, want) {
				t.Fatalf("packet %d is\n%x\nwant\n%x", n, f.Data, want)
			}
			n++
		}
		if got > 0 {
			p.Queues()[0].Release(&b)
		}
	}
	if n != packets {
		t.Errorf("%d packets arrived", n)
	}
}

func countsAll(t *testing.T, c *Cable, g *Generator, driver string) {
	before, err := c.Delivered()
	if err != nil {
		t.Fatal(err)
	}
	n, err := c.Counter(driver, Work{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	const packets, rate = 20_000, 50_000
	s, err := g.Send(Order{Count: packets, Rate: rate})
	if err != nil {
		t.Fatal(err)
	}
	if r := s.PerSecond(); r > 1.1*rate { // a busy machine is slower
		t.Errorf("%.0f packets/s", r)
	}
	var got uint64
	for end := time.Now().Add(time.Minute); got < packets && time.Now().Before(end); time.Sleep(time.Millisecond) {
		if got, err = n.Received(); err != nil {
			t.Fatal(err)
		}
	}
	after, err := c.Delivered()
	if err != nil {
		t.Fatal(err)
	}
	if got != packets || after-before != packets {
		t.Errorf("%d of %d packets came through the cable, %d were counted", after-before, packets, got)
	}
	if CPUTime(n.PID()) <= 0 {
		t.Error("counting took no time")
	}
}
