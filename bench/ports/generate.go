package ports

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/dataplane/port/porttest"
)

// generatorKey holds the orders of a generator process.
const generatorKey = "WEIR_BENCH_GENERATE"

// order is what a generator sends.
type order struct {
	device string
	v6     bool
	one    bool // one destination, else a random one of 65,536
	rate   int  // packets per second; 0 is as fast as possible
}

func (o order) String() string { return fmt.Sprintf("%s %t %t %d", o.device, o.v6, o.one, o.rate) }

// Child becomes the generator when this process was started as one, and then never returns. The main function and the
// TestMain of whoever calls Run or Table must call it first.
func Child() {
	text := os.Getenv(generatorKey)
	if text == "" {
		return
	}
	var o order
	_, err := fmt.Fscanf(strings.NewReader(text), "%s %t %t %d", &o.device, &o.v6, &o.one, &o.rate)
	if err == nil {
		err = o.send()
	}
	fmt.Fprintln(os.Stderr, "generator:", err)
	os.Exit(1)
}

// send sends until the process is killed.
func (o order) send() error {
	if err := pin(generatorCPU()); err != nil {
		return err
	}
	if o.rate > 0 {
		return o.paced()
	}
	return o.flat()
}

// frame is the template: sources and ports are random later.
func (o order) frame() []byte {
	f := porttest.Build(0, porttest.Shape{Size: 60, V6: o.v6})
	if o.v6 {
		copy(f[14+24:], net.ParseIP("2001:db8::1"))
	} else {
		copy(f[14+16:], []byte{10, 0, 0, 1})
	}
	return f
}

// places are where the two low bytes of source and destination and the source port lie.
func (o order) places() (src, dst, sport int16) {
	if o.v6 {
		return 14 + 22, 14 + 38, 14 + 40
	}
	return 14 + 14, 14 + 18, 14 + 20
}

// paced sends a thousandth of the rate each millisecond, from a packet socket.
func (o order) paced() error {
	s, err := porttest.NewSender(o.device)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	src, dst, sport := o.places()
	rnd := rand.New(rand.NewPCG(1, 2))
	frames := make([][]byte, 1<<15)
	for i := range frames {
		f := o.frame()
		binary.BigEndian.PutUint16(f[src:], uint16(rnd.Uint32()))
		binary.BigEndian.PutUint16(f[sport:], uint16(rnd.Uint32()))
		if !o.one {
			binary.BigEndian.PutUint16(f[dst:], uint16(rnd.Uint32()))
		}
		frames[i] = f
	}
	begin := time.Now()
	for sent := 0; ; {
		for due := int(time.Since(begin).Seconds() * float64(o.rate)); sent < due; sent++ {
			i := sent % len(frames)
			if _, err := s.Send(frames[i : i+1]); err != nil {
				return err
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// flat has the kernel run an XDP program that changes a frame and redirects it into the device, over and over: several
// million packets a second without a system call each.
func (o order) flat() error {
	dev, err := net.InterfaceByName(o.device)
	if err != nil {
		return err
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "weir_generate", Type: ebpf.XDP, License: "Apache-2.0", Instructions: o.program(dev.Index),
	})
	if err != nil {
		return fmt.Errorf("generator program: %w", err)
	}
	defer func() { _ = prog.Close() }()
	for {
		_, err := prog.Run(&ebpf.RunOptions{
			Data: o.frame(), Repeat: 1 << 20, Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES, BatchSize: 64,
		})
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("run generator program: %w", err)
		}
	}
}

func (o order) program(index int) asm.Instructions {
	const data, end = asm.R7, asm.R8
	src, dst, sport := o.places()
	insns := asm.Instructions{
		asm.LoadMem(data, asm.R1, 0, asm.Word),
		asm.LoadMem(end, asm.R1, 4, asm.Word),
		asm.Mov.Reg(asm.R2, data), asm.Add.Imm(asm.R2, 60), asm.JGT.Reg(asm.R2, end, "drop"),
		asm.FnGetPrandomU32.Call(),
		asm.StoreMem(data, src, asm.R0, asm.Half),
		asm.RSh.Imm(asm.R0, 16),
		asm.StoreMem(data, sport, asm.R0, asm.Half),
	}
	if !o.one {
		insns = append(insns, asm.FnGetPrandomU32.Call(), asm.StoreMem(data, dst, asm.R0, asm.Half))
	}
	return append(insns,
		asm.Mov.Imm(asm.R1, int32(index)), asm.Mov.Imm(asm.R2, 0), asm.FnRedirect.Call(), asm.Return(),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("drop"), asm.Return())
}
