package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"golang.org/x/sys/unix"
)

// rawTPM is /dev/tpm0, without the kernel's resource manager: what is loaded
// stays loaded in the TPM.
type rawTPM int

func (fd rawTPM) Send(cmd []byte) ([]byte, error) {
	if _, err := unix.Write(int(fd), cmd); err != nil {
		return nil, fmt.Errorf("write: %w", err)
	}
	rsp := make([]byte, 4096)
	n, err := unix.Read(int(fd), rsp)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return rsp[:n], nil
}

// migrated holds what has to survive.
type migrated struct {
	tpm     transport.TPM
	key     tpm2.TPMHandle // HMAC key of the null hierarchy, whose seed no file has
	keyName tpm2.TPM2BName
	mac     []byte // of "message" with the key
	session tpm2.Session
	policy  tpm2.Session
	digest  []byte // of the policy so far
	seq     tpm2.TPMHandle
	hashed  []byte // what the sequence should give
	writes  byte   // to NV
	extends []byte // of PCR 16
}

const (
	migrateIndex = tpm2.TPMHandle(0x01500001)
	// Each look feeds this to the hash sequence.
	seqPart = "a piece of the hashed text; "
)

// migrate uses a TPM, and goes on using it each time that a line comes from the console.
func migrate() error {
	fd, err := unix.Open("/dev/tpm0", unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	m := &migrated{tpm: rawTPM(fd)}
	if err := m.prepare(); err != nil {
		return fmt.Errorf("before: %w", err)
	}
	fmt.Println("vtpmd: ready")
	lines := bufio.NewScanner(os.Stdin)
	for n := 1; lines.Scan(); n++ {
		switch word := strings.TrimSpace(lines.Text()); word {
		case "look":
			if err := m.look(); err != nil {
				return fmt.Errorf("look %d: %w", n, err)
			}
			fmt.Printf("vtpmd: look %d is good, NV holds %d\n", n, m.writes)
		case "end":
			return m.finish()
		default:
			return fmt.Errorf("console says %q", word)
		}
	}
	return errors.Join(errors.New("the console ended"), lines.Err())
}

func (m *migrated) prepare() error {
	if err := errors.Join(m.makeKey(), m.define()); err != nil {
		return err
	}
	if err := errors.Join(m.extend(), m.write()); err != nil {
		return err
	}
	// An HMAC session that encrypts, bound to the key.
	var err error
	m.session, _, err = tpm2.HMACSession(m.tpm, tpm2.TPMAlgSHA256, 16, tpm2.Bound(m.key, m.keyName, nil), tpm2.AESEncryption(128, tpm2.EncryptOut))
	if err != nil {
		return err
	}
	if m.policy, _, err = tpm2.PolicySession(m.tpm, tpm2.TPMAlgSHA256, 16); err != nil {
		return err
	}
	if _, err = (tpm2.PolicyCommandCode{PolicySession: m.policy.Handle(), Code: tpm2.TPMCCHMAC}).Execute(m.tpm); err != nil {
		return err
	}
	if m.digest, err = m.policyDigest(); err != nil {
		return err
	}
	rsp, err := tpm2.HashSequenceStart{HashAlg: tpm2.TPMAlgSHA256}.Execute(m.tpm)
	if err != nil {
		return err
	}
	m.seq = rsp.SequenceHandle
	return m.feed()
}

func (m *migrated) makeKey() error {
	rsp, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.TPMRHNull,
		InPublic: tpm2.New2B(tpm2.TPMTPublic{
			Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256,
			ObjectAttributes: tpm2.TPMAObject{SignEncrypt: true, FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true},
			Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgKeyedHash, &tpm2.TPMSKeyedHashParms{Scheme: tpm2.TPMTKeyedHashScheme{
				Scheme: tpm2.TPMAlgHMAC, Details: tpm2.NewTPMUSchemeKeyedHash(tpm2.TPMAlgHMAC, &tpm2.TPMSSchemeHMAC{HashAlg: tpm2.TPMAlgSHA256})}}),
		}),
	}.Execute(m.tpm)
	if err != nil {
		return err
	}
	m.key, m.keyName = rsp.ObjectHandle, rsp.Name
	m.mac, err = m.hmac()
	return err
}

func (m *migrated) hmac() ([]byte, error) {
	rsp, err := tpm2.Hmac{Handle: tpm2.AuthHandle{Handle: m.key, Name: m.keyName, Auth: tpm2.PasswordAuth(nil)},
		Buffer: tpm2.TPM2BMaxBuffer{Buffer: []byte("message")}, HashAlg: tpm2.TPMAlgSHA256}.Execute(m.tpm)
	if err != nil {
		return nil, err
	}
	return rsp.OutHMAC.Buffer, nil
}

func (m *migrated) define() error {
	_, err := tpm2.NVDefineSpace{AuthHandle: tpm2.TPMRHOwner, PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
		NVIndex: migrateIndex, NameAlg: tpm2.TPMAlgSHA256, DataSize: 8,
		Attributes: tpm2.TPMANV{OwnerWrite: true, OwnerRead: true, AuthRead: true, NT: tpm2.TPMNTOrdinary}})}.Execute(m.tpm)
	return err
}

// index names the NV index with its name of now, which the first write changed.
func (m *migrated) index() (tpm2.NamedHandle, error) {
	rsp, err := tpm2.NVReadPublic{NVIndex: migrateIndex}.Execute(m.tpm)
	if err != nil {
		return tpm2.NamedHandle{}, err
	}
	return tpm2.NamedHandle{Handle: migrateIndex, Name: rsp.NVName}, nil
}

func (m *migrated) write() error {
	index, err := m.index()
	if err != nil {
		return err
	}
	m.writes++
	_, err = tpm2.NVWrite{AuthHandle: tpm2.TPMRHOwner, NVIndex: index,
		Data: tpm2.TPM2BMaxNVBuffer{Buffer: []byte{0, 0, 0, 0, 0, 0, 0, m.writes}}}.Execute(m.tpm)
	return err
}

func (m *migrated) extend() error {
	value := bytes.Repeat([]byte{byte(len(m.extends)) + 1}, sha256.Size)
	_, err := tpm2.PCRExtend{PCRHandle: tpm2.AuthHandle{Handle: 16, Auth: tpm2.PasswordAuth(nil)},
		Digests: tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: value}}}}.Execute(m.tpm)
	m.extends = append(m.extends, value[0])
	return err
}

// feed gives the hash sequence its next piece.
func (m *migrated) feed() error {
	_, err := tpm2.SequenceUpdate{SequenceHandle: tpm2.AuthHandle{Handle: m.seq, Name: tpm2.TPM2BName{}, Auth: tpm2.PasswordAuth(nil)},
		Buffer: tpm2.TPM2BMaxBuffer{Buffer: []byte(seqPart)}}.Execute(m.tpm)
	m.hashed = append(m.hashed, seqPart...)
	return err
}

func (m *migrated) policyDigest() ([]byte, error) {
	rsp, err := tpm2.PolicyGetDigest{PolicySession: m.policy.Handle()}.Execute(m.tpm)
	if err != nil {
		return nil, err
	}
	return rsp.PolicyDigest.Buffer, nil
}

// look compares everything with what it should be, then changes all that changes.
func (m *migrated) look() error {
	mac, err := m.hmac()
	if err != nil || !bytes.Equal(mac, m.mac) {
		return fmt.Errorf("HMAC of the loaded key is %x, was %x; %v", mac, m.mac, err)
	}
	digest, err := m.policyDigest()
	if err != nil || !bytes.Equal(digest, m.digest) {
		return fmt.Errorf("policy digest is %x, was %x; %v", digest, m.digest, err)
	}
	if err := errors.Join(m.lookPCR(), m.lookNV()); err != nil {
		return err
	}
	return errors.Join(m.extend(), m.write(), m.feed())
}

func (m *migrated) lookPCR() error {
	want := make([]byte, sha256.Size)
	for _, v := range m.extends {
		sum := sha256.Sum256(append(want, bytes.Repeat([]byte{v}, sha256.Size)...))
		want = sum[:]
	}
	rsp, err := tpm2.PCRRead{PCRSelectionIn: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
		{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(16)}}}}.Execute(m.tpm)
	if err != nil {
		return err
	}
	if got := rsp.PCRValues.Digests[0].Buffer; !bytes.Equal(got, want) {
		return fmt.Errorf("PCR 16 is %x, want %x", got, want)
	}
	return nil
}

// lookNV reads in the session, whose nonces roll on with each use.
func (m *migrated) lookNV() error {
	index, err := m.index()
	if err != nil {
		return err
	}
	rsp, err := tpm2.NVRead{AuthHandle: tpm2.AuthHandle{Handle: index.Handle, Name: index.Name, Auth: m.session}, NVIndex: index, Size: 8}.Execute(m.tpm)
	if err != nil {
		return fmt.Errorf("NV in the session: %w", err)
	}
	if got := rsp.Data.Buffer; !bytes.Equal(got, []byte{0, 0, 0, 0, 0, 0, 0, m.writes}) {
		return fmt.Errorf("NV holds %x, want %d", got, m.writes)
	}
	return nil
}

// finish completes the sequence and lets go of the key.
func (m *migrated) finish() error {
	rsp, err := tpm2.SequenceComplete{SequenceHandle: tpm2.AuthHandle{Handle: m.seq, Name: tpm2.TPM2BName{}, Auth: tpm2.PasswordAuth(nil)},
		Hierarchy: tpm2.TPMRHNull}.Execute(m.tpm)
	if err != nil {
		return err
	}
	if want := sha256.Sum256(m.hashed); !bytes.Equal(rsp.Result.Buffer, want[:]) {
		return fmt.Errorf("the sequence gives %x, want %x", rsp.Result.Buffer, want)
	}
	_, err = tpm2.FlushContext{FlushHandle: m.key}.Execute(m.tpm)
	return err
}
