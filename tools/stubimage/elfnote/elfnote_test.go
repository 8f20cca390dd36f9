package elfnote

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// image describes a small executable laid out as the Go linker does it:
// headers, section headers right behind, slack, then code.
type image struct {
	entry, codeOff, addr uint64
	shoff                uint64 // of the section header table; 0: right behind the program headers
	notes                []byte // contents of a PT_NOTE segment at 0xf00, none if empty
	flags                elf.ProgFlag
	typ                  elf.Type
	machine              elf.Machine
}

func small() image {
	return image{entry: 0x101000, codeOff: 0x1000, addr: 0x100000, flags: elf.PF_R | elf.PF_X, typ: elf.ET_EXEC, machine: elf.EM_X86_64}
}

func (im image) bytes() []byte {
	le := binary.LittleEndian
	b := make([]byte, im.codeOff+0x100)
	var phdrs [][]byte
	add := func(typ elf.ProgType, flags elf.ProgFlag, off, addr, size uint64) {
		p := make([]byte, phdrSize)
		le.PutUint32(p, uint32(typ))
		le.PutUint32(p[4:], uint32(flags))
		le.PutUint64(p[8:], off)
		le.PutUint64(p[16:], addr)
		le.PutUint64(p[24:], addr)
		le.PutUint64(p[32:], size)
		le.PutUint64(p[40:], size)
		le.PutUint64(p[48:], 8)
		phdrs = append(phdrs, p)
	}
	add(elf.PT_PHDR, elf.PF_R, ehdrSize, im.addr+ehdrSize, 2*phdrSize)
	add(elf.PT_LOAD, im.flags, 0, im.addr, uint64(len(b)))
	if len(im.notes) > 0 {
		copy(b[0xf00:], im.notes)
		add(elf.PT_NOTE, elf.PF_R, 0xf00, im.addr+0xf00, uint64(len(im.notes)))
	}
	for i, p := range phdrs {
		copy(b[ehdrSize+i*phdrSize:], p)
	}
	shoff := im.shoff
	if shoff == 0 {
		shoff = uint64(ehdrSize + len(phdrs)*phdrSize)
	}
	if need := shoff + 3*shdrSize; uint64(len(b)) < need {
		b = append(b, make([]byte, need-uint64(len(b)))...)
	}
	section := func(i int, name uint32, typ elf.SectionType, off, size uint64) {
		s := b[shoff+uint64(i)*shdrSize:]
		le.PutUint32(s, name)
		le.PutUint32(s[4:], uint32(typ))
		le.PutUint64(s[16:], im.addr+off)
		le.PutUint64(s[24:], off)
		le.PutUint64(s[32:], size)
	}
	copy(b[im.codeOff+0x80:], "\x00.text\x00.shstrtab\x00")
	section(1, 1, elf.SHT_PROGBITS, im.codeOff, 0x80)
	section(2, 7, elf.SHT_STRTAB, im.codeOff+0x80, 18)

	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], uint16(im.typ))
	le.PutUint16(b[18:], uint16(im.machine))
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], im.entry)
	le.PutUint64(b[32:], ehdrSize)
	le.PutUint64(b[ehdrShoff:], shoff)
	le.PutUint16(b[52:], ehdrSize)
	le.PutUint16(b[54:], phdrSize)
	le.PutUint16(b[ehdrPhnum:], uint16(len(phdrs)))
	le.PutUint16(b[58:], shdrSize)
	le.PutUint16(b[60:], 3)
	le.PutUint16(b[62:], 2)
	return b
}

func note(owner string, typ uint32, desc []byte) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, uint32(len(owner)))
	b = le.AppendUint32(b, uint32(len(desc)))
	b = le.AppendUint32(b, typ)
	b = append(b, owner...)
	b = append(b, make([]byte, align(uint64(len(b)), 4)-uint64(len(b)))...)
	b = append(b, desc...)
	return append(b, make([]byte, align(uint64(len(b)), 4)-uint64(len(b)))...)
}

func TestAdd(t *testing.T) {
	in := small().bytes()
	before := bytes.Clone(in)
	out, added, err := Add(in)
	if err != nil || !added {
		t.Fatalf("added %v, %v", added, err)
	}
	if !bytes.Equal(in, before) {
		t.Error("the input changed")
	}
	if len(out) != len(in) || !bytes.Equal(out[0x1000:], in[0x1000:]) {
		t.Error("what is loaded from the first section on has changed")
	}
	if got, err := Entry(out); err != nil || got != 0x101000 {
		t.Errorf("entry %#x, %v", got, err)
	}
	f, err := elf.NewFile(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	last := f.Progs[len(f.Progs)-1]
	if len(f.Progs) != 3 || last.Type != elf.PT_NOTE || last.Filesz != noteSize || last.Paddr != 0x100000+last.Off || last.Align != 4 {
		t.Errorf("program headers %+v", last)
	}
	if f.Progs[0].Filesz != 3*phdrSize || f.Progs[0].Memsz != 3*phdrSize {
		t.Errorf("PT_PHDR of %d bytes", f.Progs[0].Filesz)
	}
	if len(f.Sections) != 3 || f.Sections[1].Name != ".text" || f.Sections[1].Offset != 0x1000 {
		t.Errorf("sections %v", f.Sections)
	}
	again, added, err := Add(out)
	if err != nil || added || !bytes.Equal(again, out) {
		t.Errorf("a second time: added %v, %v", added, err)
	}
}

func TestAddVariants(t *testing.T) {
	with := func(f func(*image)) []byte { im := small(); f(&im); return im.bytes() }
	desc8 := binary.LittleEndian.AppendUint64(nil, 0x123456)
	desc4 := binary.LittleEndian.AppendUint32(nil, 0x123456)
	for name, tt := range map[string]struct {
		in    []byte
		added bool
		entry uint64
		err   string
	}{
		"sections at the end":  {with(func(im *image) { im.shoff = 0x1100 }), true, 0x101000, ""},
		"another vendor first": {with(func(im *image) { im.notes = note("Go\x00", 4, []byte("id")) }), true, 0x101000, ""},
		"has one of 8 bytes":   {with(func(im *image) { im.notes = note("Xen\x00", 18, desc8) }), false, 0x123456, ""},
		"has one of 4 bytes":   {with(func(im *image) { im.notes = note("Xen\x00", 18, desc4) }), false, 0x123456, ""},
		"second note":          {with(func(im *image) { im.notes = append(note("Go\x00", 18, nil), note("Xen\x00", 18, desc4)...) }), false, 0x123456, ""},
		"Xen, another type":    {with(func(im *image) { im.notes = note("Xen\x00", 6, []byte("4.17")) }), true, 0x101000, ""},
		"owner only like Xen":  {with(func(im *image) { im.notes = note("Xenx", 18, desc4) }), true, 0x101000, ""},
		"odd note":             {with(func(im *image) { im.notes = note("Xen\x00", 18, []byte{1, 2}) }), false, 0, "2 bytes"},
		"empty note":           {with(func(im *image) { im.notes = note("Xen\x00", 18, nil) }), false, 0, "empty"},
		"note too long":        {with(func(im *image) { im.notes = note("Xen\x00", 18, desc8)[:20] }), false, 0, "longer than its segment"},
		"truncated note":       {with(func(im *image) { im.notes = []byte{4, 0, 0, 0} }), false, 0, "truncated"},
		"no room":              {with(func(im *image) { im.codeOff, im.entry = 0x1a0, 0x1001a0 }), false, 0, "no room"},
		"entry outside":        {with(func(im *image) { im.entry = 0x500000 }), false, 0, "no executable segment"},
		"entry not executable": {with(func(im *image) { im.flags = elf.PF_R }), false, 0, "no executable segment"},
		"above 4 GiB":          {with(func(im *image) { im.addr, im.entry = 1<<32, 1<<32+0x1000 }), false, 0, "above 4 GiB"},
		"wraps around":         {with(func(im *image) { im.addr, im.entry = ^uint64(0xfff), 0 }), false, 0, "above 4 GiB"},
		"relocatable":          {with(func(im *image) { im.typ = elf.ET_DYN }), false, 0, "not a fixed"},
		"another machine":      {with(func(im *image) { im.machine = elf.EM_AARCH64 }), false, 0, "not a fixed"},
		"not ELF":              {[]byte("#!/bin/sh\n"), false, 0, "not an ELF"},
		"empty":                {nil, false, 0, "not an ELF"},
		"slack in use":         {func() []byte { b := small().bytes(); copy(b[400:0xf00], bytes.Repeat([]byte{1}, 0xb00)); return b }(), false, 0, "in use"},
	} {
		t.Run(name, func(t *testing.T) {
			out, added, err := Add(tt.in)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || added != tt.added {
				t.Fatalf("added %v, %v", added, err)
			}
			if got, err := Entry(out); err != nil || got != tt.entry {
				t.Errorf("entry %#x, %v", got, err)
			}
		})
	}
}

func TestEntryMissing(t *testing.T) {
	if _, err := Entry(small().bytes()); !errors.Is(err, ErrNoNote) {
		t.Errorf("error %v", err)
	}
}

// TestLinked adds the note to a program that the stock linker made, and asks
// readelf where it is installed.
func TestLinked(t *testing.T) {
	if testing.Short() {
		t.Skip("links a program")
	}
	dir := t.TempDir()
	src, bin := filepath.Join(dir, "main.go"), filepath.Join(dir, "main")
	if err := os.WriteFile(src, []byte("package main\n\nfunc main() { println(\"runs\") }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w -buildid=", "-o", bin, src)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	b, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	out, added, err := Add(b)
	if err != nil || !added {
		t.Fatalf("added %v, %v", added, err)
	}
	if err := os.WriteFile(bin, out, 0o755); err != nil {
		t.Fatal(err)
	}
	if b, err := exec.Command(bin).CombinedOutput(); err != nil || string(b) != "runs\n" {
		t.Errorf("the program no longer runs: %v %q", err, b)
	}
	readelf, err := exec.LookPath("readelf")
	if err != nil {
		t.Skip("no readelf")
	}
	text, err := exec.Command(readelf, "-lSW", bin).CombinedOutput()
	if err != nil || strings.Contains(strings.ToLower(string(text)), "warning") {
		t.Errorf("readelf: %v\n%s", err, text)
	}
}

func FuzzAdd(f *testing.F) {
	im := small() // in fewer bytes, for the fuzzer's sake
	im.codeOff, im.entry = 0x300, 0x100300
	f.Add(im.bytes())
	im.codeOff, im.entry = 0xf80, 0x100f80
	im.notes = note("Xen\x00", 18, make([]byte, 8))
	f.Add(im.bytes())
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, added, err := Add(b)
		if err != nil {
			return
		}
		if len(out) != len(b) || !added && !bytes.Equal(out, b) {
			t.Fatal("changed more than it said")
		}
		if _, err := Entry(out); err != nil {
			t.Fatal(err)
		}
	})
}
