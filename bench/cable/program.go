package cable

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// state is the one entry of the program's state map: what is to be sent, and how far it is. The program is its only writer
// while it runs.
type state struct {
	N        uint64 // packets sent
	Limit    uint64 // packets to send
	Interval uint64 // nanoseconds between packets; 0 is as fast as it goes
	Next     uint64 // when the next packet is due, by the kernel's monotonic clock
	Begin    uint64 // when the first packet was sent
	End      uint64 // when the last one was
}

// Offsets in state.
const (
	stateN        = 8 * iota
	stateLimit    = 8 * iota
	stateInterval = 8 * iota
	stateNext     = 8 * iota
	stateBegin    = 8 * iota
	stateEnd      = 8 * iota
	stateSize     = 8 * iota
)

const (
	// frameSize is an entry of the map of frames: the length, and the frame.
	frameSize = 4 + MaxFrame + 2
	// waits is how often one run of the program looks at the clock before it gives up its turn, some ten microseconds.
	waits = 4096
	// lag is how much a paced generator that was held up makes good: longer gaps are lost, so that it never sends a burst that
	// no receiver was promised.
	lag = time.Millisecond
)

// Places on the program's stack.
const (
	stackKey   = -4
	stackIndex = -8
)

// program sends the next packet, or drops the kernel's frame when there is nothing to send or it is not due yet.
func program(t Traffic, states, frames *ebpf.Map, device int) asm.Instructions {
	insns := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1), // the frame's context
		asm.StoreImm(asm.RFP, stackKey, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, states.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, stackKey),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "drop"),
		asm.Mov.Reg(asm.R9, asm.R0), // the state
		asm.LoadMem(asm.R7, asm.R9, stateN, asm.DWord),
		asm.LoadMem(asm.R1, asm.R9, stateLimit, asm.DWord),
		asm.JGE.Reg(asm.R7, asm.R1, "drop"),
	}
	insns = append(insns, pace()...)
	insns = append(insns, stamp()...)
	insns = append(insns, fill(t, frames)...)
	insns = append(insns, vary(t)...)
	return append(insns,
		asm.Mov.Imm(asm.R1, int32(device)).WithSymbol("send"), asm.Mov.Imm(asm.R2, 0), asm.FnRedirect.Call(), asm.Return(),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("drop"), asm.Return(), // XDP_DROP
	)
}

// pace waits until the packet is due, or gives up.
func pace() asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, asm.R9, stateInterval, asm.DWord),
		asm.JEq.Imm(asm.R1, 0, "go"),
		asm.Mov.Imm(asm.R8, waits),
		asm.FnKtimeGetNs.Call().WithSymbol("wait"),
		asm.LoadMem(asm.R1, asm.R9, stateNext, asm.DWord),
		asm.JGE.Reg(asm.R0, asm.R1, "due"),
		asm.Sub.Imm(asm.R8, 1),
		asm.JNE.Imm(asm.R8, 0, "wait"),
		asm.Ja.Label("drop"),
		asm.LoadMem(asm.R2, asm.R9, stateInterval, asm.DWord).WithSymbol("due"),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.Sub.Imm(asm.R0, int32(lag)),
		asm.JGE.Reg(asm.R1, asm.R0, "kept"),
		asm.Mov.Reg(asm.R1, asm.R0),
		asm.StoreMem(asm.R9, stateNext, asm.R1, asm.DWord).WithSymbol("kept"),
	}
}

// stamp notes the time of the first and the last packet, and counts.
func stamp() asm.Instructions {
	return asm.Instructions{
		asm.JNE.Imm(asm.R7, 0, "begun").WithSymbol("go"),
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.R9, stateBegin, asm.R0, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.R7).WithSymbol("begun"),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R9, stateN, asm.R1, asm.DWord),
		asm.LoadMem(asm.R2, asm.R9, stateLimit, asm.DWord),
		asm.JNE.Reg(asm.R1, asm.R2, "more"),
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.R9, stateEnd, asm.R0, asm.DWord),
	}
}

// fill copies the packet's frame; what the last user of the memory left there is not relied upon, since the receiving stack
// moves headers to take out a VLAN tag.
func fill(t Traffic, frames *ebpf.Map) asm.Instructions {
	insns := asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R7).WithSymbol("more"),
		asm.Mod.Imm(asm.R1, int32(len(t.Frames))),
		asm.StoreMem(asm.RFP, stackIndex, asm.R1, asm.Word),
		asm.LoadMapPtr(asm.R1, frames.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, stackIndex),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "drop"),
		asm.Mov.Reg(asm.R8, asm.R0),
	}
	if !t.even() {
		insns = append(insns,
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.LoadMem(asm.R2, asm.R8, 0, asm.Word),
			asm.Sub.Imm(asm.R2, int32(t.longest())),
			asm.FnXdpAdjustTail.Call(),
			asm.JNE.Imm(asm.R0, 0, "drop"),
		)
	}
	return append(insns,
		asm.LoadMem(asm.R4, asm.R8, 0, asm.Word),
		asm.JLT.Imm(asm.R4, minFrame, "drop"), // for the verifier
		asm.JGT.Imm(asm.R4, MaxFrame, "drop"),
		asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, 0),
		asm.Mov.Reg(asm.R3, asm.R8), asm.Add.Imm(asm.R3, 4),
		asm.FnXdpStoreBytes.Call(),
	)
}

// vary changes the fields, as Traffic.Packet does.
func vary(t Traffic) asm.Instructions {
	if len(t.Fields) == 0 {
		return nil
	}
	insns := asm.Instructions{
		asm.LoadMem(asm.R8, asm.R6, 0, asm.Word), // data
		asm.LoadMem(asm.R1, asm.R6, 4, asm.Word), // its end
		asm.Mov.Reg(asm.R2, asm.R8), asm.Add.Imm(asm.R2, int32(t.fieldsEnd())),
		asm.JGT.Reg(asm.R2, asm.R1, "send"),
		asm.LoadImm(asm.R1, -0x61c8864680b583eb, asm.DWord), // golden
		asm.Mul.Reg(asm.R7, asm.R1),
	}
	for _, f := range t.Fields {
		at := int16(f.Offset)
		insns = append(insns,
			asm.Mov.Reg(asm.R1, asm.R7), asm.RSh.Imm(asm.R1, int32(f.Shift)), asm.And.Imm32(asm.R1, int32(f.Mask)),
			asm.LoadMem(asm.R2, asm.R8, at, asm.Word), asm.HostTo(asm.BE, asm.R2, asm.Word), asm.And.Imm32(asm.R2, int32(^f.Mask)),
			asm.Or.Reg32(asm.R2, asm.R1), asm.HostTo(asm.BE, asm.R2, asm.Word), asm.StoreMem(asm.R8, at, asm.R2, asm.Word),
		)
	}
	return insns
}

// loaded is the program in the kernel, with its maps.
type loaded struct {
	prog           *ebpf.Program
	states, frames *ebpf.Map
}

func (l *loaded) close() {
	for _, c := range []interface{ Close() error }{l.prog, l.states, l.frames} {
		_ = c.Close() // the process ends next
	}
}

// load makes the maps and the program that sends to the device with that index.
func load(t Traffic, device int) (l *loaded, err error) {
	l = new(loaded)
	l.states, err = ebpf.NewMap(&ebpf.MapSpec{Name: "weir_state", Type: ebpf.Array, KeySize: 4, ValueSize: stateSize, MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("map of the generator's state: %w", err)
	}
	l.frames, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "weir_frames", Type: ebpf.Array, KeySize: 4, ValueSize: frameSize, MaxEntries: uint32(len(t.Frames)),
	})
	if err != nil {
		return nil, fmt.Errorf("map of the generator's frames: %w", err)
	}
	for i, f := range t.Frames {
		entry := make([]byte, frameSize)
		binary.NativeEndian.PutUint32(entry, uint32(len(f)))
		copy(entry[4:], f)
		if err := l.frames.Put(uint32(i), entry); err != nil {
			return nil, fmt.Errorf("frame %d: %w", i, err)
		}
	}
	l.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "weir_generate", Type: ebpf.XDP, License: "Apache-2.0", Instructions: program(t, l.states, l.frames, device),
	})
	if err != nil {
		return nil, fmt.Errorf("generator program: %w", err)
	}
	return l, nil
}
