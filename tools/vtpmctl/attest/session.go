package attest

import (
	"bytes"
	"errors"
	"fmt"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// CheckSession checks that the session key of a recovery request is that of the
// manager whose attestation key the authority (TPMT_PUBLIC) has enrolled. Only a
// manager with its root key can use that key.
func CheckSession(b *Bundle, authority []byte, in *proto.RecoveryInfo) error {
	switch {
	case b.Enrolment == nil:
		return errors.New("the bundle has no enrolment")
	case len(in.Quote) == 0:
		return errors.New("the request has no quote: the manager was degraded, or its TPM cannot attest; read its console instead (--session)")
	case !hwtpm.IsAK(b.Manager.AKPublic):
		return errors.New("the enrolled key could sign forgeries")
	}
	if err := enrolled(&b.Manager, b.Enrolment, authority); err != nil {
		return fmt.Errorf("enrolment: %w", err)
	}
	if err := hwtpm.VerifyAttest(b.Manager.AKPublic, in.Quote, in.Signature); err != nil {
		return fmt.Errorf("quote: %w", err)
	}
	q, err := hwtpm.ParseQuote(in.Quote)
	if err != nil {
		return err
	}
	if want := proto.SessionQualifying(in.Session); !bytes.Equal(q.Extra, want[:]) {
		return errors.New("the quote is of another session key")
	}
	return nil
}
