package main

import (
	"bytes"
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

	"xenvtpm/tools/vtpmctl/attest"
	"xenvtpm/vtpmmgr-stub/hwtpm"
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
// one) for what the recovery key has to open. It does not show the session key's
// fingerprint: that has to come from the manager's console.
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
		if info.Manager, info.Key, info.Box, err = manager.ParseBackupHeader(header); err != nil {
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
		fmt.Fprintf(e.out, "take %s to the recovery key: vtpmctl recovery answer --key KEY --session S --box B %s ANSWER\n"+
			"S is the session key's fingerprint: read it off the manager's own console, where it stands now\n"+
			"B is the fingerprint that vtpmctl provision gave out, to be kept with the recovery key\n"+
			"the manager must not be restarted until the answer is back\n", rest[0], rest[0])
	})
}

// answerOptions are the flags of recovery answer.
type answerOptions struct{ key, session, bundle, authority, box string }

func (o *answerOptions) define(fs *flag.FlagSet) {
	fs.StringVar(&o.key, "key", "", "recovery key")
	fs.StringVar(&o.session, "session", "", "fingerprint on the manager's console")
	fs.StringVar(&o.bundle, "enrolled", "", "attestation bundle of that manager, in place of --session")
	fs.StringVar(&o.authority, "authority", "", "who enrolled it")
	fs.StringVar(&o.box, "box", "", "fingerprint that was noted at provisioning, or unknown")
}

// check holds a request against what the operator knows of it from elsewhere.
func (o *answerOptions) check(e *env, info *proto.RecoveryInfo, public []byte) error {
	if err := o.checkSession(info); err != nil {
		return err
	}
	if len(info.Key) > 0 && !bytes.Equal(info.Key, public) {
		return fmt.Errorf("the request is for recovery key %s, and this is %s", manager.Fingerprint(info.Key), manager.Fingerprint(public))
	}
	if o.box == "unknown" {
		fmt.Fprintf(e.err, "WARNING: --box unknown: nothing shows that box %s is the one that was made at provisioning; a forged one gives the manager a root key that a forger knows\n", manager.Fingerprint(info.Box))
		return nil
	}
	if err := manager.SameFingerprint(info.Box, o.box); err != nil {
		return fmt.Errorf("the box is not the one that was made at provisioning: %w", err)
	}
	return nil
}

// checkSession: whose session key it is, says the manager's console or its enrolled
// attestation key; both, if both are given.
func (o *answerOptions) checkSession(info *proto.RecoveryInfo) error {
	if o.session != "" {
		if err := manager.SameFingerprint(info.Session, o.session); err != nil {
			return fmt.Errorf("the request is NOT of the manager whose console you have read: session key: %w", err)
		}
	}
	if o.bundle == "" {
		return nil
	}
	b, err := readBundle(o.bundle)
	if err != nil {
		return err
	}
	authority, err := loadAuthority(o.authority)
	if err != nil {
		return err
	}
	if err := attest.CheckSession(b, authority, info); err != nil {
		return fmt.Errorf("the request is NOT of the manager that was enrolled: %w", err)
	}
	return nil
}

func (o *answerOptions) complete() bool {
	return o.key != "" && o.box != "" && (o.session != "" || o.bundle != "") && (o.bundle == "") == (o.authority == "")
}

func runRecoveryAnswer(e *env, args []string) error {
	var o answerOptions
	rest, err := e.parse(args, 2, o.define)
	if err != nil {
		return err
	}
	if !o.complete() {
		return errUsage
	}
	key, err := loadRecoveryPrivate(o.key)
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
	if err := o.check(e, &info, key.PublicKey().Bytes()); err != nil {
		return err
	}
	box, err := manager.Rewrap(rand.Reader, key, info.Box, info.Session)
	if err != nil {
		return err
	}
	out, err := json.Marshal(proto.Recover{Box: box, Key: key.PublicKey().Bytes()})
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

// recoveryKeyFile is a certified recovery key as people keep it.
type recoveryKeyFile struct {
	Manager   proto.UUID `json:"manager"`
	Number    uint64     `json:"number"`
	Key       []byte     `json:"key"`
	Signature []byte     `json:"signature"`
}

// runRecoveryCertify signs, offline, that a manager is to take another recovery
// key.
func runRecoveryCertify(e *env, args []string) error {
	var keyFile, id *string
	var number *uint64
	rest, err := e.parse(args, 2, func(fs *flag.FlagSet) {
		keyFile = fs.String("key", "", "approval key of the manager's root")
		id = fs.String("manager", "", "uuid of the manager")
		number = fs.Uint64("number", 0, "number of the recovery key, above that of the last")
	})
	if err != nil {
		return err
	}
	if *keyFile == "" || *id == "" || *number == 0 {
		return errUsage
	}
	s := hwtpm.RecoveryKey{Number: *number}
	if s.Manager, err = proto.ParseUUID(*id); err != nil {
		return err
	}
	public, err := loadRecoveryPublic(rest[0])
	if err != nil {
		return err
	}
	s.Public = public.Bytes()
	signer, err := e.loadSigner(*keyFile)
	if err != nil {
		return err
	}
	if s.Signature, err = signer.sign(s.Message()); err != nil {
		return err
	}
	b, err := json.MarshalIndent(recoveryKeyFile{s.Manager, s.Number, s.Public, s.Signature}, "", "  ")
	if err != nil {
		return err
	}
	if err := replaceFile(rest[1], append(b, '\n'), 0o644); err != nil {
		return err
	}
	return e.print(map[string]string{"file": rest[1], "fingerprint": manager.Fingerprint(s.Public)}, func() {
		fmt.Fprintf(e.out, "%s: recovery key %s, number %d, for manager %v, by %s\n", rest[1], manager.Fingerprint(s.Public), s.Number, s.Manager, hwtpm.AuthorityName(signer.public))
	})
}

// runRecoveryReplace gives the manager a certified recovery key.
func runRecoveryReplace(e *env, args []string) error {
	rest, err := e.parse(args, 1, nil)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(rest[0])
	if err != nil {
		return err
	}
	var f recoveryKeyFile
	if err := proto.ParseAdmin(b, &f); err != nil {
		return fmt.Errorf("%s is no certified recovery key", rest[0])
	}
	s := hwtpm.RecoveryKey{Manager: f.Manager, Number: f.Number, Public: f.Key, Signature: f.Signature}
	var out proto.Empty
	if err := e.ask(proto.OrdRecoveryReplace, proto.RecoveryReplace{Statement: s.Append(nil)}, &out); err != nil {
		return err
	}
	return e.keepWithKey("the recovery key is replaced")
}

// keepWithKey says what to note of a manager that was just given a key.
func (e *env) keepWithKey(done string) error {
	var s proto.Status
	if err := e.ask(proto.OrdStatus, proto.Empty{}, &s); err != nil {
		return fmt.Errorf("%s, but its status cannot be had: %w", done, err)
	}
	return e.print(map[string]string{"done": done, "authority": s.AuthorityHash, "recovery_key_fingerprint": s.RecoveryKey, "recovery_box_fingerprint": s.RecoveryBox}, func() {
		fmt.Fprintln(e.out, done)
		if !s.Pinned {
			fmt.Fprintf(e.out, "put this on the manager's command line (extra=): authority=%s\n", s.AuthorityHash)
		}
		if s.RecoveryBox != "" {
			fmt.Fprintf(e.out, "write this down where the recovery key is kept: box %s\n", s.RecoveryBox)
		}
	})
}
