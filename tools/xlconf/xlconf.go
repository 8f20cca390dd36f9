// Package xlconf writes the xl configurations of the manager, of vTPMs and
// of their guests from the templates in xl-configs. Every value is checked
// before it is put between quotes, so that a name or an option can never
// become configuration of its own. It also reads configurations, for those
// who have to know what xl will boot.
package xlconf

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"text/template"

	xlconfigs "xenvtpm/xl-configs"
)

// Default memory sizes in MB.
const (
	ManagerMemoryMB = 24
	VTPMMemoryMB    = 16
)

// Common is what all domains have.
type Common struct {
	Name      string // of the domain
	MemoryMB  int
	Extra     string // command line; may be empty
	Disk      string // path of a raw image in dom0
	OnCrash   string // xl's on_crash; empty is "destroy"
	NativeTSC bool   // for a Xen that is itself emulated
}

// Manager describes the manager domain.
type Manager struct {
	Common
	Image string // path of vtpmmgr-stub in dom0
}

// VTPM describes a vTPM domain.
type VTPM struct {
	Common
	Image   string // path of vtpm-stub in dom0
	Manager string // name of the manager domain
	UUID    string // identity of the TPM at the manager
}

// Guest describes a guest with or without a vTPM.
type Guest struct {
	Common
	Kernel, Ramdisk string
	VCPUs           int    // 0 is one
	VTPM            string // name of the vTPM domain; empty for none
	UUID            string
}

// Image describes a bare image, for tests.
type Image struct {
	Common
	Image      string
	IOMem      string // such as "fed40,5"; may be empty
	CPUID      string // changes to what the domain sees of the processor, such as "rdrand=0"; may be empty
	VTPM, UUID string // a TPM device from this domain; may be empty
}

var (
	nameRE  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}$`)
	uuidRE  = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	pathRE  = regexp.MustCompile(`^/[A-Za-z0-9_./+@:=-]+$`)
	cpuidRE = regexp.MustCompile(`^[a-z0-9_-]+=[0-9xks]+(,[a-z0-9_-]+=[0-9xks]+)*$`)
	iomemRE = regexp.MustCompile(`^[0-9a-f]+,[0-9a-f]+(@[0-9a-f]+)?$`)
	crashRE = regexp.MustCompile(`^(destroy|restart|preserve|rename-restart|coredump-destroy|coredump-restart)$`)
)

func field(what, value string, re *regexp.Regexp, optional bool) error {
	if value == "" && optional || re.MatchString(value) {
		return nil
	}
	return fmt.Errorf("xlconf: %s %q is not valid (it must match %s)", what, value, re)
}

// text checks a command line: printable ASCII that xl's quotes hold as it is.
func text(what, s string) error {
	for _, r := range s {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return fmt.Errorf("xlconf: %s has the character %q, which an xl configuration cannot hold", what, r)
		}
	}
	return nil
}

func (c *Common) check(minMB int, needDisk bool) error {
	if c.OnCrash == "" {
		c.OnCrash = "destroy"
	}
	if c.MemoryMB < minMB {
		return fmt.Errorf("xlconf: %d MB are too little memory for %q: it needs %d", c.MemoryMB, c.Name, minMB)
	}
	return errors.Join(
		field("domain name", c.Name, nameRE, false),
		field("disk", c.Disk, pathRE, !needDisk),
		field("on_crash", c.OnCrash, crashRE, false),
		text("the command line", c.Extra))
}

// device checks a vtpm line.
func device(backend, uuid string, optional bool) error {
	if backend == "" && uuid == "" && optional {
		return nil
	}
	return errors.Join(field("backend domain", backend, nameRE, false), field("uuid", uuid, uuidRE, false))
}

// Config returns the xl configuration.
func (m Manager) Config() (string, error) {
	if m.MemoryMB == 0 {
		m.MemoryMB = ManagerMemoryMB
	}
	if err := errors.Join(m.check(8, true), field("image", m.Image, pathRE, false)); err != nil {
		return "", err
	}
	return fill("manager.cfg.tmpl", m)
}

// Config returns the xl configuration.
func (v VTPM) Config() (string, error) {
	if v.MemoryMB == 0 {
		v.MemoryMB = VTPMMemoryMB
	}
	if err := errors.Join(v.check(8, true), field("image", v.Image, pathRE, false),
		device(v.Manager, v.UUID, false)); err != nil {
		return "", err
	}
	return fill("vtpm.cfg.tmpl", v)
}

// Config returns the xl configuration.
func (g Guest) Config() (string, error) {
	if g.VCPUs == 0 {
		g.VCPUs = 1
	}
	if g.VCPUs < 0 {
		return "", fmt.Errorf("xlconf: a guest cannot have %d processors", g.VCPUs)
	}
	if err := errors.Join(g.check(32, false), field("kernel", g.Kernel, pathRE, false),
		field("ramdisk", g.Ramdisk, pathRE, true), device(g.VTPM, g.UUID, true)); err != nil {
		return "", err
	}
	return fill("guest.cfg.tmpl", g)
}

// Config returns the xl configuration.
func (i Image) Config() (string, error) {
	if err := errors.Join(i.check(4, false), field("image", i.Image, pathRE, false),
		field("iomem", i.IOMem, iomemRE, true),
		field("cpuid", i.CPUID, cpuidRE, true), device(i.VTPM, i.UUID, true)); err != nil {
		return "", err
	}
	return fill("image.cfg.tmpl", i)
}

func fill(name string, data any) (string, error) {
	t, err := template.ParseFS(xlconfigs.Templates, "lab.cfg.tmpl", name)
	if err != nil {
		return "", fmt.Errorf("xlconf: %w", err)
	}
	var out strings.Builder
	if err := t.ExecuteTemplate(&out, name, data); err != nil {
		return "", fmt.Errorf("xlconf: %w", err)
	}
	return out.String(), nil
}
