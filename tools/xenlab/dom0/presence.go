package dom0

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"xenvtpm/tools/xenlab/guest"
	"xenvtpm/tools/xenlab/report"
)

// The values of PCR 10 in the SHA-256 bank that a guest can find.
var (
	firstValue  = make([]byte, sha256.Size)
	cappedValue = extend256(firstValue, sha256.Sum256([]byte{1, 0, 0, 0}))
	builtValue  = extend256(firstValue, padded("the builder"))
)

func extend256(pcr []byte, digest [sha256.Size]byte) []byte {
	sum := sha256.Sum256(append(bytes.Clone(pcr), digest[:]...))
	return sum[:]
}

// padded is what a TPM 1.2 frame extends the SHA-256 bank with.
func padded(what string) (d [sha256.Size]byte) {
	sum := sha1.Sum([]byte(what))
	copy(d[:], sum[:])
	return d
}

// presenceStep lets a stock guest say what it finds in PCR 10 after all that a toolstack can do to it.
func presenceStep(l *Lab) error {
	s := l.newStack("")
	if err := s.blank(); err != nil {
		return err
	}
	if err := s.up(); err != nil {
		return err
	}
	p := &presence{l: l, s: s, seen: make(map[string]bool)}
	for _, part := range []func() error{
		p.firstBoot, p.reboot, p.saved, p.savedAnnounced, p.destroyed, p.announced, p.builder, p.builder, p.crash,
	} {
		if err := part(); err != nil {
			return err
		}
	}
	s.shutDown()
	return l.onlyDom0Left()
}

// presence is the state of the step.
type presence struct {
	l    *Lab
	s    *stack
	seen map[string]bool // kernels' lives
	life string          // the present one
	last string          // what it said last

	restored string // libxl's nodes of a restored device
}

// start makes a guest by a command of xl.
func (p *presence) start(command ...string) (err error) {
	// Without xen_legacy_crash a panic tells Xen of a reboot.
	p.s.guest, err = p.l.startGuest(guestConfig{name: guestName, vtpm: vtpmName, uuid: guestUUID, steps: []string{"presence"},
		params: "lab.rebind=1 xen_legacy_crash", onCrash: "rename-restart", command: command})
	return err
}

// next waits until the guest says something that ok wants to hear.
func (p *presence) next(what string, ok func(life string, n int, pcr []byte) bool) error {
	err := waitEvery(200*time.Millisecond, guestLimit, what, func() bool {
		for _, text := range p.s.guest.reports.values("pcr") {
			f := strings.Fields(text)
			if len(f) != 3 {
				continue
			}
			n := int(f[1][0] - '0')
			if pcr, err := hex.DecodeString(f[2]); err == nil && ok(f[0], n, pcr) {
				p.life, p.last = f[0], text
				return true
			}
		}
		return false
	})
	if err != nil {
		return fmt.Errorf("%w; the guest's last lines are:\n%s\nand the vTPM's:\n%s", err, p.s.guest.Console.Tail(8), p.s.vtpm.Console.Tail(8))
	}
	return nil
}

// boots checks what a kernel that has just started finds.
func (p *presence) boots(what string, want []byte) error {
	var got []byte
	err := p.next(what, func(life string, n int, pcr []byte) bool {
		got = pcr
		return !p.seen[life] && n == 1
	})
	if err != nil {
		return err
	}
	p.seen[p.life] = true
	if !bytes.Equal(got, want) {
		err = fmt.Errorf("PCR 10 is %x, want %x", got, want)
	}
	p.l.Check(what, err)
	// It has measured itself when it has said what it found after that.
	return p.next("the guest's own measurement", func(life string, n int, pcr []byte) bool {
		return life == p.life && n == 1 && !bytes.Equal(pcr, got)
	})
}

func (p *presence) firstBoot() error {
	if err := p.start("create"); err != nil {
		return err
	}
	return p.boots("the first boot finds PCRs at their first value", firstValue)
}

func (p *presence) reboot() error {
	if _, _, err := p.l.xl.do("reboot", guestName); err != nil {
		return err
	}
	return p.boots("xl reboot: PCRs are at their first value", firstValue)
}

// saved is xl save and xl restore as they come: the vTPM cannot tell that from a boot.
func (p *presence) saved() error {
	if err := p.save(); err != nil {
		return err
	}
	if _, _, err := p.l.xl.do("restore", saveFile); err != nil {
		return err
	}
	life := p.life
	var got []byte
	err := p.next("the restored guest to use its TPM", func(l string, n int, pcr []byte) bool {
		got = pcr
		return l == life && n == 2
	})
	if err != nil {
		return err
	}
	if !bytes.Equal(got, cappedValue) {
		err = fmt.Errorf("PCR 10 is %x, want %x", got, cappedValue)
	}
	p.l.Check("xl save and xl restore: the guest that kept its memory finds capped PCRs", err)
	p.l.says(p.s.vtpm, "a restore that nobody announced", "capped with an error value")
	return nil
}

var saveFile = filepath.Join(DataDir, "guest.save")

func (p *presence) save() error {
	out, took, err := p.l.xl.do("save", guestName, saveFile)
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	p.l.Metric("xl save of a guest", took.Seconds(), "s")
	p.s.guest.reports.forget()
	return nil
}

// savedAnnounced is a restore of which the toolstack's side tells the vTPM.
func (p *presence) savedAnnounced() error {
	life, value := p.life, strings.Fields(p.last)[2]
	if err := p.save(); err != nil {
		return err
	}
	if _, _, err := p.l.xl.do("restore", "-p", saveFile); err != nil {
		return err
	}
	var err error
	if p.restored, err = p.nodes(); err != nil {
		return err
	}
	if err := p.announce("boot", "restore"); err != nil {
		return err
	}
	var got string
	err = p.next("the restored guest to use its TPM", func(l string, n int, pcr []byte) bool {
		got = hex.EncodeToString(pcr)
		return l == life
	})
	if err != nil {
		return err
	}
	if got != value {
		err = fmt.Errorf("PCR 10 was %s and is %s", value, got)
	}
	p.l.Check("an announced xl restore: the guest finds its PCRs as it left them", err)
	return nil
}

// announce writes a node into the backend's directory of the paused guest, and unpauses it.
func (p *presence) announce(node, value string) error {
	dir, err := p.device()
	if err == nil {
		err = xsWrite(dir+"/"+node, value)
	}
	if err == nil {
		_, _, err = p.l.xl.do("unpause", guestName)
	}
	return err
}

// nodes are what stands in xenstore for the paused guest's device, without its domain's number.
func (p *presence) nodes() (string, error) {
	back, err := p.device()
	if err != nil {
		return "", err
	}
	id := strings.Split(back, "/")[6]
	var all string
	for _, dir := range []string{back, "/local/domain/" + id + "/device/vtpm/0"} {
		out, err := run(20*time.Second, "xenstore-ls", dir)
		if err != nil {
			return "", err
		}
		all += out
	}
	for _, number := range []string{"/" + id + "/", "\"" + id + "\""} {
		all = strings.ReplaceAll(all, number, strings.ReplaceAll(number, id, "N"))
	}
	return all, nil
}

// device is the backend's directory of the guest's device.
func (p *presence) device() (string, error) {
	out, _, err := p.l.xl.do("domid", guestName)
	return fmt.Sprintf("/local/domain/%d/backend/vtpm/%s/0", p.s.vtpm.ID, strings.TrimSpace(out)), err
}

func (p *presence) destroyed() error {
	if err := p.again("create"); err != nil {
		return err
	}
	return p.boots("xl destroy and xl create: PCRs are capped, for it may have been a save", cappedValue)
}

// again destroys the guest and makes another by a command of xl.
func (p *presence) again(command ...string) error {
	if _, _, err := p.l.xl.do("destroy", guestName); err != nil {
		return err
	}
	p.s.guest.Console.Close()
	return p.start(command...)
}

func (p *presence) announced() error {
	if err := p.again("create", "-p"); err != nil {
		return err
	}
	booting, err := p.nodes()
	if err != nil {
		return err
	}
	if booting != p.restored {
		err = fmt.Errorf("restored:\n%s\nbooting:\n%s", p.restored, booting)
	}
	p.l.Check("libxl writes the same nodes for a device that was restored and for one that boots", err)
	if err := p.announce("boot", "new"); err != nil {
		return err
	}
	return p.boots("an announced boot: PCRs are at their first value", firstValue)
}

// builder is a program in dom0 that measures for a guest before that runs.
func (p *presence) builder() error {
	if err := p.again("create", "-p"); err != nil {
		return err
	}
	if err := p.l.measureFor(p.s.guest.ID, "the builder"); err != nil {
		return err
	}
	if _, _, err := p.l.xl.do("unpause", guestName); err != nil {
		return err
	}
	return p.boots("a builder in dom0 before this boot: the guest finds its measurement and no other", builtValue)
}

// measureFor attaches the vTPM to dom0 for a domain and extends PCR 10.
func (l *Lab) measureFor(domain int, what string) (err error) {
	if _, _, err := l.xl.do("vtpm-attach", "0", "uuid="+dom0UUID, "backend="+vtpmName); err != nil {
		return err
	}
	defer func() {
		_, _, derr := l.xl.do("vtpm-detach", "0", dom0UUID)
		err = errors.Join(err, derr)
	}()
	f, err := openRaw(0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := errors.Join(xsWrite(f.backend+"/for-domain", fmt.Sprint(domain)), f.newRing(), f.publish()); err != nil {
		return err
	}
	digest := sha1.Sum([]byte(what))
	extend := binary.BigEndian.AppendUint32([]byte{0, 0xC1, 0, 0, 0, 34, 0, 0, 0, 20}, 10)
	rsp, err := f.Send(append(extend, digest[:]...))
	if err == nil && guest.Code(rsp) != 0 {
		err = fmt.Errorf("TPM_Extend for domain %d: %#x", domain, guest.Code(rsp))
	}
	return err
}

// crash lets the guest's kernel panic. xl keeps the dead domain under another name, with its device, and makes
// a new one.
func (p *presence) crash() error {
	old := p.s.guest.ID
	if _, _, err := p.l.xl.do("sysrq", guestName, "c"); err != nil {
		return err
	}
	if err := p.boots("a crash with rename-restart: PCRs are capped, though the old domain is still attached", cappedValue); err != nil {
		return err
	}
	if _, found, err := p.l.xl.find(old); err != nil || !found {
		p.l.Check("the crashed domain is still there", fmt.Errorf("domain %d is not in the list (%v)", old, err))
	}
	_, _, err := p.l.xl.do("destroy", fmt.Sprint(old))
	return err
}

// values are what the guest reported under a name so far.
func (g *guestReports) values(name string) (texts []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.recs {
		if r.Kind == report.Value && r.Name == name {
			texts = append(texts, r.Text)
		}
	}
	return texts
}

// forget drops what the guest reported.
func (g *guestReports) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.recs = nil
}
