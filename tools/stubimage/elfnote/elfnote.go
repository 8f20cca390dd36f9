// Package elfnote reads and adds the ELF note by which a PVH loader finds the
// entry point of a kernel: owner "Xen", type 18 (XEN_ELFNOTE_PHYS32_ENTRY of
// Xen's public/elfnote.h), in a PT_NOTE segment.
//
// The stock Go linker cannot emit one. It leaves most of the first page between
// the headers and the first section empty; the note and its program header go
// there, so that nothing that is loaded moves.
package elfnote

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Owner and TypePhys32Entry name the note.
const (
	Owner           = "Xen"
	TypePhys32Entry = 18
)

// Sizes and field offsets of ELF64 headers (System V ABI, "Object Files").
const (
	ehdrSize, phdrSize, shdrSize = 64, 56, 64

	ehdrShoff = 40
	ehdrPhnum = 56

	noteAlign = 4
	noteSize  = 12 + 4 + 8 // header, "Xen\0", 64-bit entry
)

// ErrNoNote reports an image without a PHYS32_ENTRY note.
var ErrNoNote = errors.New("no PVH entry note (owner Xen, type 18) in any PT_NOTE segment")

// Entry returns the PVH entry point that image names, or ErrNoNote.
func Entry(image []byte) (uint64, error) {
	f, err := parse(image)
	if err != nil {
		return 0, err
	}
	return entry(f)
}

// Add returns image with a note that names its ELF entry point. An image that
// has one already comes back as it is, with added false. The input is not
// changed.
func Add(image []byte) (out []byte, added bool, err error) {
	f, err := parse(image)
	if err != nil {
		return nil, false, err
	}
	if _, err := entry(f); !errors.Is(err, ErrNoNote) {
		return image, false, err
	}
	if err := checkEntry(f); err != nil {
		return nil, false, err
	}
	out, err = insert(bytes.Clone(image), f)
	if err != nil {
		return nil, false, err
	}
	if got, err := Entry(out); err != nil || got != f.Entry {
		return nil, false, fmt.Errorf("the note written does not read back: %#x, %v", got, err)
	}
	return out, true, nil
}

// parse accepts what Xen boots as PVH and we build: a fixed x86-64 executable.
func parse(image []byte) (*elf.File, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, fmt.Errorf("not an ELF image: %w", err)
	}
	if f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB || f.Machine != elf.EM_X86_64 || f.Type != elf.ET_EXEC {
		return nil, fmt.Errorf("not a fixed x86-64 ELF executable: %v %v %v %v", f.Class, f.Data, f.Machine, f.Type)
	}
	return f, nil
}

// entry finds the note in the PT_NOTE segments.
func entry(f *elf.File) (uint64, error) {
	for i, p := range f.Progs {
		if p.Type != elf.PT_NOTE {
			continue
		}
		const limit = 1 << 20
		if p.Filesz > limit {
			return 0, fmt.Errorf("program header %d: PT_NOTE of %d bytes", i, p.Filesz)
		}
		b, err := io.ReadAll(p.Open())
		if err != nil {
			return 0, fmt.Errorf("program header %d: %w", i, err)
		}
		desc, err := find(b)
		if err != nil {
			return 0, fmt.Errorf("program header %d: %w", i, err)
		}
		switch len(desc) {
		case 0:
		case 4:
			return uint64(binary.LittleEndian.Uint32(desc)), nil
		case 8:
			return binary.LittleEndian.Uint64(desc), nil
		default:
			return 0, fmt.Errorf("program header %d: PVH entry note of %d bytes", i, len(desc))
		}
	}
	return 0, ErrNoNote
}

// find returns the descriptor of the PVH entry note in a segment of notes, or
// nil.
func find(b []byte) ([]byte, error) {
	for len(b) > 0 {
		if len(b) < 12 {
			return nil, errors.New("truncated note header")
		}
		namesz := uint64(binary.LittleEndian.Uint32(b))
		descsz := uint64(binary.LittleEndian.Uint32(b[4:]))
		typ := binary.LittleEndian.Uint32(b[8:])
		desc := 12 + align(namesz, noteAlign)
		if desc+descsz > uint64(len(b)) {
			return nil, errors.New("note longer than its segment")
		}
		if typ == TypePhys32Entry && string(b[12:12+namesz]) == Owner+"\x00" {
			if descsz == 0 {
				return nil, errors.New("empty PVH entry note")
			}
			return b[desc : desc+descsz], nil
		}
		b = b[min(desc+align(descsz, noteAlign), uint64(len(b))):]
	}
	return nil, nil
}

// checkEntry refuses an image whose entry a 32-bit start cannot reach.
func checkEntry(f *elf.File) error {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && (p.Paddr > 1<<32 || p.Memsz > 1<<32-p.Paddr) {
			return fmt.Errorf("a segment at %#x lies above 4 GiB, out of reach of a 32-bit entry", p.Paddr)
		}
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 && f.Entry >= p.Paddr && f.Entry-p.Paddr < p.Filesz {
			return nil
		}
	}
	return fmt.Errorf("entry point %#x is in no executable segment", f.Entry)
}

// insert writes the program header and the note into the slack behind the
// headers, moving the section header table up where it is in the way.
func insert(image []byte, f *elf.File) ([]byte, error) {
	le := binary.LittleEndian
	phoff, phnum := le.Uint64(image[32:]), uint64(le.Uint16(image[ehdrPhnum:]))
	shoff, shnum := le.Uint64(image[ehdrShoff:]), uint64(le.Uint16(image[60:]))
	if phoff != ehdrSize || le.Uint16(image[54:]) != phdrSize || phnum != uint64(len(f.Progs)) {
		return nil, fmt.Errorf("program headers at %#x: expected right behind the ELF header", phoff)
	}
	if shnum != uint64(len(f.Sections)) || shnum > 0 && (shoff > uint64(len(image)) || shnum*shdrSize > uint64(len(image))-shoff) {
		return nil, fmt.Errorf("section headers at %#x: %d of them do not fit the file", shoff, shnum)
	}
	limit := slackEnd(image, f)
	next := phoff + (phnum+1)*phdrSize // first byte behind the grown table
	if moved := shoff < limit; moved && shnum > 0 {
		table := bytes.Clone(image[shoff : shoff+shnum*shdrSize])
		to := align(next, 8)
		if to+uint64(len(table)) > limit {
			return nil, noRoom(to+uint64(len(table)), limit)
		}
		clear(image[shoff : shoff+shnum*shdrSize])
		copy(image[to:], table)
		le.PutUint64(image[ehdrShoff:], to)
		next = to + uint64(len(table))
	}
	at := align(next, 8)
	if at+noteSize > limit {
		return nil, noRoom(at+noteSize, limit)
	}
	if !allZero(image[at : at+noteSize]) {
		return nil, fmt.Errorf("bytes at %#x, where the note should go, are in use", at)
	}
	putNote(image[at:], f.Entry)
	putPhdr(image[phoff+phnum*phdrSize:], at, loadAddress(f, at))
	le.PutUint16(image[ehdrPhnum:], uint16(phnum+1))
	growPHDR(image, f, phoff)
	return image, nil
}

// slackEnd is where the first section's or non-header segment's bytes begin.
func slackEnd(image []byte, f *elf.File) uint64 {
	end := uint64(len(image))
	for _, s := range f.Sections {
		if s.Type != elf.SHT_NULL && s.Type != elf.SHT_NOBITS {
			end = min(end, s.Offset)
		}
	}
	for _, p := range f.Progs {
		if p.Off >= ehdrSize && p.Filesz > 0 && p.Type != elf.PT_PHDR {
			end = min(end, p.Off)
		}
	}
	return end
}

func noRoom(need, have uint64) error {
	return fmt.Errorf("no room for the note: the headers would end at %#x, the first section starts at %#x", need, have)
}

func putNote(b []byte, entry uint64) {
	le := binary.LittleEndian
	le.PutUint32(b, uint32(len(Owner)+1))
	le.PutUint32(b[4:], 8)
	le.PutUint32(b[8:], TypePhys32Entry)
	copy(b[12:], Owner+"\x00")
	le.PutUint64(b[16:], entry)
}

func putPhdr(b []byte, off, addr uint64) {
	le := binary.LittleEndian
	le.PutUint32(b, uint32(elf.PT_NOTE))
	le.PutUint32(b[4:], uint32(elf.PF_R))
	le.PutUint64(b[8:], off)
	le.PutUint64(b[16:], addr)
	le.PutUint64(b[24:], addr)
	le.PutUint64(b[32:], noteSize)
	le.PutUint64(b[40:], noteSize)
	le.PutUint64(b[48:], noteAlign)
}

// loadAddress is where the byte at file offset off is loaded, or 0.
func loadAddress(f *elf.File, off uint64) uint64 {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && off >= p.Off && off-p.Off < p.Filesz {
			return p.Paddr + off - p.Off
		}
	}
	return 0
}

// growPHDR keeps a PT_PHDR segment equal to the program header table.
func growPHDR(image []byte, f *elf.File, phoff uint64) {
	for i, p := range f.Progs {
		if p.Type == elf.PT_PHDR {
			b := image[phoff+uint64(i)*phdrSize:]
			size := uint64(len(f.Progs)+1) * phdrSize
			binary.LittleEndian.PutUint64(b[32:], size)
			binary.LittleEndian.PutUint64(b[40:], size)
		}
	}
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// align rounds n up; n comes from 32-bit fields and cannot overflow.
func align(n, to uint64) uint64 { return (n + to - 1) &^ (to - 1) }
