package sshsig

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// LoadSigner returns the signer for a key file. A private key signs by itself;
// a public key names a key that the agent at socket holds, which is how keys
// on hardware tokens sign. close ends the connection to the agent.
func LoadSigner(name, socket string) (signer ssh.Signer, close func(), err error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, nil, err
	}
	if pub, _, _, _, err := ssh.ParseAuthorizedKey(b); err == nil {
		return agentSigner(pub, socket)
	}
	signer, err = ssh.ParsePrivateKey(b)
	var missing *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &missing):
		return nil, nil, fmt.Errorf("%s is protected by a passphrase: add it to ssh-agent and name %s.pub", name, name)
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return signer, func() {}, nil
}

func agentSigner(pub ssh.PublicKey, socket string) (ssh.Signer, func(), error) {
	if socket == "" {
		return nil, nil, errors.New("a public key needs ssh-agent, and SSH_AUTH_SOCK is not set")
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, nil, fmt.Errorf("ssh-agent: %w", err)
	}
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("ssh-agent: %w", err)
	}
	for _, s := range signers {
		if bytes.Equal(s.PublicKey().Marshal(), pub.Marshal()) {
			return s, func() { conn.Close() }, nil
		}
	}
	conn.Close()
	return nil, nil, fmt.Errorf("ssh-agent does not hold %s", ssh.FingerprintSHA256(pub))
}
