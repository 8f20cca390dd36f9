package guest

import (
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// platformClosed tries what an empty platformAuth would allow. The vTPM has set one that nobody knows, as
// firmware does.
func platformClosed(s *Session) error {
	d, err := s.device()
	if err != nil {
		return err
	}
	platform := tpm2.AuthHandle{Handle: tpm2.TPMRHPlatform, Auth: tpm2.PasswordAuth(nil)}
	_, clear := tpm2.Clear{AuthHandle: platform}.Execute(d)
	_, change := tpm2.HierarchyChangeAuth{AuthHandle: platform}.Execute(d)
	for name, err := range map[string]error{"Clear": clear, "HierarchyChangeAuth": change} {
		if errors.Is(err, tpm2.TPMRCBadAuth) {
			err = nil
		} else {
			err = fmt.Errorf("it gives %v", err)
		}
		s.Check("TPM2_"+name+" with an empty platformAuth gets TPM_RC_BAD_AUTH", err)
	}
	return nil
}
