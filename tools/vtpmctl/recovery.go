package main

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"os"

	"xenvtpm/vtpmmgr-stub/manager"
	"xenvtpm/vtpmmgr-stub/proto"
)

// runRecoveryKeygen makes a P-256 key: PKCS #8 and PKIX in PEM.
func runRecoveryKeygen(e *env, args []string) error {
	rest, err := e.parse(args, 1, nil)
	if err != nil {
		return err
	}
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.PublicKey())
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name, kind string
		der        []byte
		perm       os.FileMode
	}{{rest[0], "PRIVATE KEY", private, 0o600}, {rest[0] + ".pub", "PUBLIC KEY", public, 0o644}} {
		if _, err := os.Stat(f.name); err == nil {
			return fmt.Errorf("%s exists", f.name)
		}
		if err := replaceFile(f.name, pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der}), f.perm); err != nil {
			return err
		}
	}
	return e.print(map[string]string{"private": rest[0], "public": rest[0] + ".pub"}, func() {
		fmt.Fprintf(e.out, "%s is the recovery key: keep it off this machine\n%s.pub is for vtpmctl provision --recovery\n", rest[0], rest[0])
	})
}

func parseRecoveryPublic(b []byte) (*ecdh.PublicKey, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("no public key in PEM form")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	k, ok := key.(*ecdsa.PublicKey)
	if !ok || k.Curve.Params().BitSize != 256 {
		return nil, errors.New("a recovery key is a P-256 key")
	}
	return k.ECDH()
}

func loadRecoveryPrivate(name string) (*ecdh.PrivateKey, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s: no private key in PEM form", name)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	if k, ok := key.(*ecdsa.PrivateKey); ok && k.Curve.Params().BitSize == 256 {
		return k.ECDH()
	}
	return nil, fmt.Errorf("%s: a recovery key is a P-256 key", name)
}

// runRecoveryRequest asks the manager (with --backup: and a backup of another
// one) for what the recovery key has to open.
func runRecoveryRequest(e *env, args []string) error {
	var from *string
	rest, err := e.parse(args, 1, func(fs *flag.FlagSet) { from = fs.String("backup", "", "backup of another manager") })
	if err != nil {
		return err
	}
	var info proto.RecoveryInfo
	if err := e.ask(proto.OrdRecovery, proto.Empty{}, &info); err != nil {
		return err
	}
	if *from != "" {
		header, _, err := readBackup(*from, false)
		if err != nil {
			return err
		}
		if info.Manager, info.Box, err = manager.ParseBackupHeader(header); err != nil {
			return err
		}
	}
	if len(info.Box) == 0 {
		return errors.New("no recovery key was given when that manager was provisioned")
	}
	b, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	if err := replaceFile(rest[0], append(b, '\n'), 0o644); err != nil {
		return err
	}
	return e.print(info, func() {
		fmt.Fprintf(e.out, "take %s to the recovery key: vtpmctl recovery answer --key KEY %s ANSWER\nthe manager must not be restarted until the answer is back\n", rest[0], rest[0])
	})
}

func runRecoveryAnswer(e *env, args []string) error {
	var keyFile *string
	rest, err := e.parse(args, 2, func(fs *flag.FlagSet) { keyFile = fs.String("key", "", "recovery key") })
	if err != nil {
		return err
	}
	if *keyFile == "" {
		return errUsage
	}
	key, err := loadRecoveryPrivate(*keyFile)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(rest[0])
	if err != nil {
		return err
	}
	var info proto.RecoveryInfo
	if err := proto.ParseAdmin(b, &info); err != nil {
		return fmt.Errorf("%s is no recovery request", rest[0])
	}
	box, err := manager.Rewrap(rand.Reader, key, info.Box, info.Session)
	if err != nil {
		return err
	}
	out, err := json.Marshal(proto.Recover{Box: box})
	if err != nil {
		return err
	}
	if err := replaceFile(rest[1], append(out, '\n'), 0o600); err != nil {
		return err
	}
	return e.print(map[string]string{"answer": rest[1]}, func() {
		fmt.Fprintf(e.out, "%s opens on that manager, in its present run, only\n", rest[1])
	})
}

func runRecoveryFinish(e *env, args []string) error {
	var forBackup *bool
	rest, err := e.parse(args, 1, func(fs *flag.FlagSet) { forBackup = fs.Bool("backup", false, "to read another manager's backup") })
	if err != nil {
		return err
	}
	b, err := os.ReadFile(rest[0])
	if err != nil {
		return err
	}
	var req proto.Recover
	if err := proto.ParseAdmin(b, &req); err != nil {
		return fmt.Errorf("%s is no recovery answer", rest[0])
	}
	req.Backup = *forBackup
	done := "the store is open and bound to this machine; provision it again"
	if req.Backup {
		done = "the other manager's backup can be restored now, until the manager is restarted"
	}
	return e.change(proto.OrdRecover, req, done)
}
