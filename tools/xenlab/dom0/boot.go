package dom0

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"xenvtpm/tools/xlconf"
)

// bootStep boots one image, streams its console and waits until it stops.
// Parameters: name, memory, extra, iomem, disk, timeout, expect.
func bootStep(l *Lab) error {
	name := l.param("name", "image")
	memory, err := strconv.Atoi(l.param("memory", "16"))
	if err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	image := xlconf.Image{
		Common: xlconf.Common{Name: name, MemoryMB: memory, Extra: l.param("extra", ""),
			OnCrash: "preserve", NativeTSC: true},
		Image: ImageDir + "/" + name + ".elf", IOMem: l.param("iomem", ""),
	}
	if mb, err := strconv.Atoi(l.param("disk", "0")); err == nil && mb > 0 {
		image.Disk = DataDir + "/" + name + ".img"
		if err := newDisk(image.Disk, int64(mb)<<20); err != nil {
			return err
		}
	}
	return l.bootImage(image, l.duration("timeout", time.Minute), l.param("expect", ""), l.param("shutdown", ""), false)
}

// bootImage checks that an image boots, prints expect (if not empty) and powers off by itself,
// or, after it has printed the text shutdown, when asked to. With crash it must end with the
// crash reason instead.
func (l *Lab) bootImage(image xlconf.Image, limit time.Duration, expect, shutdown string, crash bool) error {
	config, err := image.Config()
	if err != nil {
		return err
	}
	d, err := l.create(image.Name, config)
	if err != nil {
		return err
	}
	l.Logf("%s: xl create took %.2f s", image.Name, d.Created.Seconds())
	if shutdown != "" {
		if _, err = d.Console.Wait(shutdown, limit); err == nil {
			_, _, err = l.xl.do("shutdown", image.Name)
		}
		if err != nil {
			l.Check(image.Name+" takes a shutdown request", err)
		}
	}
	e, gone, err := d.Stopped(limit)
	switch {
	case err == nil && gone:
		err = fmt.Errorf("%s is gone although it should have been preserved", image.Name)
	case err == nil && e.Crashed() != crash:
		err = fmt.Errorf("%s ended in state %s", image.Name, e.State)
	}
	if _, derr := d.Destroy(); derr != nil {
		l.Logf("%v", derr)
	}
	time.Sleep(200 * time.Millisecond) // xenconsoled drains the ring of a dying domain
	d.Console.Close()
	if err == nil && expect != "" {
		if _, _, ok := d.Console.Find(0, expect); !ok {
			err = fmt.Errorf("%s did not print %q; its last lines are:\n%s", image.Name, expect, d.Console.Tail(8))
		}
	}
	what := image.Name + " boots and powers off"
	if crash {
		what = image.Name + " boots and ends with the crash reason"
	}
	if expect != "" {
		what = strings.Replace(what, " and", ", prints "+expect+" and", 1)
	}
	l.Check(what, err)
	return nil
}
