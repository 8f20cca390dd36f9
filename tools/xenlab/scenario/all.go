package scenario

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"xenvtpm/tools/xenlab/machine"
	"xenvtpm/tools/xenlab/report"
)

// All returns the scenarios, in the order in which a person would run them.
func All() []*Scenario {
	return []*Scenario{toolstack(), smoke(), lifecycle(), presence(), firstlight(), tools(), manager(), manager12(), many(), restart(), storm(), large(), bench()}
}

// bench measures, beside QEMU's emulated TPM with swtpm.
func bench() *Scenario {
	return &Scenario{
		Name: "bench", About: "start, round trip, idle and memory figures, beside QEMU's TIS with swtpm", Needs: stubs, Guest: true,
		TPM: machine.TPM20,
		Phases: []Phase{
			{Name: "vtpm", Timeout: 40 * time.Minute, Job: report.Job{Step: "bench"}},
			{Name: "swtpm", Timeout: 15 * time.Minute, Guest: "attach,bench"},
		},
		Finish: ratios,
	}
}

// ratios compares what was measured in both phases of bench.
func ratios(res *Result) {
	other := make(map[string]float64)
	for _, m := range res.Metrics {
		if m.Source == "swtpm" {
			other[m.Name] = m.Value
		}
	}
	for _, m := range slices.Clone(res.Metrics) {
		if v := other[m.Name]; v > 0 && m.Source != "swtpm" && strings.Contains(m.Name, "round trip") {
			res.Metrics = append(res.Metrics, report.Record{Kind: report.Metric, Source: "ratio",
				Name: m.Name + ", vTPM over tpm-tis with swtpm", Value: m.Value / v, Unit: "x"})
		}
	}
}

// stubs are the images of the manager and the vTPM.
var stubs = []string{"vtpmmgr-stub", "vtpm-stub"}

// toolstack checks the lab itself.
func toolstack() *Scenario {
	return &Scenario{
		Name: "toolstack", About: "Xen, dom0 and a stock Debian guest without a TPM", Guest: true, TPM: machine.TPM20,
		Phases: []Phase{{Name: "toolstack", Timeout: 6 * time.Minute, Job: report.Job{Step: "toolstack"}}},
	}
}

// smoke boots every smoke kernel.
func smoke() *Scenario {
	return &Scenario{
		Name: "smoke", About: "every smoke kernel boots, prints SUCCESS and powers off", Needs: []string{"smoke-*"}, TPM: machine.TPM20,
		Phases: []Phase{{Name: "smoke", Timeout: 10 * time.Minute, Job: report.Job{Step: "smoke"}}},
	}
}

// lifecycle attaches, detaches and kills every part.
func lifecycle() *Scenario {
	return &Scenario{
		Name: "lifecycle", About: "attach, detach, hostile frontend, destroy of every part, restart", Needs: stubs, Guest: true,
		TPM:    machine.TPM20,
		Phases: []Phase{{Name: "lifecycle", Timeout: 40 * time.Minute, Job: report.Job{Step: "lifecycle"}}},
	}
}

// presence boots, saves, crashes and replaces a guest, and looks at its PCRs.
func presence() *Scenario {
	return &Scenario{
		Name: "presence", About: "what a guest finds in its PCRs after reboot, crash, save, restore, with a builder", Needs: stubs, Guest: true,
		TPM:    machine.TPM20,
		Phases: []Phase{{Name: "presence", Timeout: 30 * time.Minute, Job: report.Job{Step: "presence"}}},
	}
}

// firstlight takes a guest's TPM from its creation through power cuts to attacks on its disks.
func firstlight() *Scenario {
	power := func(name string, limit time.Duration) Phase {
		return Phase{Name: name, Timeout: limit, Job: report.Job{Step: name}}
	}
	s := &Scenario{
		Name: "firstlight", About: "manager, vTPM and a stock guest; power cuts; damaged and old disks", Needs: stubs, Guest: true,
		TPM: machine.TPM20,
		Phases: []Phase{power("first", 20*time.Minute), power("again", 20*time.Minute), power("tamper", 40*time.Minute),
			power("changed", 20*time.Minute), power("restored", 20*time.Minute)},
	}
	s.Phases[3].OpenTPM = true
	return s
}

// tools runs all of Debian's tpm2-tools in a stock guest.
func tools() *Scenario {
	return &Scenario{
		Name: "tools", About: "Debian's tpm2-tools, all of them, in a stock guest over /dev/tpm0", Needs: stubs, Guest: true,
		TPM:    machine.TPM20,
		Phases: []Phase{{Name: "tools", Timeout: 40 * time.Minute, Job: report.Job{Step: "tools"}}},
	}
}

// images finds the images that a scenario needs among those that were built.
func (w *Workshop) images(s *Scenario) error {
	if len(s.Needs) == 0 {
		return nil
	}
	built, err := w.built()
	if err != nil {
		return err
	}
	s.Images = make(map[string]string)
	for _, pattern := range s.Needs {
		before := len(s.Images)
		for name, file := range built {
			if ok, err := path.Match(pattern, name); err == nil && ok {
				s.Images[name] = file
			}
		}
		if len(s.Images) == before {
			return fmt.Errorf("there is no image %s in %s: run make images first", pattern, w.Images)
		}
	}
	for i := range s.Phases {
		s.Phases[i].Job.Images = imageNames(s.Images)
	}
	return nil
}

// built lists the images by name: those of the image folder, and the smoke kernels of the
// folder smoke in it or beside it, with smoke- before their names.
func (w *Workshop) built() (map[string]string, error) {
	list := make(map[string]string)
	for dir, prefix := range map[string]string{w.Images: "", filepath.Join(w.Images, "smoke"): "smoke-",
		filepath.Join(filepath.Dir(w.Images), "smoke"): "smoke-"} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("xenlab: %w", err)
		}
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); e.Type().IsRegular() && (ext == "" || ext == ".elf") {
				list[prefix+imageName(e.Name())] = filepath.Join(dir, e.Name())
			}
		}
	}
	return list, nil
}

func imageNames(images map[string]string) string {
	names := make([]string, 0, len(images))
	for n := range images {
		names = append(names, n)
	}
	sort.Strings(names)
	return strings.Join(names, ",")
}
