package attest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/swtpmtest"
)

// site is a TPM with keys in several places. It is swtpm, so that the qualified
// names are not our own idea of them.
type site struct {
	t   *testing.T
	tpm transport.TPM
}

func newSite(t *testing.T) site {
	t.Helper()
	tpm := patient{swtpmtest.Start(t, true)}
	if _, err := (tpm2.Startup{StartupType: tpm2.TPMSUClear}).Execute(tpm); err != nil {
		t.Fatal(err)
	}
	return site{t, tpm}
}

// patient asks again when the TPM is busy with itself.
type patient struct{ transport.TPM }

func (p patient) Send(cmd []byte) (rsp []byte, err error) {
	for range 100 {
		rsp, err = p.TPM.Send(cmd)
		if err != nil || len(rsp) < 10 || tpm2.TPMRC(binary.BigEndian.Uint32(rsp[6:])) != tpm2.TPMRCRetry {
			break
		}
	}
	return rsp, err
}

func need[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (s site) primary(h tpm2.TPMHandle, template tpm2.TPMTPublic) (tpm2.NamedHandle, []byte) {
	s.t.Helper()
	r := need[*tpm2.CreatePrimaryResponse](s.t)(tpm2.CreatePrimary{PrimaryHandle: h, InPublic: tpm2.New2B(template)}.Execute(s.tpm))
	return tpm2.NamedHandle{Handle: r.ObjectHandle, Name: r.Name}, r.OutPublic.Bytes()
}

// child makes and loads a key below a parent.
func (s site) child(parent tpm2.NamedHandle, auth func() tpm2.Session, template tpm2.TPMTPublic) (tpm2.NamedHandle, []byte) {
	s.t.Helper()
	by := func() tpm2.AuthHandle { return tpm2.AuthHandle{Handle: parent.Handle, Name: parent.Name, Auth: auth()} }
	c := need[*tpm2.CreateResponse](s.t)(tpm2.Create{ParentHandle: by(), InPublic: tpm2.New2B(template)}.Execute(s.tpm))
	l := need[*tpm2.LoadResponse](s.t)(tpm2.Load{ParentHandle: by(), InPrivate: c.OutPrivate, InPublic: c.OutPublic}.Execute(s.tpm))
	return tpm2.NamedHandle{Handle: l.ObjectHandle, Name: l.Name}, c.OutPublic.Bytes()
}

// signer is the qualified name in a quote by a key, which is flushed then.
func (s site) signer(key tpm2.NamedHandle) []byte {
	s.t.Helper()
	q := need[*tpm2.QuoteResponse](s.t)(tpm2.Quote{SignHandle: tpm2.AuthHandle{Handle: key.Handle, Name: key.Name, Auth: tpm2.PasswordAuth(nil)},
		InScheme:  tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgECDSA, Details: tpm2.NewTPMUSigScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSchemeHash{HashAlg: tpm2.TPMAlgSHA256})},
		PCRSelect: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(0)}}}}.Execute(s.tpm))
	s.flush(key)
	return need[hwtpm.Quoted](s.t)(hwtpm.ParseQuote(q.Quoted.Bytes())).Signer
}

func (s site) flush(key tpm2.NamedHandle) {
	s.t.Helper()
	need[*tpm2.FlushContextResponse](s.t)(tpm2.FlushContext{FlushHandle: key.Handle}.Execute(s.tpm))
}

func password() tpm2.Session { return tpm2.PasswordAuth(nil) }

func ekPolicy() tpm2.Session {
	return tpm2.Policy(tpm2.TPMAlgSHA256, 16, func(tpm transport.TPM, h tpm2.TPMISHPolicy, nonce tpm2.TPM2BNonce) error {
		_, err := tpm2.PolicySecret{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)}, PolicySession: h, NonceTPM: nonce}.Execute(tpm)
		return err
	})
}

// certificate certifies a key, by anybody: who signed is checked elsewhere.
func certificate(t *testing.T, key crypto.PublicKey) []byte {
	t.Helper()
	ca := need[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c := &x509.Certificate{SerialNumber: big.NewInt(1)}
	return need[[]byte](t)(x509.CreateCertificate(rand.Reader, c, c, key, ca))
}

func certified(t *testing.T, public []byte) []byte {
	t.Helper()
	p := need[*tpm2.TPMTPublic](t)(tpm2.Unmarshal[tpm2.TPMTPublic](public))
	return certificate(t, need[crypto.PublicKey](t)(tpm2.Pub(*p)))
}

func TestOrigin(t *testing.T) {
	s := newSite(t)
	is := func(name string, v *VTPM, qualified []byte, want string) {
		t.Helper()
		where, err := origin(v, qualified)
		if err != nil {
			where = err.Error()
		}
		if !strings.Contains(where, want) {
			t.Errorf("%s: %s, want %s", name, where, want)
		}
	}
	for h, name := range hierarchies {
		k, pub := s.primary(h, akTemplate())
		signer := s.signer(k)
		is("primary", &VTPM{Key: pub}, signer, "a primary key of its "+name)
		signer[5] ^= 1
		is("another name", &VTPM{Key: pub}, signer, "another key")
	}
	for name, template := range map[string]tpm2.TPMTPublic{"RSA": tpm2.RSAEKTemplate, "ECC": tpm2.ECCEKTemplate} {
		ek, ekPub := s.primary(tpm2.TPMRHEndorsement, template)
		ak, pub := s.child(ek, ekPolicy, akTemplate())
		signer := s.signer(ak)
		s.flush(ek)
		is(name+" EK", &VTPM{Key: pub, Certificate: certified(t, ekPub)}, signer, "below its certified endorsement key")
		other := need[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
		is("EK of another", &VTPM{Key: pub, Certificate: certificate(t, other.Public())}, signer, "unknown parent")
		is(name+" EK as the parent", &VTPM{Key: pub, Parent: ekPub}, signer, "below a primary key of its endorsement")
	}
	srk, srkPub := s.primary(tpm2.TPMRHOwner, tpm2.ECCSRKTemplate)
	ak, pub := s.child(srk, password, akTemplate())
	signer := s.signer(ak)
	is("SRK", &VTPM{Key: pub, Parent: srkPub}, signer, "below a primary key of its owner")
	is("SRK not given", &VTPM{Key: pub}, signer, "give --vtpm-parent")
	is("junk for a parent", &VTPM{Key: pub, Parent: []byte("junk"), Certificate: []byte("junk")}, signer, "unknown parent")
	free := akTemplate()
	free.ObjectAttributes.Restricted = false
	k, freePub := s.child(srk, password, free)
	is("unrestricted", &VTPM{Key: freePub, Parent: srkPub}, s.signer(k), "signs whatever it is given")
}

// A guest can have a quote made by a key that it brought along, and then claim
// that the key has the attributes of one that never left the TPM.
func TestOriginOfForeignKey(t *testing.T) {
	s := newSite(t)
	key := need[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	point, secret := need[[]byte](t)(key.PublicKey.Bytes()), need[[]byte](t)(key.Bytes())
	own := akTemplate()
	own.ObjectAttributes = tpm2.TPMAObject{UserWithAuth: true, SignEncrypt: true}
	own.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{X: tpm2.TPM2BECCParameter{Buffer: point[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]}})
	load := func(public tpm2.TPMTPublic) (*tpm2.LoadExternalResponse, error) {
		return tpm2.LoadExternal{InPublic: tpm2.New2B(public), Hierarchy: tpm2.TPMRHNull,
			InPrivate: tpm2.New2B(tpm2.TPMTSensitive{SensitiveType: tpm2.TPMAlgECC,
				Sensitive: tpm2.NewTPMUSensitiveComposite(tpm2.TPMAlgECC, &tpm2.TPM2BECCParameter{Buffer: secret})})}.Execute(s.tpm)
	}
	claimed := own
	claimed.ObjectAttributes = akTemplate().ObjectAttributes
	if _, err := load(claimed); err == nil {
		t.Fatal("the TPM takes a foreign key for its own")
	}
	r := need[*tpm2.LoadExternalResponse](t)(load(own))
	signer := s.signer(tpm2.NamedHandle{Handle: r.ObjectHandle, Name: r.Name})
	if _, err := origin(&VTPM{Key: tpm2.Marshal(own)}, signer); err == nil {
		t.Error("a key that was brought along is taken for the vTPM's")
	}
	if _, err := origin(&VTPM{Key: tpm2.Marshal(claimed)}, signer); err == nil {
		t.Error("with false attributes it is taken for the vTPM's")
	}
}
