package xlconf

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the examples in xl-configs")

const (
	vtpmUUID  = "6ac0a2f4-3c55-4f34-a4c2-8d0f3f1b9e01"
	guestUUID = "6ac0a2f4-3c55-4f34-a4c2-8d0f3f1b9e02"
	lib       = "/usr/local/lib/xenvtpm/"
	state     = "/var/lib/xenvtpm/"
)

type configurer interface{ Config() (string, error) }

func manager() Manager {
	return Manager{Common: Common{Name: "vtpmmgr", Disk: state + "vtpmmgr.img"}, Image: lib + "vtpmmgr-stub"}
}

func vtpm() VTPM {
	return VTPM{Common: Common{Name: "vtpm-guest1", Disk: state + "vtpm-guest1.img"},
		Image: lib + "vtpm-stub", Manager: "vtpmmgr", UUID: vtpmUUID}
}

func guest() Guest {
	return Guest{Common: Common{Name: "guest1", MemoryMB: 512, Disk: "/var/lib/xen/images/guest1.img",
		Extra: "root=/dev/xvda ro console=hvc0"},
		Kernel: "/boot/vmlinuz-guest", Ramdisk: "/boot/initrd-guest", VTPM: "vtpm-guest1", UUID: guestUUID}
}

// The examples that operators read are what the code writes.
func TestExamples(t *testing.T) {
	lab := vtpm()
	lab.NativeTSC, lab.Extra, lab.OnCrash = true, "loglevel=debug", "preserve"
	for name, c := range map[string]configurer{
		"vtpmmgr.cfg": manager(), "vtpm-guest1.cfg": vtpm(), "guest1.cfg": guest(), "vtpm-lab.cfg": lab,
	} {
		got, err := c.Config()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		file := filepath.Join("..", "..", "xl-configs", "examples", name)
		if *update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs from what the templates give; run go test ./tools/xlconf -update\n%s", name, got)
		}
	}
}

func TestTheLabsSettingStaysInTheLab(t *testing.T) {
	m := manager()
	text, err := m.Config()
	if err != nil || strings.Contains(text, "tsc_mode") {
		t.Errorf("tsc_mode is set without being asked for (%v)", err)
	}
	m.NativeTSC = true
	text, err = m.Config()
	if err != nil || !strings.Contains(text, "\ntsc_mode = \"native\"\n") {
		t.Errorf("tsc_mode is missing (%v):\n%s", err, text)
	}
}

// No value may leave its quotes or its place in a device line.
func TestHostileValuesAreRefused(t *testing.T) {
	for what, c := range map[string]func() configurer{
		"quote in the command line":     func() configurer { m := manager(); m.Extra = `a" b`; return m },
		"new line in the command line":  func() configurer { m := manager(); m.Extra = "a\nkernel=1"; return m },
		"backslash in the command line": func() configurer { m := manager(); m.Extra = `a\`; return m },
		"comma in the disk":             func() configurer { v := vtpm(); v.Disk = "/a,script=x"; return v },
		"relative disk":                 func() configurer { v := vtpm(); v.Disk = "a.img"; return v },
		"no disk":                       func() configurer { v := vtpm(); v.Disk = ""; return v },
		"comma in the backend":          func() configurer { v := vtpm(); v.Manager = "a,b"; return v },
		"no backend":                    func() configurer { v := vtpm(); v.Manager = ""; return v },
		"upper case uuid":               func() configurer { v := vtpm(); v.UUID = strings.ToUpper(vtpmUUID); return v },
		"no uuid":                       func() configurer { g := guest(); g.UUID = ""; return g },
		"uuid without a backend":        func() configurer { g := guest(); g.VTPM = ""; return g },
		"space in the name":             func() configurer { g := guest(); g.Name = "a b"; return g },
		"empty name":                    func() configurer { g := guest(); g.Name = ""; return g },
		"tiny guest":                    func() configurer { g := guest(); g.MemoryMB = 1; return g },
		"negative processors":           func() configurer { g := guest(); g.VCPUs = -1; return g },
		"unknown on_crash":              func() configurer { g := guest(); g.OnCrash = "explode"; return g },
		"cpuid with a quote": func() configurer {
			return Image{Common: Common{Name: "x", MemoryMB: 16}, Image: "/x", CPUID: `rdrand=0"`}
		},
		"iomem with a quote": func() configurer {
			return Image{Common: Common{Name: "x", MemoryMB: 16}, Image: "/x", IOMem: `fed40"`}
		},
	} {
		if got, err := c().Config(); err == nil {
			t.Errorf("%s: accepted:\n%s", what, got)
		}
	}
}

func TestImage(t *testing.T) {
	got, err := Image{Common: Common{Name: "smoke", MemoryMB: 16, Extra: "x y"}, Image: "/images/smoke.elf", IOMem: "fed40,5", CPUID: "rdrand=0"}.Config()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`kernel = "/images/smoke.elf"`, `iomem = ["fed40,5"]`, `cpuid = "host,rdrand=0"`, `extra = "x y"`, "memory = 16"} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("the configuration lacks %s:\n%s", want, got)
		}
	}
	if strings.Contains(got, "vtpm =") || strings.Contains(got, "disk =") {
		t.Errorf("the configuration has devices that nobody asked for:\n%s", got)
	}
}

func FuzzExtra(f *testing.F) {
	f.Add("console=hvc0")
	f.Add("\"\nkernel=\"/evil")
	f.Fuzz(func(t *testing.T, extra string) {
		m := manager()
		m.Extra = extra
		got, err := m.Config()
		if err != nil {
			return
		}
		m.Extra = ""
		base, err := m.Config()
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(got, "\n") - strings.Count(base, "\n")
		if extra != "" && lines != 3 || extra == "" && lines != 0 {
			t.Fatalf("%q added %d lines", extra, lines)
		}
	})
}
