package versus

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// FastNetMon's AF_XDP engine loads its XDP program from an object file that neither its package nor its source contains. microcode writes
// one that does what such a program must: it hands each frame to the socket of its queue.

// The maps that FastNetMon looks for: sockets by queue, and which queues have one, which this program has no need to know.
var microcodeMaps = []struct {
	name                    string
	kind, key, value, slots uint32
}{
	{"qidconf_map", 2, 4, 4, 64}, // BPF_MAP_TYPE_ARRAY
	{"xsks_map", 17, 4, 4, 64},   // BPF_MAP_TYPE_XSKMAP
}

// Offsets in struct xdp_md, and what the program returns for a queue without a socket.
const (
	mdQueue = 16
	xdpPass = 2
)

// mapSize is a map's definition, pointers whose types say everything: to arrays of as many elements as the number that is meant.
const mapSize = 4 * 8

// microcode is the object file.
func microcode() ([]byte, error) {
	program := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, mdQueue, asm.Word),
		asm.LoadImm(asm.R1, 0, asm.DWord), // the map, by relocation
		asm.Mov.Imm(asm.R3, xdpPass),
		asm.FnRedirectMap.Call(),
		asm.Return(),
	}
	var code bytes.Buffer
	err := program.Marshal(&code, binary.LittleEndian)
	types, err2 := mapTypes()
	if err := errors.Join(err, err2); err != nil {
		return nil, fmt.Errorf("XDP program for FastNetMon: %w", err)
	}
	const (
		prog = 1 + iota
		maps
		license
		btfSection
		relocations
		symbols
		names
		sectionNames
	)
	var strtab strings0
	symtab := make([]elf.Sym64, 1, 4)
	for i, m := range microcodeMaps {
		symtab = append(symtab, elf.Sym64{
			Name: strtab.add(m.name), Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_OBJECT), Shndx: maps, Value: uint64(i) * mapSize, Size: mapSize,
		})
	}
	symtab = append(symtab, elf.Sym64{
		Name: strtab.add("xdp_program"), Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC), Shndx: prog, Size: uint64(code.Len()),
	})
	const insn, sockets = 8, 2                                  // the load is the second instruction, the sockets' map the second symbol
	reloc := elf.Rel64{Off: insn, Info: elf.R_INFO(sockets, 1)} // R_BPF_64_64
	return object([]section{
		prog:         {name: "xdp", kind: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC | elf.SHF_EXECINSTR, data: code.Bytes()},
		maps:         {name: ".maps", kind: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC | elf.SHF_WRITE, data: make([]byte, len(microcodeMaps)*mapSize)},
		license:      {name: "license", kind: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC | elf.SHF_WRITE, data: []byte("Apache-2.0\x00")},
		btfSection:   {name: ".BTF", kind: elf.SHT_PROGBITS, data: types},
		relocations:  {name: ".relxdp", kind: elf.SHT_REL, link: symbols, info: prog, entry: 16, data: binaryOf(reloc)},
		symbols:      {name: ".symtab", kind: elf.SHT_SYMTAB, link: names, info: 1, entry: elf.Sym64Size, data: binaryOf(symtab)},
		names:        {name: ".strtab", kind: elf.SHT_STRTAB, data: strtab.bytes()},
		sectionNames: {name: ".shstrtab", kind: elf.SHT_STRTAB},
	}), nil
}

// mapTypes describes the maps as libbpf wants them: variables in a section, of structures of pointers to arrays.
func mapTypes() ([]byte, error) {
	number := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	means := func(n uint32) btf.Type {
		return &btf.Pointer{Target: &btf.Array{Index: number, Type: number, Nelems: n}}
	}
	section := &btf.Datasec{Name: ".maps", Size: uint32(len(microcodeMaps)) * mapSize}
	for i, m := range microcodeMaps {
		s := &btf.Struct{Size: mapSize}
		for j, f := range []struct {
			name  string
			value uint32
		}{{"type", m.kind}, {"key_size", m.key}, {"value_size", m.value}, {"max_entries", m.slots}} {
			s.Members = append(s.Members, btf.Member{Name: f.name, Type: means(f.value), Offset: btf.Bits(j * 64)})
		}
		v := &btf.Var{Name: m.name, Type: s, Linkage: btf.GlobalVar}
		section.Vars = append(section.Vars, btf.VarSecinfo{Type: v, Offset: uint32(i) * mapSize, Size: mapSize})
	}
	b, err := btf.NewBuilder([]btf.Type{section}, nil)
	if err != nil {
		return nil, err
	}
	return b.Marshal(nil, &btf.MarshalOptions{Order: binary.LittleEndian})
}

// section is a part of an object file.
type section struct {
	name        string
	kind        elf.SectionType
	flags       elf.SectionFlag
	link, info  uint32
	entry       uint64
	data        []byte
	nameAt      uint32
	offset, end uint64
}

// object puts sections, of which the first is none and the last gets the names, into a file for BPF.
func object(sections []section) []byte {
	var shstrtab strings0
	for i := 1; i < len(sections); i++ {
		sections[i].nameAt = shstrtab.add(sections[i].name)
	}
	sections[len(sections)-1].data = shstrtab.bytes()
	const headSize, align = 64, 8
	at := uint64(headSize)
	for i := range sections {
		s := &sections[i]
		s.offset, s.end = at, at+uint64(len(s.data))
		at = (s.end + align - 1) / align * align
	}
	head := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_BPF), Version: uint32(elf.EV_CURRENT), Shoff: at, Ehsize: headSize,
		Shentsize: 64, Shnum: uint16(len(sections)), Shstrndx: uint16(len(sections) - 1),
	}
	copy(head.Ident[:], elf.ELFMAG)
	head.Ident[elf.EI_CLASS], head.Ident[elf.EI_DATA], head.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	file := append(binaryOf(head), make([]byte, at-headSize)...)
	for i, s := range sections {
		copy(file[s.offset:], s.data)
		h := elf.Section64{
			Name: s.nameAt, Type: uint32(s.kind), Flags: uint64(s.flags), Off: s.offset, Size: s.end - s.offset,
			Link: s.link, Info: s.info, Addralign: align, Entsize: s.entry,
		}
		if i == 0 {
			h = elf.Section64{}
		}
		file = append(file, binaryOf(h)...)
	}
	return file
}

// binaryOf writes a value of fixed size.
func binaryOf(v any) []byte {
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
		panic(err) // the types are fixed
	}
	return b.Bytes()
}

// strings0 is a table of strings that end with a zero, the first of them empty.
type strings0 struct{ b []byte }

func (s *strings0) add(text string) uint32 {
	if len(s.b) == 0 {
		s.b = []byte{0}
	}
	at := len(s.b)
	s.b = append(append(s.b, text...), 0)
	return uint32(at)
}

func (s *strings0) bytes() []byte { return s.b }
