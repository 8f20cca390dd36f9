package dom0

import (
	"time"

	"xenvtpm/tools/xenlab/guest"
)

// manager12Step runs a manager whose hardware is a TPM 1.2. Approvals and attestation need a TPM 2.0 and must be
// refused; the rest, old disks above all, is as it is there.
func manager12Step(l *Lab) error {
	s := l.newStack("")
	if err := s.blank(); err != nil {
		return err
	}
	if err := s.timedManager("a blank disk, taking ownership"); err != nil {
		return err
	}
	l.says(s.manager, "a store sealed to a TPM 1.2", "store open")
	if err := l.attachAdmin(); err != nil {
		return err
	}
	l.does("vtpmctl status with a TPM 1.2", words("status --json"), `"provisioned": false`, `"rollback": "strict"`)
	if err := newKey(adminFile("saa")); err != nil {
		return err
	}
	if err := s.startVTPM(); err != nil {
		return err
	}
	l.does("vtpmctl list: the vTPM that has started", words("list --json"), vtpmUUID)
	l.doesNot("vtpmctl attest enrol is refused: a TPM 1.2 cannot attest", words("attest enrol --key "+adminFile("saa")+" "+adminFile("bundle")), "cannot attest")
	l.timely("xl vtpm-attach to dom0, from the vTPM", "vtpm-attach", "0", "uuid="+dom0UUID, "backend="+vtpmName)
	d, err := guest.OpenWhenReady(vtpmDevice, 20*time.Second)
	if err != nil {
		return err
	}
	if err := d.Close(); err != nil {
		return err
	}
	return l.rollbacks(s)
}
