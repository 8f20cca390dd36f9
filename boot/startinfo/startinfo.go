// Package startinfo parses hvm_start_info, what Xen hands to a PVH guest at
// its entry: memory map, command line, modules.
//
// Layout: xen/include/public/arch-x86/hvm/start_info.h. The toolstack writes
// it, so it is trusted as far as the toolstack is; addresses and counts are
// checked all the same, since a wild one would end in a triple fault without a
// word.
package startinfo

import (
	"encoding/binary"
	"errors"
	"fmt"

	"xenvtpm/board/xen/abi"
)

// Limits of what Parse accepts. Xen writes far less.
const (
	MaxModules = 16
	MaxMemmap  = 128
	MaxCmdline = 4096
)

// ErrMalformed is wrapped by every error of Parse.
var ErrMalformed = errors.New("startinfo: malformed")

// ReadAt copies len(b) bytes of guest physical memory at addr. It reports
// false, and copies nothing, if any of them is not memory.
type ReadAt func(b []byte, addr uint64) bool

// Info is what was found.
type Info struct {
	Version  uint32
	Flags    uint32 // abi.SIF_*
	RSDP     uint64 // ACPI, 0 if none
	Cmdline  string
	Modules  []Module
	Memmap   []Region // version 1 and later; in Xen's order
	InitPriv bool     // SIF_INITDOMAIN: we are dom0, which no image expects
}

// Module is one boot module; its bytes are not read.
type Module struct {
	Addr, Size uint64
	Cmdline    string
}

// Region is one entry of the memory map.
type Region struct {
	Addr, Size uint64
	Type       uint32 // abi.XEN_HVM_MEMMAP_TYPE_*
}

// Parse reads the structure at addr.
func Parse(read ReadAt, addr uint64) (*Info, error) {
	le := binary.LittleEndian
	var head [abi.StartInfoSizeV1]byte
	if !read(head[:abi.StartInfoSizeV0], addr) {
		return nil, fmt.Errorf("%w: nothing at %#x", ErrMalformed, addr)
	}
	if magic := le.Uint32(head[abi.StartInfoMagic:]); magic != abi.XEN_HVM_START_MAGIC_VALUE {
		return nil, fmt.Errorf("%w: magic %#x at %#x", ErrMalformed, magic, addr)
	}
	info := &Info{
		Version: le.Uint32(head[abi.StartInfoVersion:]),
		Flags:   le.Uint32(head[abi.StartInfoFlags:]),
		RSDP:    le.Uint64(head[abi.StartInfoRSDP:]),
	}
	info.InitPriv = info.Flags&abi.SIF_INITDOMAIN != 0
	if info.Version >= 1 && !read(head[:], addr) {
		return nil, fmt.Errorf("%w: version %d is cut short", ErrMalformed, info.Version)
	}
	var err error
	if info.Cmdline, err = readString(read, le.Uint64(head[abi.StartInfoCmdline:])); err != nil {
		return nil, fmt.Errorf("command line: %w", err)
	}
	if info.Modules, err = modules(read, le.Uint64(head[abi.StartInfoModlist:]), le.Uint32(head[abi.StartInfoNrModules:])); err != nil {
		return nil, err
	}
	if info.Version < 1 {
		return info, nil
	}
	if info.Memmap, err = memmap(read, le.Uint64(head[abi.StartInfoMemmap:]), le.Uint32(head[abi.StartInfoMemmapEntries:])); err != nil {
		return nil, err
	}
	return info, nil
}

func modules(read ReadAt, addr uint64, n uint32) ([]Module, error) {
	if n > MaxModules {
		return nil, fmt.Errorf("%w: %d modules", ErrMalformed, n)
	}
	le := binary.LittleEndian
	var list []Module
	for i := range uint64(n) {
		var e [abi.ModlistEntrySize]byte
		at := addr + i*abi.ModlistEntrySize
		if at < addr || !read(e[:], at) {
			return nil, fmt.Errorf("%w: module entry %d at %#x", ErrMalformed, i, at)
		}
		m := Module{Addr: le.Uint64(e[abi.ModlistPaddr:]), Size: le.Uint64(e[abi.ModlistSize:])}
		if m.Addr+m.Size < m.Addr {
			return nil, fmt.Errorf("%w: module %d wraps around", ErrMalformed, i)
		}
		var err error
		if m.Cmdline, err = readString(read, le.Uint64(e[abi.ModlistCmdline:])); err != nil {
			return nil, fmt.Errorf("module %d: %w", i, err)
		}
		list = append(list, m)
	}
	return list, nil
}

func memmap(read ReadAt, addr uint64, n uint32) ([]Region, error) {
	if n > MaxMemmap {
		return nil, fmt.Errorf("%w: %d memory-map entries", ErrMalformed, n)
	}
	le := binary.LittleEndian
	var list []Region
	for i := range uint64(n) {
		var e [abi.MemmapEntrySize]byte
		at := addr + i*abi.MemmapEntrySize
		if at < addr || !read(e[:], at) {
			return nil, fmt.Errorf("%w: memory-map entry %d at %#x", ErrMalformed, i, at)
		}
		r := Region{
			Addr: le.Uint64(e[abi.MemmapAddr:]), Size: le.Uint64(e[abi.MemmapSize:]),
			Type: le.Uint32(e[abi.MemmapType:]),
		}
		if r.Addr+r.Size < r.Addr {
			return nil, fmt.Errorf("%w: memory-map entry %d wraps around", ErrMalformed, i)
		}
		list = append(list, r)
	}
	return list, nil
}

// readString reads a NUL-terminated string; address 0 is none.
func readString(read ReadAt, addr uint64) (string, error) {
	if addr == 0 {
		return "", nil
	}
	var s []byte
	var c [1]byte
	for i := range uint64(MaxCmdline) {
		if addr+i < addr || !read(c[:], addr+i) {
			return "", fmt.Errorf("%w: string at %#x runs out of memory", ErrMalformed, addr)
		}
		if c[0] == 0 {
			return string(s), nil
		}
		s = append(s, c[0])
	}
	return "", fmt.Errorf("%w: string at %#x is longer than %d", ErrMalformed, addr, MaxCmdline)
}

// RAM returns the largest RAM region of the map that contains addr, joined
// with RAM regions that touch it; ok is false if addr is not in RAM.
func (i *Info) RAM(addr uint64) (r Region, ok bool) {
	for _, m := range i.Memmap {
		if m.Type == abi.XEN_HVM_MEMMAP_TYPE_RAM && addr >= m.Addr && addr-m.Addr < m.Size {
			r, ok = m, true
			break
		}
	}
	if !ok {
		return Region{}, false
	}
	for grown := true; grown; {
		grown = false
		for _, m := range i.Memmap {
			if m.Type != abi.XEN_HVM_MEMMAP_TYPE_RAM || m.Size == 0 {
				continue
			}
			start, end := min(r.Addr, m.Addr), max(r.Addr+r.Size, m.Addr+m.Size)
			touches := m.Addr <= r.Addr+r.Size && r.Addr <= m.Addr+m.Size
			if touches && (start != r.Addr || end != r.Addr+r.Size) {
				r.Addr, r.Size, grown = start, end-start, true
			}
		}
	}
	return r, true
}
