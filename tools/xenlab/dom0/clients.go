package dom0

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"xenvtpm/tools/vtpmctl/attest"
)

// suiteLimit bounds some five hundred programs and thirty RSA keys on a busy machine under emulation.
const suiteLimit = 25 * time.Minute

// toolsStep has a stock guest run the whole suite of tpm2-tools.
func toolsStep(l *Lab) error {
	s := l.newStack("")
	s.vtpmExtra = "platform=open" // the suite is the guest's firmware too
	if err := s.blank(); err != nil {
		return err
	}
	if err := s.up(); err != nil {
		return err
	}
	ca, err := l.managerCA()
	if !l.Check("vtpmctl gives the certificate of the manager's CA", err) {
		return nil
	}
	params := "lab.ca=" + base64.RawURLEncoding.EncodeToString(ca)
	if f := l.param("families", ""); f != "" {
		params += " lab.families=" + f
	}
	if err := s.startWith(params, "attach", "ekchain", "suite", "dmesg"); err != nil {
		return err
	}
	if err := s.guest.Finished(suiteLimit); err != nil {
		return err
	}
	vtpm := s.vtpm
	s.shutDown()
	l.heap(vtpm)
	return l.onlyDom0Left()
}

// managerCA enrols the manager, which gives the administrator the certificate of its CA.
func (l *Lab) managerCA() ([]byte, error) {
	if err := l.attachAdmin(); err != nil {
		return nil, err
	}
	key, file := adminFile("saa"), adminFile("bundle")
	if err := newKey(key); err != nil {
		return nil, err
	}
	if _, err := l.ctl("attest", "enrol", "--key", key, file); err != nil {
		return nil, err
	}
	l.timely("xl vtpm-detach from dom0, of the manager", "vtpm-detach", "0", adminUUID)
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	var b attest.Bundle
	if err := json.Unmarshal(raw, &b); err != nil {
		return nil, fmt.Errorf("lab: %s: %w", file, err)
	}
	if len(b.Manager.CACertificate) == 0 {
		return nil, errors.New("lab: the bundle has no certificate of the CA")
	}
	return b.Manager.CACertificate, nil
}
