package scenario

import (
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"xenvtpm/tools/xenlab/machine"
	"xenvtpm/tools/xenlab/report"
)

// BootOptions describe xenlab boot.
type BootOptions struct {
	Image    string
	MemoryMB int
	Extra    string
	IOMem    string
	DiskMB   int
	Timeout  time.Duration
	Expect   string
	Shutdown string
}

// Boot is the scenario that boots one image by xl create.
func Boot(o BootOptions) (*Scenario, error) {
	file, err := filepath.Abs(o.Image)
	if err != nil {
		return nil, fmt.Errorf("xenlab: %w", err)
	}
	name := imageName(file)
	return &Scenario{
		Name: "boot", Dir: "boot-" + name, About: "one image", TPM: machine.TPM20,
		Images: map[string]string{name: file},
		Phases: []Phase{{
			Name: "boot", Timeout: o.Timeout + 90*time.Second,
			Job: report.Job{Step: "boot", Params: map[string]string{
				"name": name, "memory": strconv.Itoa(o.MemoryMB), "extra": o.Extra, "iomem": o.IOMem,
				"disk": strconv.Itoa(o.DiskMB), "timeout": o.Timeout.String(), "expect": o.Expect, "shutdown": o.Shutdown,
			}},
		}},
	}, nil
}

// imageName is the name of an image in dom0: that of its file without the suffix.
func imageName(file string) string {
	base := filepath.Base(file)
	return base[:len(base)-len(filepath.Ext(base))]
}
