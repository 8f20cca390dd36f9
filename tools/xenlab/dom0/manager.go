package dom0

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/tools/vtpmctl/attest"
	"xenvtpm/tools/xenlab/guest"
	"xenvtpm/tools/xenlab/pid1"
	"xenvtpm/vtpmmgr-stub/proto"
)

// Identities of the manager's scenario.
const (
	adminUUID  = "7d8e7f6a-2a51-4c63-9d0e-0b8c5f1e2aa0" // dom0's device at the manager
	secondUUID = "7d8e7f6a-2a51-4c63-9d0e-0b8c5f1e2a11" // a vTPM that never starts
	groupUUID  = "7d8e7f6a-2a51-4c63-9d0e-0b8c5f1e2ab0"
)

// adminFile is a file of the administrator.
func adminFile(name string) string { return filepath.Join(runDir, name) }

// ctl runs vtpmctl over dom0's device at the manager.
func (l *Lab) ctl(args ...string) (string, error) {
	return run(2*time.Minute, append(append([]string{"vtpmctl"}, args...), "--device", guest.DevicePath)...)
}

// does checks that a call of vtpmctl succeeds and that its output has all the words.
func (l *Lab) does(what string, args []string, words ...string) bool {
	out, err := l.ctl(args...)
	for _, w := range words {
		if err == nil && !strings.Contains(out, w) {
			err = fmt.Errorf("its output has no %q:\n%s", w, out)
		}
	}
	return l.Check(what, err)
}

// doesNot checks that a call of vtpmctl is refused with the word.
func (l *Lab) doesNot(what string, args []string, word string) {
	out, err := l.ctl(args...)
	switch {
	case err == nil:
		err = fmt.Errorf("it was accepted:\n%s", out)
	case strings.Contains(err.Error(), word):
		err = nil
	}
	l.Check(what, err)
}

func words(line string) []string { return strings.Fields(line) }

// managerStep administers a manager from dom0 and then puts old disks in the places of the newest.
func managerStep(l *Lab) error {
	s := l.newStack("")
	if err := s.blank(); err != nil {
		return err
	}
	if err := s.timedManager("a blank disk"); err != nil {
		return err
	}
	if err := l.attachAdmin(); err != nil {
		return err
	}
	for _, part := range []func(*stack) error{l.provisioning, l.attestation, l.groups, l.backups, l.stranger} {
		if err := part(s); err != nil {
			return err
		}
	}
	return l.rollbacks(s)
}

// timedManager starts the manager and measures how long it takes until it serves.
func (s *stack) timedManager(disk string) error {
	start := time.Now()
	err := s.startManager()
	s.l.Metric("start of xl create of the manager to serving, with "+disk, time.Since(start).Seconds(), "s")
	return err
}

// attachAdmin gives dom0 its device at the manager, as an operator would.
func (l *Lab) attachAdmin() error {
	if err := pid1.LoadModule(pid1.Optional("xen_tpmfront")); err != nil {
		return err
	}
	start := time.Now()
	l.timely("xl vtpm-attach to dom0, from the manager", "vtpm-attach", "0", "uuid="+adminUUID, "backend="+managerName)
	d, err := guest.OpenWhenReady(guest.DevicePath, 20*time.Second)
	if !l.Check("dom0's stock driver takes the manager for a TPM", err) {
		return errors.New("without a device there is no administration")
	}
	l.Metric("xl vtpm-attach to device", time.Since(start).Seconds(), "s")
	return d.Close()
}

// provisioning makes keys and gives the manager its authority.
func (l *Lab) provisioning(*stack) error {
	if err := newKey(adminFile("saa")); err != nil {
		return err
	}
	root := adminFile("root.json")
	start := time.Now()
	l.does("vtpmctl status: a manager that nobody has provisioned", words("status --json"), `"provisioned": false`, `"rollback": "strict"`)
	l.Metric("vtpmctl status", time.Since(start).Seconds(), "s")
	l.does("vtpmctl recovery keygen", words("recovery keygen "+adminFile("rec")))
	if err := copyDisk(keptRecovery, adminFile("rec")); err != nil {
		return err
	}
	l.does("vtpmctl policy new: the present state of the platform", words("policy new --comment installed "+root))
	l.doesNot("vtpmctl provision without a signature is refused", words("provision --authority "+adminFile("saa")+" --policy "+root), "is not signed")
	l.does("vtpmctl policy sign", words("policy sign --key "+adminFile("saa")+" "+root))
	l.does("vtpmctl provision", words("provision --authority "+adminFile("saa")+" --policy "+root+" --recovery "+adminFile("rec.pub")), "authority=")
	if err := l.noteBox(); err != nil {
		return err
	}
	l.does("vtpmctl authority", words("authority "+adminFile("saa")), "authority=")
	l.does("vtpmctl status: provisioned, with a recovery key", words("status --json"), `"provisioned": true`, `"recovery_key": true`)
	l.does("vtpmctl pcrs", words("pcrs 0-7"))
	return nil
}

// noteBox writes down what an operator keeps with the recovery key.
func (l *Lab) noteBox() error {
	out, err := l.ctl("status", "--json")
	if err != nil {
		return err
	}
	var s proto.Status
	if err := json.Unmarshal([]byte(out), &s); err != nil || s.RecoveryBox == "" {
		return fmt.Errorf("lab: no fingerprint of a recovery box in %s (%w)", out, err)
	}
	note := adminFile("box")
	if err := os.WriteFile(note, []byte(s.RecoveryBox), 0o600); err != nil {
		return err
	}
	return copyDisk(keptBox, note) // which is there after a power cut, too
}

// newKey makes a private key for approvals.
func newKey(name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// vtpmDevice is where dom0's second TPM device, that of the vTPM, appears.
const vtpmDevice = "/dev/tpm1"

// attestation starts a vTPM, has it make a deep quote, and verifies all of it offline.
func (l *Lab) attestation(s *stack) error {
	if err := s.startVTPM(); err != nil {
		return err
	}
	l.does("vtpmctl list: the vTPM that has started", words("list --json"), vtpmUUID)
	l.does("vtpmctl show", words("show --json "+vtpmUUID), `"saved": true`)
	l.timely("xl vtpm-attach to dom0, from the vTPM", "vtpm-attach", "0", "uuid="+dom0UUID, "backend="+vtpmName)
	d, err := guest.OpenWhenReady(vtpmDevice, 20*time.Second)
	if err != nil {
		return err
	}
	defer d.Close()
	bundle, nonce := adminFile("bundle"), []byte("nonce of the lab")
	start := time.Now()
	err = evidence(d, nonce)
	l.Check("the vTPM has a certificate and makes a deep quote", err)
	l.Metric("certificate, key and deep quote", time.Since(start).Seconds(), "s")
	if err != nil {
		return nil
	}
	l.does("vtpmctl attest enrol", words("attest enrol --key "+adminFile("saa")+" "+bundle))
	add := words("attest add " + bundle)
	for _, f := range []string{"certificate", "deep-quote", "quote", "signature", "vtpm-key", "pcr-values"} {
		add = append(add, "--"+f, adminFile(f))
	}
	l.does("vtpmctl attest add", add)
	verify := "verify " + bundle + " --authority " + adminFile("saa") + " --vtpm " + vtpmUUID + " --guest-pcrs 0,1,10 --nonce "
	l.does("vtpmctl verify: certificate, quote, deep quote and chain hold", words(verify+hex.EncodeToString(nonce)), "the bundle holds")
	l.doesNot("vtpmctl verify with another nonce fails", words(verify+"00"), "NOT hold")
	if out, err := l.ctl(words(verify + hex.EncodeToString(nonce))...); err == nil {
		l.Logf("vtpmctl verify says:\n%s", out)
	}
	return nil
}

// evidence puts what vtpmctl attest add takes into files.
func evidence(d *guest.Device, nonce []byte) error {
	v, err := attest.Collect(d, nonce, tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
		{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(0, 1, 10)},
	}}, proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 0xFF})
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{
		"certificate": v.Certificate, "deep-quote": v.DeepQuote, "quote": v.Quote, "signature": v.Signature, "vtpm-key": v.Key, "pcr-values": v.PCRValues,
	} {
		if err := os.WriteFile(adminFile(name), b, 0o644); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
	}
	return nil
}

// groups makes one with a policy of its own, and moves a vTPM into it.
func (l *Lab) groups(*stack) error {
	policy, newer, key := adminFile("group.json"), adminFile("group2.json"), adminFile("saa")
	l.does("vtpmctl policy new for a group", words("policy new --group "+groupUUID+" "+policy))
	l.does("vtpmctl policy sign for a group", words("policy sign --key "+key+" "+policy))
	l.does("vtpmctl group create", words("group create tenants --authority "+key+" --policy "+policy))
	l.does("vtpmctl group list", words("group list --json"), "tenants", groupUUID, `"open": true`)
	l.does("vtpmctl create in a group", words("create "+secondUUID+" --group tenants"))
	l.does("vtpmctl list of a group", words("list --json --group tenants"), secondUUID)
	l.doesNot("vtpmctl group delete of one in use is refused", words("group delete tenants"), "CONFLICT")
	l.does("vtpmctl policy new from an older one", words("policy new --from "+policy+" "+newer))
	l.doesNot("vtpmctl policy apply without a signature is refused", words("policy apply "+newer), "is not signed")
	l.does("vtpmctl policy sign of the newer one", words("policy sign --key "+key+" "+newer))
	l.does("vtpmctl policy apply", words("policy apply "+newer))
	l.doesNot("vtpmctl policy apply of the older list is refused", words("policy apply "+policy), "CONFLICT")
	l.does("vtpmctl events: the replay", words("events"), "not newer")
	free := adminFile("release.json")
	l.doesNot("vtpmctl move out of a group without its authority's leave is refused", words("move "+secondUUID+" --group default"), "leaving the group")
	l.does("vtpmctl release new", words("release new --group tenants --to default "+free+" "+secondUUID))
	l.does("vtpmctl release sign", words("release sign --key "+key+" "+free))
	l.does("vtpmctl move with a release", words("move "+secondUUID+" --group default --release "+free))
	l.does("vtpmctl move into a group", words("move "+secondUUID+" --group tenants"))
	return nil
}

// backups deletes a vTPM and brings it back.
func (l *Lab) backups(*stack) error {
	file := adminFile("backup")
	l.does("vtpmctl backup", words("backup "+file))
	raw, err := os.ReadFile(file)
	if err == nil && strings.Contains(string(raw), vtpmUUID) {
		err = errors.New("it names the vTPMs in clear")
	}
	l.Check("a backup is encrypted", err)
	l.doesNot("vtpmctl delete of a vTPM that runs is refused", words("delete "+vtpmUUID), "CONFLICT")
	l.does("vtpmctl delete", words("delete "+secondUUID))
	out, err := l.ctl("list", "--json")
	if err == nil && strings.Contains(out, secondUUID) {
		err = errors.New("it is still listed")
	}
	l.Check("vtpmctl list after delete", err)
	l.does("vtpmctl restore --check", words("restore --check "+file), "would be restored")
	l.does("vtpmctl restore", words("restore "+file))
	l.does("vtpmctl status after all this", words("status --json"), `"provisioned": true`)
	return nil
}

// stranger is a guest that the toolstack has, by mistake, connected to the manager.
func (l *Lab) stranger(*stack) error {
	g, err := l.startGuest(guestConfig{name: "stranger", vtpm: managerName, uuid: guestUUID, steps: []string{"attach", "notadmin"}})
	if err != nil {
		return err
	}
	if err := g.Finished(guestLimit); err != nil {
		return err
	}
	out, err := l.ctl("events", "--json")
	var log proto.Events
	if err == nil {
		err = json.Unmarshal([]byte(out), &log)
	}
	found := false
	for _, e := range log.Events {
		found = found || int(e.Domain) == g.ID && strings.Contains(e.Text, "not the administrator")
	}
	if err == nil && !found {
		err = fmt.Errorf("no such event of domain %d:\n%s", g.ID, out)
	}
	l.Check("vtpmctl events: a guest that tried is named", err)
	_, err = g.Destroy()
	g.Console.Close()
	return err
}

// rollbacks puts older disks in the places of the newest: each must be refused by name, and the newest
// must still be good afterwards.
func (l *Lab) rollbacks(s *stack) error {
	old, err := s.copyOf("-old")
	if err != nil {
		return err
	}
	d, err := guest.OpenWhenReady(vtpmDevice, time.Second)
	if err != nil {
		return err
	}
	err = d.DefineNV() // after the copy
	l.Check("the vTPM saves something after the copy was made", errors.Join(err, d.Close()))
	for _, u := range []string{dom0UUID, adminUUID} {
		l.timely("xl vtpm-detach from dom0", "vtpm-detach", "0", u)
	}
	s.shutDown()
	if err := l.refusedManager("an older disk of the manager", &stack{l: l, managerDisk: old.managerDisk, vtpmDisk: s.vtpmDisk}, "an old disk was put back"); err != nil {
		return err
	}
	if err := l.refusedManager("an older pair of disks", old, "an old disk was put back"); err != nil {
		return err
	}
	if err := s.timedManager("its store"); err != nil {
		return err
	}
	if err := s.startVTPM(); err != nil {
		return err
	}
	_, ready, err := s.serves()
	if err == nil && !ready {
		err = errors.New("failure mode")
	}
	l.Check("after the refusals the newest pair is served", err)
	s.shutDown()
	return l.onlyDom0Left()
}

// serves tells how manager and vTPM came up.
func (s *stack) serves() (manager, vtpm bool, err error) {
	_, _, manager = s.manager.Console.Find(0, "store open")
	_, _, vtpm = s.vtpm.Console.Find(0, "vtpm: ready")
	_, _, failed := s.vtpm.Console.Find(0, "FAILURE MODE")
	if vtpm == failed {
		err = fmt.Errorf("the vTPM says neither or both:\n%s", s.vtpm.Console.Tail(8))
	}
	return manager, vtpm, err
}

// refusedManager starts a stack whose manager has to refuse its disk, saying the words; its vTPM must not start a
// new life then.
func (l *Lab) refusedManager(what string, s *stack, text string) error {
	l.Logf("negative case: %s", what)
	if err := s.up(); err != nil {
		return err
	}
	l.says(s.manager, what, text)
	manager, vtpm, err := s.serves()
	if err == nil && (manager || vtpm) {
		err = fmt.Errorf("manager serves: %v, vTPM serves: %v", manager, vtpm)
	}
	l.Check(what+": the manager refuses, and the vTPM is in failure mode", err)
	s.destroy()
	return nil
}

// foreignStep runs on another machine: the same disks, another hardware TPM.
func foreignStep(l *Lab) error {
	return l.refusedManager("a pair of disks from another machine", l.newStack(""), "another hardware TPM")
}

// movedStep is foreignStep, after which the disks move to that machine for good: by the recovery key.
func movedStep(l *Lab) error {
	if err := foreignStep(l); err != nil {
		return err
	}
	s := l.newStack("")
	if err := s.startManager(); err != nil {
		return err
	}
	if err := l.attachAdmin(); err != nil {
		return err
	}
	l.doesNot("vtpmctl status: degraded, and the recovery key can help", words("status --json"), `"recoverable": true`)
	req, ans := adminFile("request"), adminFile("answer")
	l.does("vtpmctl recovery request", words("recovery request "+req))
	if err := newRecoveryKey(l); err != nil {
		return err
	}
	session, box, err := s.recoverySession()
	if err != nil {
		return err
	}
	answer := " --session " + session + " --box " + box + " " + req + " " + ans
	l.doesNot("vtpmctl recovery answer with another key is refused", words("recovery answer --key "+adminFile("other")+answer), "recovery key")
	l.doesNot("vtpmctl recovery answer to a session that the console does not show is refused",
		words("recovery answer --key "+keptRecovery+" --session "+box+" --box "+box+" "+req+" "+ans), "NOT of the manager whose console")
	l.does("vtpmctl recovery answer", words("recovery answer --key "+keptRecovery+answer))
	l.does("vtpmctl recovery finish", words("recovery finish "+ans))
	l.does("vtpmctl status: serving on this machine", words("status --json"), `"provisioned": false`, `"rollback": "strict"`)
	if err := s.startVTPM(); err != nil {
		return err
	}
	_, ready, err := s.serves()
	if line, _, made := s.vtpm.Console.Find(0, "making a new TPM"); err == nil && (!ready || made) {
		err = fmt.Errorf("it did not come up with what it was: %s", line)
	}
	l.Check("the vTPM goes on, on the other machine", err)
	l.timely("xl vtpm-detach from dom0", "vtpm-detach", "0", adminUUID)
	s.shutDown()
	if err := s.up(); err != nil {
		return err
	}
	_, ready, err = s.serves()
	if err == nil && !ready {
		err = errors.New("failure mode")
	}
	l.Check("and after a restart, without any recovery", err)
	s.shutDown()
	return l.onlyDom0Left()
}

// keptRecovery is where the recovery key lies until the next power-on, and keptBox the note beside it. An operator
// would keep them elsewhere.
const (
	keptRecovery = DataDir + "/rec"
	keptBox      = DataDir + "/rec.box"
)

// recoverySession reads the session key's fingerprint off the manager's console, and the note of the box.
func (s *stack) recoverySession() (session, box string, err error) {
	line, err := s.manager.Console.WaitAny(10*time.Second, "session key is ")
	if err != nil {
		return "", "", err
	}
	_, after, _ := strings.Cut(line, "session key is ")
	session, _, _ = strings.Cut(after, ";")
	b, err := os.ReadFile(keptBox)
	return session, strings.TrimSpace(string(b)), err
}

// newRecoveryKey makes another recovery key than the one that was provisioned.
func newRecoveryKey(l *Lab) error {
	_, err := l.ctl("recovery", "keygen", adminFile("other"))
	return err
}
