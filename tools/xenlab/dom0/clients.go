package dom0

import (
	"time"
)

// suiteLimit bounds some five hundred programs and thirty RSA keys on a busy machine under emulation.
const suiteLimit = 25 * time.Minute

// toolsStep has a stock guest run the whole suite of tpm2-tools.
func toolsStep(l *Lab) error {
	s := l.newStack("")
	if err := s.blank(); err != nil {
		return err
	}
	if err := s.up(); err != nil {
		return err
	}
	params := ""
	if f := l.param("families", ""); f != "" {
		params = "lab.families=" + f
	}
	if err := s.startWith(params, "attach", "suite", "dmesg"); err != nil {
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
