package dom0

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"xenvtpm/tools/xenlab/guest"
	"xenvtpm/vtpmmgr-stub/proto"
)

// The store of the scenario large, which the host makes before the machine's first power-on.
const (
	LargeVTPMs   = 100_000
	LargeReal    = LargeVTPMs / 2 // the one that has a disk
	LargeManager = FilesDir + "/large/manager.img"
	LargeVTPM    = FilesDir + "/large/vtpm.img"
)

// LargeUUID names the vTPMs of that store. They are spread over all of it.
func LargeUUID(i int) (u proto.UUID) {
	if i == LargeReal {
		u, _ = proto.ParseUUID(vtpmUUID) // a constant of ours
		return u
	}
	binary.BigEndian.PutUint32(u[:], uint32(i)*2654435761) // odd: no two are the same
	u[15] = 1
	return u
}

// largeHeap is half of what the manager's domain has for its heap, in KB. More than that in the lab would be too
// near the end for a machine that does more.
const largeHeap = 8 << 10

// largeLimit bounds vtpmctl list and vtpmctl backup of everything: 4,000 frames, each at least the 5 ms in which Linux's
// driver looks for answers, and several times that on a busy machine under emulation.
const largeLimit = 20 * time.Minute

// largeStep runs a manager with 100,000 vTPMs on a disk of 64 MB in a domain of 24 MB, uses it in every way that has
// to do with its size, and starts it again. With the parameter full=1 it also lists and backs up all of them, which
// takes minutes.
func largeStep(l *Lab) error {
	s := l.newStack("")
	if err := errors.Join(copyDisk(s.managerDisk, LargeManager), copyDisk(s.vtpmDisk, LargeVTPM)); err != nil {
		return err
	}
	if err := s.largeStart(LargeVTPMs); err != nil {
		return err
	}
	l.Check("pages of the list, from its beginning, its middle and its end, are what they should be", l.largePages())
	full := l.param("full", "") != ""
	if full {
		l.Check("vtpmctl list: all of them, each once, each with its record", l.largeListed())
	}
	if err := s.largeUse(); err != nil {
		return err
	}
	extra := LargeUUID(LargeVTPMs).String()
	l.does("vtpmctl create: one more", words("create "+extra))
	if full {
		start := time.Now()
		_, err := run(largeLimit, "vtpmctl", "backup", filepath.Join(DataDir, "backup"), "--device", guest.DevicePath)
		l.Check("vtpmctl backup of all", err)
		l.Metric(fmt.Sprintf("vtpmctl backup of %d vTPMs", LargeVTPMs+1), time.Since(start).Seconds(), "s")
	}
	if err := s.largeStop(); err != nil {
		return err
	}
	if err := s.largeStart(LargeVTPMs + 1); err != nil {
		return err
	}
	l.does("vtpmctl show: the one that was added", words("show --json "+extra), `"saved": false`)
	if err := s.startVTPM(); err != nil {
		return err
	}
	l.Check("after the restart the vTPM finds what it wrote", s.largeValue((*guest.Device).ReadNV))
	return s.largeStop()
}

// largeValue is what the vTPM keeps.
var largeValue = []byte("kept among 100,000 others, by a manager of 24 MB: 64 bytes ok --")

// largeStart starts the manager and asks it how many vTPMs it has.
func (s *stack) largeStart(vtpms int) error {
	if err := s.timedManager(fmt.Sprintf("%d vTPMs", vtpms)); err != nil {
		return err
	}
	line, _, _ := s.manager.Console.Find(0, "store open")
	took, err := openedIn(line)
	if !s.l.Check("the manager opens its store and says how long that took", err) {
		return fmt.Errorf("the manager does not serve:\n%s", s.managerTail())
	}
	s.l.Logf("  %s", line)
	s.l.Metric(fmt.Sprintf("manager: opening a store of %d vTPMs, by its own clock", vtpms), took.Seconds()*1000, "ms")
	if err := s.l.attachAdmin(); err != nil {
		return err
	}
	s.l.does(fmt.Sprintf("vtpmctl status: %d vTPMs", vtpms), words("status --json"), fmt.Sprintf(`"vtpms": %d,`, vtpms))
	return nil
}

// openedIn reads the end of the manager's line "store open: ..., opened in 12.3ms".
func openedIn(line string) (time.Duration, error) {
	_, text, ok := strings.Cut(line, "opened in ")
	if !ok {
		return 0, fmt.Errorf("no time in the line %q", line)
	}
	return time.ParseDuration(strings.TrimSpace(text))
}

// largePages asks for some pages, as vtpmctl list does, through the ring of dom0's stock driver.
func (l *Lab) largePages() error {
	sorted := make([]proto.UUID, LargeVTPMs)
	for i := range sorted {
		sorted[i] = LargeUUID(i)
	}
	slices.SortFunc(sorted, func(a, b proto.UUID) int { return bytes.Compare(a[:], b[:]) })
	d, err := guest.Open(guest.DevicePath)
	if err != nil {
		return err
	}
	defer d.Close()
	c := &proto.Client{S: d}
	for _, behind := range []int{0, LargeVTPMs / 3, LargeVTPMs / 2, LargeVTPMs - 100} {
		start := time.Now()
		var page proto.List
		if err := c.Admin(proto.OrdList, proto.ListRequest{After: &sorted[behind]}, &page); err != nil {
			return fmt.Errorf("the page behind number %d: %w", behind, err)
		}
		l.Metric(fmt.Sprintf("a page of the list, behind number %d", behind), time.Since(start).Seconds(), "s")
		if err := checkPage(page, sorted[behind+1:]); err != nil {
			return fmt.Errorf("the page behind number %d: %w", behind, err)
		}
	}
	return nil
}

// checkPage checks that a page begins with the first of the rest, leaves none out, and says whether more follow.
func checkPage(page proto.List, rest []proto.UUID) error {
	n := len(page.VTPMs)
	if n == 0 || n > len(rest) || page.More != (n < len(rest)) || len(page.Bad) > 0 {
		return fmt.Errorf("%d of %d vTPMs, more: %v, damaged: %q", n, len(rest), page.More, page.Bad)
	}
	for i, v := range page.VTPMs {
		if v.UUID != rest[i] || !v.Saved || v.Error != "" {
			return fmt.Errorf("%+v in the place of %v", v, rest[i])
		}
	}
	return nil
}

// largeListed lists everything, page by page, through the ring of dom0's stock driver.
func (l *Lab) largeListed() error {
	start := time.Now()
	out, err := run(largeLimit, "vtpmctl", "list", "--json", "--device", guest.DevicePath)
	if err != nil {
		return err
	}
	l.Metric(fmt.Sprintf("vtpmctl list of %d vTPMs", LargeVTPMs), time.Since(start).Seconds(), "s")
	var list proto.List
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return err
	}
	return checkLarge(list, LargeVTPMs, LargeUUID)
}

// checkLarge checks that a list has exactly these vTPMs.
func checkLarge(list proto.List, n int, uuid func(int) proto.UUID) error {
	if len(list.VTPMs) != n || len(list.Bad) > 0 {
		return fmt.Errorf("%d vTPMs, damaged: %q", len(list.VTPMs), list.Bad)
	}
	missing := make(map[proto.UUID]bool, n)
	for i := range n {
		missing[uuid(i)] = true
	}
	for _, v := range list.VTPMs {
		if !missing[v.UUID] || !v.Saved || v.Error != "" {
			return fmt.Errorf("listed twice, unknown, or without a record: %+v", v)
		}
		delete(missing, v.UUID)
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d are missing", len(missing))
	}
	return nil
}

// largeUse starts the one vTPM that has a disk, and has it save.
func (s *stack) largeUse() error {
	l := s.l
	before, err := l.saves()
	l.Check("vtpmctl show: one in the middle", err)
	start := time.Now()
	if err := s.startVTPM(); err != nil {
		return err
	}
	l.Metric(fmt.Sprintf("start of xl create of a vTPM to ready, one of %d", LargeVTPMs), time.Since(start).Seconds(), "s")
	_, ready, err := s.serves()
	if line, _, made := s.vtpm.Console.Find(0, "making a new TPM"); err == nil && (!ready || made) {
		err = fmt.Errorf("it did not come up with what it was: %s", line)
	}
	l.Check("one of them reads its key and opens its state", err)
	err = s.largeValue(func(d *guest.Device) ([]byte, error) {
		if err := errors.Join(d.DefineNV(), d.WriteNV(largeValue)); err != nil {
			return nil, err
		}
		return d.ReadNV()
	})
	l.Check("it takes commands and saves", err)
	after, err := l.saves()
	if err == nil && after < before+2 {
		err = fmt.Errorf("%d saves before two commands that save, %d after", before, after)
	}
	l.Check("vtpmctl show: the manager has saved for it", err)
	return nil
}

// largeValue attaches dom0 to the vTPM, does something with its TPM and checks the value that this gives.
func (s *stack) largeValue(do func(*guest.Device) ([]byte, error)) error {
	if !s.l.timely("xl vtpm-attach to dom0, from the vTPM", "vtpm-attach", "0", "uuid="+dom0UUID, "backend="+vtpmName) {
		return errors.New("dom0 has no device at the vTPM")
	}
	d, err := guest.OpenWhenReady(vtpmDevice, 20*time.Second)
	if err != nil {
		return err
	}
	got, err := do(d)
	if err == nil && string(got) != string(largeValue) {
		err = fmt.Errorf("the value is %q", got)
	}
	err = errors.Join(err, d.Close())
	s.l.timely("xl vtpm-detach from dom0", "vtpm-detach", "0", dom0UUID)
	return err
}

// saves asks the manager how often the real vTPM has saved.
func (l *Lab) saves() (uint64, error) {
	out, err := l.ctl("show", "--json", vtpmUUID)
	if err != nil {
		return 0, err
	}
	var v proto.VTPM
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		return 0, err
	}
	if v.UUID != LargeUUID(LargeReal) || !v.Saved || v.Saves == 0 {
		return 0, fmt.Errorf("vtpmctl show gives %+v", v)
	}
	return v.Saves, nil
}

// largeStop ends the manager and checks what memory it says it took.
func (s *stack) largeStop() error {
	l := s.l
	if !l.Check("the manager is alive and well", s.manager.healthy()) {
		return fmt.Errorf("the manager has failed:\n%s", s.managerTail())
	}
	l.timely("xl vtpm-detach from dom0, of the manager", "vtpm-detach", "0", adminUUID)
	manager := s.manager
	s.shutDown()
	l.heap(manager)
	l.Check(fmt.Sprintf("the manager's heap stayed below %d MB, half of what it has", largeHeap>>10), heapBelow(manager.Console.Lines(), largeHeap))
	return l.onlyDom0Left()
}

// heapBelow checks a domain's own report of its memory. It also has to be a domain of the documented size.
func heapBelow(lines []string, limit int) error {
	for i := len(lines) - 1; i >= 0; i-- {
		m := peakHeap.FindStringSubmatch(lines[i])
		if m == nil {
			continue
		}
		ram, err1 := strconv.Atoi(m[1])
		peak, err2 := strconv.Atoi(m[3])
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if ram > largeRAM || peak > limit {
			return fmt.Errorf("a heap of %d KB in a domain of %d KB, want at most %d in %d", peak, ram, limit, largeRAM)
		}
		return nil
	}
	return errors.New("it does not report its memory")
}

// largeRAM is the memory of the manager's domain, in KB.
const largeRAM = 24 << 10
