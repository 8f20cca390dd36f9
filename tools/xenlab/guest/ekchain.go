package guest

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ekChain has OpenSSL check that the CA in the parameter ca (DER, base64 for URLs) issued the certificate of the
// endorsement key, which tpm2-tools read.
func ekChain(s *Session) error {
	ca, err := base64.RawURLEncoding.DecodeString(s.params["ca"])
	if err != nil || len(ca) == 0 {
		return fmt.Errorf("lab.ca=%q is no certificate: %v", s.params["ca"], err)
	}
	if err := s.release(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "chain")
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "ek.der")
	cmd := exec.Command(toolsDir+"/tpm2", "nvread", "0x1c0000a", "-o", file)
	cmd.Env = []string{"TPM2TOOLS_TCTI=device:" + DevicePath}
	if out, err := cmd.CombinedOutput(); err != nil {
		s.Check("the certificate of the endorsement key is in the NV memory", fmt.Errorf("%w:\n%s", err, out))
		return nil
	}
	cert, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	openssl := toolsDir + "/openssl"
	s.Check("OpenSSL verifies the endorsement key's certificate with the manager's CA, which vtpmctl gave dom0", issued(openssl, dir, ca, cert))
	s.Check("control: OpenSSL refuses a forged certificate", notIssued(openssl, dir, ca, cert))
	return nil
}

// issued has OpenSSL check, strictly, that the CA's key signed the certificate. Both are DER.
func issued(openssl, dir string, ca, cert []byte) error {
	args := []string{"verify", "-x509_strict", "-CAfile"}
	for i, der := range [][]byte{ca, cert} {
		name := filepath.Join(dir, []string{"ca.pem", "cert.pem"}[i])
		if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			return err
		}
		args = append(args, name)
	}
	if out, err := exec.Command(openssl, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("openssl: %w:\n%s", err, out)
	}
	return nil
}

// notIssued checks that the same certificate with another signature is refused.
func notIssued(openssl, dir string, ca, cert []byte) error {
	forged := append([]byte(nil), cert...)
	forged[len(forged)-1] ^= 1
	err := issued(openssl, dir, ca, forged)
	if err == nil {
		return errors.New("it was accepted")
	}
	if strings.Contains(err.Error(), "certificate signature failure") {
		return nil
	}
	return err
}
