//go:build linux

package afxdp

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/dataplane/port/internal/netdev"
)

// What the program writes into a ring for each frame: the frame's length, four bytes of nothing, and its beginning. A short
// frame, such as those of most floods, gets a short record.
const (
	metaSize  = 8
	shortHead = 96
)

// tryObserve makes the rings and attaches the program that fills them.
func (p *Port) tryObserve(d netdev.Device, have int) error {
	if strconv.IntSize < 64 {
		return errors.New("options.observe: needs a 64-bit program, as the kernel's rings count in its words")
	}
	size := ringSize(p.opts)
	inner := &ebpf.MapSpec{Name: "weir_heads", Type: ebpf.RingBuf, MaxEntries: size}
	rings, err := p.newMap(&ebpf.MapSpec{
		Name: "weir_rings", Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: uint32(have), InnerMap: inner,
	})
	if err != nil {
		return fmt.Errorf("map of rings: %w", err)
	}
	lost, err := p.newMap(&ebpf.MapSpec{
		Name: "weir_lost", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: uint32(have),
	})
	if err != nil {
		return fmt.Errorf("map of losses: %w", err)
	}
	for _, q := range p.queues {
		t, err := newTap(inner, lost, q.number, int(size), p.opts)
		if err != nil {
			return fmt.Errorf("queue %d: %w", q.number, err)
		}
		q.put(t)
		if err := rings.Put(uint32(q.number), t.ring); err != nil {
			return fmt.Errorf("put ring of queue %d into the map: %w", q.number, err)
		}
	}
	text, err := p.attachObserver(d.Index, rings, lost)
	if err == nil {
		p.setMode(text, have)
	}
	return err
}

// ringSize is the power of two that holds Options.Frames records.
func ringSize(o Options) uint32 {
	size := uint32(unix.Getpagesize())
	for need := uint32(o.Frames * (recordHeader + metaSize + o.Head)); size < need; {
		size *= 2
	}
	return size
}

// attachObserver attaches in the wanted mode and says which it became. A device whose frames may lie in several buffers
// (a large MTU) takes only a program that says it knows; any other is better off with one that does not, since veth then
// stops sending it segments joined to one frame.
func (p *Port) attachObserver(index int, rings, lost *ebpf.Map) (string, error) {
	type try struct {
		mode  string
		flags uint32
		text  string
	}
	tries := []try{
		{native, 0, "native, observe"},
		{native, unix.BPF_F_XDP_HAS_FRAGS, "native, observe, several buffers"},
		{generic, 0, "generic, observe"},
	}
	var errs []error
	for _, t := range tries {
		if p.opts.Mode != auto && p.opts.Mode != t.mode {
			continue
		}
		var err error
		if p.program, err = loadObserver(rings, lost, p.opts, t.flags); err != nil {
			return "", err
		}
		if err = p.attachIn(t.mode, index); err == nil {
			return t.text, nil
		}
		errs = append(errs, err, p.program.Close())
		p.program = nil
		if errors.Is(err, errTaken) {
			break
		}
	}
	return "", errors.Join(errs...)
}

// loadObserver gives the program to the kernel.
func loadObserver(rings, lost *ebpf.Map, o Options, flags uint32) (*ebpf.Program, error) {
	return loadProgram(&ebpf.ProgramSpec{
		Name: "weir_observe", Flags: flags, Instructions: observer(rings.FD(), lost.FD(), o),
	})
}

// observer is the XDP program that copies a frame's beginning into the ring of its queue and passes the frame to the kernel.
// A frame of a queue without a ring is passed; one that finds no room is passed and counted in lost.
func observer(ringsFD, lostFD int, o Options) asm.Instructions {
	const (
		ring, size, record = asm.R7, asm.R8, asm.R9
		key                = int16(-4) // on the stack: the number of the queue
		pass, full, long   = "pass", "full", "long"
	)
	wakeup := int32(unix.BPF_RB_NO_WAKEUP) // the worker polls
	if o.Wait > 0 {
		wakeup = 0 // wakes a worker that had read everything
	}
	insns := asm.Instructions{
		asm.Mov.Reg(ctx, asm.R1),
		asm.LoadMem(asm.R2, ctx, mdQueue, asm.Word),
		asm.StoreMem(asm.RFP, key, asm.R2, asm.Word),
		asm.LoadMapPtr(asm.R1, ringsFD),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, int32(key)),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, pass),
		asm.Mov.Reg(ring, asm.R0),
		asm.Mov.Reg(asm.R1, ctx),
		asm.FnXdpGetBuffLen.Call(),
		asm.Mov.Reg(size, asm.R0),
		asm.JEq.Imm(size, 0, pass),
		asm.JGT.Imm(size, shortHead, long),
	}
	for _, head := range []int32{shortHead, int32(o.Head)} {
		bounded, failed := fmt.Sprint("bounded", head), fmt.Sprint("failed", head)
		reserve := asm.Instructions{
			asm.Mov.Reg(asm.R1, ring),
			asm.Mov.Imm(asm.R2, metaSize+head),
			asm.Mov.Imm(asm.R3, 0),
			asm.FnRingbufReserve.Call(),
			asm.JEq.Imm(asm.R0, 0, full),
			asm.Mov.Reg(record, asm.R0),
			asm.StoreMem(record, 0, size, asm.Word),
			asm.Mov.Reg(asm.R1, ctx),
			asm.Mov.Imm(asm.R2, 0),
			asm.Mov.Reg(asm.R3, record), asm.Add.Imm(asm.R3, metaSize),
			asm.Mov.Reg(asm.R4, size),
			asm.JLE.Imm(asm.R4, head, bounded),
			asm.Mov.Imm(asm.R4, head),
			asm.FnXdpLoadBytes.Call().WithSymbol(bounded),
			asm.JNE.Imm(asm.R0, 0, failed),
			asm.Mov.Reg(asm.R1, record),
			asm.Mov.Imm(asm.R2, wakeup),
			asm.FnRingbufSubmit.Call(),
			asm.Ja.Label(pass),
			asm.Mov.Reg(asm.R1, record).WithSymbol(failed),
			asm.Mov.Imm(asm.R2, wakeup),
			asm.FnRingbufDiscard.Call(),
			asm.Ja.Label(full),
		}
		if head != shortHead {
			reserve[0] = reserve[0].WithSymbol(long)
		}
		insns = append(insns, reserve...)
	}
	return append(insns,
		asm.LoadMapPtr(asm.R1, lostFD).WithSymbol(full),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, int32(key)),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, pass),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, xdpPass).WithSymbol(pass),
		asm.Return())
}
