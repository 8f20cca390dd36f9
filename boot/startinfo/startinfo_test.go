package startinfo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"xenvtpm/board/xen/abi"
)

// image is guest memory from address 0x1000 on.
type image []byte

const origin = 0x1000

func (m image) read(b []byte, addr uint64) bool {
	if addr < origin || addr-origin > uint64(len(m)) || uint64(len(b)) > uint64(len(m))-(addr-origin) {
		return false
	}
	copy(b, m[addr-origin:])
	return true
}

func (m image) u32(addr int, v uint32) { binary.LittleEndian.PutUint32(m[addr-origin:], v) }
func (m image) u64(addr int, v uint64) { binary.LittleEndian.PutUint64(m[addr-origin:], v) }
func (m image) str(addr int, s string) { copy(m[addr-origin:], s+"\x00") }

// example is laid out as Xen's toolstack does it for a PVH guest.
func example() image {
	m := make(image, 0x2000)
	m.u32(0x1000, abi.XEN_HVM_START_MAGIC_VALUE)
	m.u32(0x1004, 1)
	m.u32(0x100C, 1)
	m.u64(0x1010, 0x1100) // modlist
	m.u64(0x1018, 0x1200) // cmdline
	m.u64(0x1020, 0xFC009000)
	m.u64(0x1028, 0x1300) // memmap
	m.u32(0x1030, 3)
	m.u64(0x1100, 0x400000)
	m.u64(0x1108, 1234)
	m.u64(0x1110, 0x1280)
	m.str(0x1200, `vtpm locality=2 extra="a b"`)
	m.str(0x1280, "module args")
	for i, r := range []Region{
		{0, 0x1000000, abi.XEN_HVM_MEMMAP_TYPE_RAM},
		{0x1000000, 0x400000, abi.XEN_HVM_MEMMAP_TYPE_RAM},
		{0xFC000000, 0x1000, abi.XEN_HVM_MEMMAP_TYPE_ACPI},
	} {
		m.u64(0x1300+24*i, r.Addr)
		m.u64(0x1308+24*i, r.Size)
		m.u32(0x1310+24*i, r.Type)
	}
	return m
}

func TestParse(t *testing.T) {
	info, err := Parse(example().read, origin)
	if err != nil {
		t.Fatal(err)
	}
	if info.Version != 1 || info.RSDP != 0xFC009000 || info.InitPriv || info.Cmdline != `vtpm locality=2 extra="a b"` {
		t.Errorf("%+v", info)
	}
	if !slices.Equal(info.Modules, []Module{{0x400000, 1234, "module args"}}) {
		t.Errorf("modules %+v", info.Modules)
	}
	if len(info.Memmap) != 3 || info.Memmap[2] != (Region{0xFC000000, 0x1000, abi.XEN_HVM_MEMMAP_TYPE_ACPI}) {
		t.Errorf("memory map %+v", info.Memmap)
	}
	if r, ok := info.RAM(0x100000); !ok || r.Addr != 0 || r.Size != 0x1400000 {
		t.Errorf("RAM %+v, %v", r, ok)
	}
	for _, addr := range []uint64{0x1400000, 0xFC000000, ^uint64(0)} {
		if r, ok := info.RAM(addr); ok {
			t.Errorf("%#x is RAM: %+v", addr, r)
		}
	}
	m := example()
	m.u32(0x1004, 0)
	m.u64(0x1028, ^uint64(0)) // not there in version 0
	if info, err = Parse(m.read, origin); err != nil || info.Memmap != nil {
		t.Errorf("version 0: %+v, %v", info, err)
	}
	m = example()
	m.u64(0x1018, 0)
	m.u32(0x1008, abi.SIF_INITDOMAIN)
	if info, err = Parse(m.read, origin); err != nil || info.Cmdline != "" || !info.InitPriv {
		t.Errorf("no command line: %+v, %v", info, err)
	}
}

func TestMalformed(t *testing.T) {
	for name, damage := range map[string]func(m image) (image, uint64){
		"no memory at all":           func(m image) (image, uint64) { return m, 0 },
		"wrapping address":           func(m image) (image, uint64) { return m, ^uint64(0) - 10 },
		"magic":                      func(m image) (image, uint64) { m.u32(0x1000, 1); return m, origin },
		"cut short":                  func(m image) (image, uint64) { return m[:48], origin },
		"modules without end":        func(m image) (image, uint64) { m.u32(0x100C, 17); return m, origin },
		"modules, all ones":          func(m image) (image, uint64) { m.u32(0x100C, ^uint32(0)); return m, origin },
		"module list elsewhere":      func(m image) (image, uint64) { m.u64(0x1010, 1<<40); return m, origin },
		"module list wraps":          func(m image) (image, uint64) { m.u64(0x1010, ^uint64(0)-40); return m, origin },
		"module wraps":               func(m image) (image, uint64) { m.u64(0x1108, ^uint64(0)); return m, origin },
		"module command line":        func(m image) (image, uint64) { m.u64(0x1110, 1); return m, origin },
		"command line elsewhere":     func(m image) (image, uint64) { m.u64(0x1018, 1<<50); return m, origin },
		"command line at the end":    func(m image) (image, uint64) { m.u64(0x1018, ^uint64(0)); return m, origin },
		"memory map without end":     func(m image) (image, uint64) { m.u32(0x1030, 129); return m, origin },
		"memory map elsewhere":       func(m image) (image, uint64) { m.u64(0x1028, 0x2FF0); return m, origin },
		"region wraps":               func(m image) (image, uint64) { m.u64(0x1308, ^uint64(0)); m.u64(0x1300, 2); return m, origin },
		"command line without a NUL": func(m image) (image, uint64) { m.u64(0x1018, 0x2FFF); m[0x1FFF] = 'x'; return m, origin },
		"command line very long": func(m image) (image, uint64) {
			m = append(m, []byte(strings.Repeat("x", 2*MaxCmdline))...)
			m.u64(0x1018, 0x3000)
			return m, origin
		},
	} {
		m, addr := damage(example())
		if info, err := Parse(m.read, addr); !errors.Is(err, ErrMalformed) || info != nil {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
}

// TestWrappingLists: where every address is memory, a list that runs over the
// end of the address space is still refused.
func TestWrappingLists(t *testing.T) {
	for _, field := range []int{abi.StartInfoModlist, abi.StartInfoMemmap} {
		m := example()
		m.u32(0x100C, 2)
		m.u64(0x1000+field, ^uint64(0)-31)
		_, err := Parse(func(b []byte, addr uint64) bool {
			if !m.read(b, addr) {
				clear(b)
			}
			return true
		}, origin)
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("field %d: %v", field, err)
		}
	}
}

func TestCmdline(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "[]",
		"  \t\n ":                   "[]",
		"a":                         "[{a  true}]",
		"a=":                        "[{a  false}]",
		"a=b c d=e=f":               "[{a b false} {c  true} {d e=f false}]",
		`a="b c" d`:                 "[{a b c false} {d  true}]",
		`"a=b c" d`:                 "[{a b c false} {d  true}]",
		`a=x"y z"w`:                 "[{a xy zw false}]",
		`""`:                        "[{  true}]",
		"hwinitpcr=0-3 hwinitpcr=7": "[{hwinitpcr 0-3 false} {hwinitpcr 7 false}]",
	} {
		got, err := ParseCmdline(in)
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q: %v, %v, want %s", in, got, err, want)
		}
	}
	if _, err := ParseCmdline(`a="b`); err == nil {
		t.Error("unclosed quote accepted")
	}
	o, _ := ParseCmdline("x=1 y x=2")
	if v, ok := o.Get("x"); v != "2" || !ok {
		t.Errorf("Get: %q", v)
	}
	if _, ok := o.Get("z"); ok {
		t.Error("Get finds what is not there")
	}
	if !slices.Equal(o.All("x"), []string{"1", "2"}) || o.All("z") != nil {
		t.Errorf("All: %q", o.All("x"))
	}
	if o.Unknown("x", "y") != "" || o.Unknown("x") != "y" {
		t.Error("Unknown")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example()), uint64(origin))
	f.Add([]byte(example()[:60]), uint64(origin))
	f.Add([]byte{}, uint64(0))
	f.Fuzz(func(t *testing.T, mem []byte, addr uint64) {
		reads := 0
		info, err := Parse(func(b []byte, at uint64) bool {
			reads++
			return image(mem).read(b, at)
		}, addr)
		if reads > (MaxModules+1)*(MaxCmdline+2)+MaxMemmap+3 {
			t.Fatalf("%d reads", reads)
		}
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error without a name: %v", err)
			}
			return
		}
		if len(info.Cmdline) >= MaxCmdline || len(info.Modules) > MaxModules || len(info.Memmap) > MaxMemmap {
			t.Fatal("limits")
		}
		for _, r := range info.Memmap {
			if got, ok := info.RAM(r.Addr); ok && (got.Addr > r.Addr || got.Addr+got.Size < got.Addr) {
				t.Fatalf("RAM(%#x) = %+v", r.Addr, got)
			}
		}
	})
}

func FuzzCmdline(f *testing.F) {
	f.Add(`a=b "c d" e="f`)
	f.Fuzz(func(t *testing.T, s string) {
		list, err := ParseCmdline(s)
		if err != nil {
			return
		}
		for _, o := range list {
			if o.Bare && o.Value != "" || strings.Contains(o.Key, "=") || strings.Contains(o.Key+o.Value, `"`) {
				t.Fatalf("%q gives %+v", s, o)
			}
		}
	})
}
