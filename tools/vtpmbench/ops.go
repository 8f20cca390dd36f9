package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// An op prepares a TPM and returns the step that is measured. Only commands
// between c.timing = true and false count; a step flushes what it made.
type op struct {
	name  string
	setup func(c *contender) (func() error, error)
	// durable ops are also measured with state synced to disk.
	durable bool
	// keygen ops vary so much that their 95th percentile is told too.
	keygen bool
	// parallel ops may use all processors; the others, client and TPM together, get one.
	parallel bool
}

var ops = []op{
	{name: "GetRandom 32", setup: simple(getRandom)},
	{name: "PCR_Read", setup: simple(pcrRead)},
	{name: "PCR_Extend", setup: simple(extend)},
	{name: "Hash SHA-256 1 KiB", setup: simple(tpm2.Hash{Data: buffer(1024), HashAlg: tpm2.TPMAlgSHA256, Hierarchy: tpm2.TPMRHNull})},
	{name: "HMAC SHA-256 1 KiB", setup: hmacOp},
	{name: "EncryptDecrypt2 AES-128-CFB 1 KiB", setup: cipherOp},
	{name: "NV_Write 64", setup: nvWrite, durable: true},
	{name: "NV_Read 64", setup: nvRead},
	{name: "StartAuthSession, FlushContext", setup: sessionOp},
	{name: "HMAC session, encrypted GetRandom", setup: sessionUseOp},
	{name: "ContextSave, ContextLoad, FlushContext", setup: contextOp},
	{name: "CreatePrimary ECC P-256", setup: createPrimary(eccStorage)},
	{name: "Create ECC P-256", setup: create(eccSigning)},
	{name: "Load ECC P-256", setup: load(eccSigning)},
	{name: "Load RSA 2048", setup: load(rsaSigning)},
	{name: "Sign ECDSA P-256", setup: sign(eccSigning)},
	{name: "Verify ECDSA P-256", setup: verify(eccSigning)},
	{name: "Sign RSA 2048 (RSASSA)", setup: sign(rsaSigning), parallel: true},
	{name: "Verify RSA 2048", setup: verify(rsaSigning)},
	{name: "Quote ECDSA P-256", setup: quote(eccSigning)},
	{name: "Quote RSA 2048", setup: quote(rsaSigning), parallel: true},
	{name: "Seal, Load, Unseal, FlushContext", setup: sealOp},
	{name: "SelfTest (full)", setup: selfTest, parallel: true},
	{name: "CreatePrimary RSA 2048", setup: createPrimary(rsaStorage), keygen: true, parallel: true},
	{name: "Create RSA 2048", setup: create(rsaSigning), keygen: true, parallel: true},
}

// timed runs f with the clock on.
func (c *contender) timed(f func() error) error {
	c.timing = true
	err := f()
	c.timing = false
	return err
}

// simple sends one command over and over. Its octets are made once, so that
// the client's work does not disturb the measurement.
func simple[R any](cmd tpm2.Command[R, *R]) func(*contender) (func() error, error) {
	return func(c *contender) (func() error, error) {
		if _, err := run(c, cmd); err != nil {
			return nil, err
		}
		return c.repeat(bytes.Clone(c.last)), nil
	}
}

// repeat sends the same octets each time.
func (c *contender) repeat(cmd []byte) func() error {
	return func() error {
		return c.timed(func() error { _, err := c.raw(cmd); return err })
	}
}

// raw sends a command made before; the response is valid until the next one.
func (c *contender) raw(cmd []byte) ([]byte, error) {
	from := time.Now()
	n, err := c.exchange(cmd)
	if c.timing {
		c.elapsed += time.Since(from)
	}
	if err == nil && (n < 10 || c.buf[6]|c.buf[7]|c.buf[8]|c.buf[9] != 0) {
		err = fmt.Errorf("command %x: response %x", cmd[6:10], c.buf[:n])
	}
	return c.buf[:n], err
}

// rawFlush flushes what the handle at the start of a response's body names.
func (c *contender) rawFlush(rsp []byte) error {
	_, err := c.raw(append([]byte{0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x65}, rsp[10:14]...))
	return err
}

// run executes any go-tpm command.
func run[R any](t transportTPM, cmd tpm2.Command[R, *R]) (*R, error) {
	e, ok := cmd.(interface {
		Execute(t transportTPM, s ...tpm2.Session) (*R, error)
	})
	if !ok {
		return nil, fmt.Errorf("%T has no Execute", cmd)
	}
	return e.Execute(t)
}

func buffer(n int) tpm2.TPM2BMaxBuffer { return tpm2.TPM2BMaxBuffer{Buffer: make([]byte, n)} }

func pcrs(nr ...uint) tpm2.TPMLPCRSelection {
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(nr...)}}}
}

// The simplest commands, which are measured in process too.
var (
	getRandom = tpm2.GetRandom{BytesRequested: 32}
	pcrRead   = tpm2.PCRRead{PCRSelectionIn: pcrs(0, 1, 2, 3, 4, 5, 6, 7)}
)

var extend = tpm2.PCRExtend{
	PCRHandle: tpm2.AuthHandle{Handle: 16, Auth: tpm2.PasswordAuth(nil)},
	Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, 32)}}},
}

// key is a loaded object; blobs are those it was loaded from.
type key struct {
	handle tpm2.NamedHandle
	parent tpm2.NamedHandle
	priv   tpm2.TPM2BPrivate
	pub    tpm2.TPM2BPublic
}

func (c *contender) flush(h tpm2.TPMHandle) error {
	_, err := tpm2.FlushContext{FlushHandle: h}.Execute(c)
	return err
}

// primary makes the parent of the benchmark's keys.
func (c *contender) primary() (tpm2.NamedHandle, error) {
	r, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}.Execute(c)
	if err != nil {
		return tpm2.NamedHandle{}, err
	}
	return tpm2.NamedHandle{Handle: r.ObjectHandle, Name: r.Name}, nil
}

// newKey makes and loads a key below a new parent.
func (c *contender) newKey(t tpm2.TPMTPublic, secret []byte) (*key, error) {
	parent, err := c.primary()
	if err != nil {
		return nil, err
	}
	r, err := createCmd(parent, t, secret).Execute(c)
	if err != nil {
		return nil, err
	}
	l, err := tpm2.Load{ParentHandle: parent, InPrivate: r.OutPrivate, InPublic: r.OutPublic}.Execute(c)
	if err != nil {
		return nil, err
	}
	return &key{tpm2.NamedHandle{Handle: l.ObjectHandle, Name: l.Name}, parent, r.OutPrivate, r.OutPublic}, nil
}

func createCmd(parent tpm2.NamedHandle, t tpm2.TPMTPublic, secret []byte) tpm2.Create {
	cmd := tpm2.Create{ParentHandle: parent, InPublic: tpm2.New2B(t)}
	if secret != nil {
		cmd.InSensitive = tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: secret})}}
	}
	return cmd
}

func hmacOp(c *contender) (func() error, error) {
	k, err := c.newKey(hmacKey, nil)
	if err != nil {
		return nil, err
	}
	cmd := tpm2.Hmac{Handle: tpm2.AuthHandle{Handle: k.handle.Handle, Name: k.handle.Name, Auth: tpm2.PasswordAuth(nil)}, Buffer: buffer(1024), HashAlg: tpm2.TPMAlgSHA256}
	return simple(cmd)(c)
}

func cipherOp(c *contender) (func() error, error) {
	k, err := c.newKey(aesKey, nil)
	if err != nil {
		return nil, err
	}
	return simple(tpm2.EncryptDecrypt2{KeyHandle: k.handle, Message: buffer(1024), Mode: tpm2.TPMAlgCFB, IV: tpm2.TPM2BIV{Buffer: make([]byte, 16)}})(c)
}

// nvIndex defines an index of 64 octets, if it isn't there yet.
func nvIndex(c *contender) (tpm2.NamedHandle, error) {
	const index = 0x01500001
	pub := tpm2.TPMSNVPublic{NVIndex: index, NameAlg: tpm2.TPMAlgSHA256, DataSize: 64,
		Attributes: tpm2.TPMANV{OwnerWrite: true, OwnerRead: true, NT: tpm2.TPMNTOrdinary, NoDA: true}}
	if _, err := (tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(index)}).Execute(c); err != nil {
		if _, err := (tpm2.NVDefineSpace{AuthHandle: tpm2.TPMRHOwner, PublicInfo: tpm2.New2B(pub)}).Execute(c); err != nil {
			return tpm2.NamedHandle{}, err
		}
		first := tpm2.NVWrite{AuthHandle: tpm2.TPMRHOwner, NVIndex: tpm2.NamedHandle{Handle: index, Name: tpm2.TPM2BName{}}, Data: tpm2.TPM2BMaxNVBuffer{Buffer: make([]byte, 64)}}
		if _, err := first.Execute(c); err != nil {
			return tpm2.NamedHandle{}, err
		}
	}
	r, err := tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(index)}.Execute(c)
	if err != nil {
		return tpm2.NamedHandle{}, err
	}
	return tpm2.NamedHandle{Handle: index, Name: r.NVName}, nil
}

func nvWrite(c *contender) (func() error, error) {
	ix, err := nvIndex(c)
	if err != nil {
		return nil, err
	}
	first := tpm2.NVWrite{AuthHandle: tpm2.TPMRHOwner, NVIndex: ix, Data: tpm2.TPM2BMaxNVBuffer{Buffer: make([]byte, 64)}}
	if _, err := first.Execute(c); err != nil {
		return nil, err
	}
	cmd := bytes.Clone(c.last)
	write := c.repeat(cmd)
	return func() error {
		cmd[len(cmd)-10]++ // in the data: the same octets again would need no write
		return write()
	}, nil
}

func nvRead(c *contender) (func() error, error) {
	ix, err := nvIndex(c)
	if err != nil {
		return nil, err
	}
	return simple(tpm2.NVRead{AuthHandle: tpm2.TPMRHOwner, NVIndex: ix, Size: 64})(c)
}

func sessionOp(c *contender) (func() error, error) {
	// SHA-256, a nonce of 16 octets, unsalted, unbound, no symmetric algorithm.
	cmd := append([]byte{0x80, 0x01, 0, 0, 0, 43, 0, 0, 0x01, 0x76, 0x40, 0, 0, 7, 0x40, 0, 0, 7, 0, 16}, make([]byte, 16)...)
	cmd = append(cmd, 0, 0, 0, 0, 0x10, 0, 0x0b)
	return func() error {
		return c.timed(func() error {
			rsp, err := c.raw(cmd)
			if err != nil {
				return err
			}
			return c.rawFlush(rsp)
		})
	}, nil
}

func sessionUseOp(c *contender) (func() error, error) {
	s, _, err := tpm2.HMACSession(c, tpm2.TPMAlgSHA256, 16, tpm2.AESEncryption(128, tpm2.EncryptOut))
	if err != nil {
		return nil, err
	}
	return func() error {
		return c.timed(func() error {
			_, err := tpm2.GetRandom{BytesRequested: 32}.Execute(c, s)
			return err
		})
	}, nil
}

func contextOp(c *contender) (func() error, error) {
	k, err := c.newKey(eccSigning, nil)
	if err != nil {
		return nil, err
	}
	save := binary.BigEndian.AppendUint32([]byte{0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x62}, uint32(k.handle.Handle))
	return func() error {
		return c.timed(func() error {
			rsp, err := c.raw(save)
			if err != nil {
				return err
			}
			load := append([]byte{0x80, 0x01, 0, 0, 0, 0, 0, 0, 0x01, 0x61}, rsp[10:]...)
			binary.BigEndian.PutUint32(load[2:], uint32(len(load)))
			if rsp, err = c.raw(load); err != nil {
				return err
			}
			return c.rawFlush(rsp)
		})
	}, nil
}

// createPrimary makes a different key each time: a TPM derives the same key from
// the same template, and how long that takes is a matter of luck.
func createPrimary(t tpm2.TPMTPublic) func(*contender) (func() error, error) {
	return func(c *contender) (func() error, error) {
		return func() error {
			unique := make([]byte, 32)
			if _, err := rand.Read(unique); err != nil {
				return err
			}
			pub := t
			if t.Type == tpm2.TPMAlgRSA {
				pub.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: unique})
			} else {
				pub.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{X: tpm2.TPM2BECCParameter{Buffer: unique}})
			}
			var h tpm2.TPMHandle
			err := c.timed(func() error {
				r, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(pub)}.Execute(c)
				if err == nil {
					h = r.ObjectHandle
				}
				return err
			})
			if err != nil {
				return err
			}
			return c.flush(h)
		}, nil
	}
}

func create(t tpm2.TPMTPublic) func(*contender) (func() error, error) {
	return func(c *contender) (func() error, error) {
		parent, err := c.primary()
		if err != nil {
			return nil, err
		}
		return simple(createCmd(parent, t, nil))(c)
	}
}

func load(t tpm2.TPMTPublic) func(*contender) (func() error, error) {
	return func(c *contender) (func() error, error) {
		k, err := c.newKey(t, nil)
		if err != nil {
			return nil, err
		}
		l, err := tpm2.Load{ParentHandle: k.parent, InPrivate: k.priv, InPublic: k.pub}.Execute(c)
		if err != nil {
			return nil, err
		}
		cmd := bytes.Clone(c.last)
		if err := c.flush(l.ObjectHandle); err != nil {
			return nil, err
		}
		return func() error {
			var rsp []byte
			err := c.timed(func() (err error) { rsp, err = c.raw(cmd); return err })
			if err != nil {
				return err
			}
			return c.rawFlush(rsp)
		}, nil
	}
}

var digest = sha256.Sum256([]byte("benchmark"))

func signCmd(k *key) tpm2.Sign {
	return tpm2.Sign{KeyHandle: k.handle, Digest: tpm2.TPM2BDigest{Buffer: digest[:]}, InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck, Hierarchy: tpm2.TPMRHNull}}
}

func sign(t tpm2.TPMTPublic) func(*contender) (func() error, error) {
	return func(c *contender) (func() error, error) {
		k, err := c.newKey(t, nil)
		if err != nil {
			return nil, err
		}
		return simple(signCmd(k))(c)
	}
}

func verify(t tpm2.TPMTPublic) func(*contender) (func() error, error) {
	return func(c *contender) (func() error, error) {
		k, err := c.newKey(t, nil)
		if err != nil {
			return nil, err
		}
		s, err := signCmd(k).Execute(c)
		if err != nil {
			return nil, err
		}
		return simple(tpm2.VerifySignature{KeyHandle: k.handle.Handle, Digest: tpm2.TPM2BDigest{Buffer: digest[:]}, Signature: s.Signature})(c)
	}
}

func quote(t tpm2.TPMTPublic) func(*contender) (func() error, error) {
	return func(c *contender) (func() error, error) {
		k, err := c.newKey(t, nil)
		if err != nil {
			return nil, err
		}
		return simple(tpm2.Quote{SignHandle: k.handle, QualifyingData: tpm2.TPM2BData{Buffer: digest[:]}, InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
			PCRSelect: pcrs(0, 1, 2, 3, 4, 5, 6, 7)})(c)
	}
}

func sealOp(c *contender) (func() error, error) {
	parent, err := c.primary()
	if err != nil {
		return nil, err
	}
	if _, err := createCmd(parent, sealed, digest[:]).Execute(c); err != nil {
		return nil, err
	}
	create := bytes.Clone(c.last)
	return func() error {
		return c.timed(func() error {
			rsp, err := c.raw(create)
			if err != nil {
				return err
			}
			blob := rsp[14:] // after the size of the parameters: TPM2B_PRIVATE, TPM2B_PUBLIC
			n := 2 + int(binary.BigEndian.Uint16(blob))
			n += 2 + int(binary.BigEndian.Uint16(blob[n:]))
			if rsp, err = c.raw(withPassword(0x157, uint32(parent.Handle), blob[:n])); err != nil {
				return err
			}
			loaded := bytes.Clone(rsp)
			if _, err = c.raw(withPassword(0x15e, binary.BigEndian.Uint32(loaded[10:]), nil)); err != nil {
				return err
			}
			return c.rawFlush(loaded)
		})
	}, nil
}

// withPassword is a command with one handle and an empty password for it.
func withPassword(cc, handle uint32, parms []byte) []byte {
	cmd := binary.BigEndian.AppendUint32([]byte{0x80, 0x02, 0, 0, 0, 0}, cc)
	cmd = binary.BigEndian.AppendUint32(cmd, handle)
	cmd = append(append(cmd, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0), parms...)
	binary.BigEndian.PutUint32(cmd[2:], uint32(len(cmd)))
	return cmd
}

// selfTest sends TPM2_SelfTest(fullTest), which go-tpm does not have.
func selfTest(c *contender) (func() error, error) {
	return c.repeat([]byte{0x80, 0x01, 0, 0, 0, 11, 0, 0, 0x01, 0x43, 1}), nil
}
