package dom0

import (
	"fmt"
	"strings"
	"time"

	"xenvtpm/tools/xlconf"
)

// smokeNeeds are the settings of those smoke kernels that need more than memory.
var smokeNeeds = map[string]struct {
	iomem    string
	diskMB   int64
	expect   string
	shutdown string
	crash    bool
}{
	"smoke-tis":      {iomem: "fed40,5"},
	"smoke-blk":      {diskMB: 4},
	"smoke-shutdown": {shutdown: "WAITING"},
	"smoke-panic":    {crash: true},
	"smoke-fault":    {crash: true},
}

// smokeStep boots every smoke kernel there is.
func smokeStep(l *Lab) error {
	for _, name := range l.images {
		need := smokeNeeds[name]
		image := xlconf.Image{
			Common: xlconf.Common{Name: name, MemoryMB: 16, OnCrash: "preserve", NativeTSC: true},
			Image:  ImageDir + "/" + name + ".elf", IOMem: need.iomem,
		}
		if need.diskMB > 0 {
			image.Disk = DataDir + "/" + name + ".img"
			if err := newDisk(image.Disk, need.diskMB<<20); err != nil {
				return err
			}
		}
		expect := need.expect
		if expect == "" {
			expect = "SUCCESS"
		}
		if err := l.bootImage(image, 90*time.Second, expect, need.shutdown, need.crash); err != nil {
			return err
		}
	}
	if len(l.images) == 0 {
		return fmt.Errorf("there are no smoke kernels (images: %q)", strings.Join(l.images, ","))
	}
	return l.onlyDom0Left()
}
