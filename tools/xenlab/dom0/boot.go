package dom0

import (
	"fmt"
	"strconv"
	"time"

	"xenvtpm/tools/xlconf"
)

// bootStep boots one image, streams its console and waits until it stops.
// Parameters: name, memory, extra, iomem, disk, timeout, expect, shutdown.
func bootStep(l *Lab) error {
	memory, err := strconv.Atoi(l.param("memory", "16"))
	if err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	disk, err := strconv.ParseInt(l.param("disk", "0"), 10, 64)
	if err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	image := xlconf.Image{Common: xlconf.Common{Name: l.param("name", "image"), MemoryMB: memory}}
	c := bootCase{what: "boots and powers off", extra: l.param("extra", ""), iomem: l.param("iomem", ""),
		diskMB: disk, expect: []string{}, shutdown: l.param("shutdown", ""), limit: l.duration("timeout", time.Minute)}
	if e := l.param("expect", ""); e != "" {
		c.what, c.expect = "boots, prints "+e+" and powers off", []string{e}
	}
	return l.bootImage(image, c)
}

// bootImage boots an image and checks that it does what the case says.
func (l *Lab) bootImage(image xlconf.Image, c bootCase) error {
	if c.what == "" {
		c.what = "boots, prints SUCCESS and powers off"
	}
	if c.expect == nil {
		c.expect = []string{"SUCCESS"}
	}
	if c.limit == 0 {
		c.limit = smokeLimit
	}
	image.Image = ImageDir + "/" + image.Name + ".elf"
	image.Extra, image.IOMem, image.CPUID, image.OnCrash, image.NativeTSC = c.extra, c.iomem, c.cpuid, "preserve", true
	if c.diskMB > 0 {
		image.Disk = DataDir + "/" + image.Name + ".img"
		if err := newDisk(image.Disk, c.diskMB<<20); err != nil {
			return err
		}
	}
	config, err := image.Config()
	if err != nil {
		return err
	}
	d, err := l.create(image.Name, config)
	if err != nil {
		return err
	}
	l.Logf("%s: xl create took %.2f s", image.Name, d.Created.Seconds())
	err = l.watchImage(d, c)
	if _, derr := d.Destroy(); derr != nil {
		l.Logf("%v", derr)
	}
	time.Sleep(200 * time.Millisecond) // xenconsoled drains the ring of a dying domain
	d.Console.Close()
	for _, text := range c.expect {
		if _, _, ok := d.Console.Find(0, text); !ok && err == nil {
			err = fmt.Errorf("it did not print %q; its last lines are:\n%s", text, d.Console.Tail(8))
		}
	}
	if line, _, ok := d.Console.Find(0, "FAIL"); ok && err == nil {
		err = fmt.Errorf("it printed %q", line)
	}
	l.Check(image.Name+" "+c.what, err)
	return nil
}

// watchImage waits until the domain has stopped and checks the reason.
func (l *Lab) watchImage(d *Domain, c bootCase) error {
	if c.shutdown != "" {
		if _, err := d.Console.WaitAny(c.limit, c.shutdown); err != nil {
			return err
		}
		if _, _, err := l.xl.do("shutdown", d.Name); err != nil {
			return err
		}
	}
	e, gone, err := d.Stopped(c.limit)
	switch {
	case err != nil:
		return err
	case gone:
		return fmt.Errorf("it is gone although it should have been preserved")
	case e.Crashed() != c.crash:
		return fmt.Errorf("it ended in state %s", e.State)
	}
	return nil
}
