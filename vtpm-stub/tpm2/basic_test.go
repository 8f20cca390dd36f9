package tpm2

import (
	"testing"

	"github.com/google/go-tpm/tpm2"
)

// TestGoTPM uses the engine through go-tpm, as a black box.
func TestGoTPM(t *testing.T) {
	x := newTestTPM(t)
	rnd, err := tpm2.GetRandom{BytesRequested: 16}.Execute(x)
	if err != nil || len(rnd.RandomBytes.Buffer) != 16 {
		t.Fatal(err, rnd)
	}
	prim, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.TPMRHOwner,
		InPublic:      tpm2.New2B(tpm2.ECCSRKTemplate),
	}.Execute(x)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := tpm2.ReadPublic{ObjectHandle: prim.ObjectHandle}.Execute(x)
	if err != nil {
		t.Fatal(err)
	}
	if string(pub.Name.Buffer) != string(prim.Name.Buffer) {
		t.Error("names differ")
	}
	p, err := pub.OutPublic.Contents()
	if err != nil {
		t.Fatal(err)
	}
	name, err := tpm2.ObjectName(p)
	if err != nil || string(name.Buffer) != string(prim.Name.Buffer) {
		t.Errorf("name is not the one that go-tpm computes: %v", err)
	}
	if _, err := (tpm2.FlushContext{FlushHandle: prim.ObjectHandle}).Execute(x); err != nil {
		t.Fatal(err)
	}
}

// TestGoTPMSessions writes and reads an NV Index through every kind of session.
func TestGoTPMSessions(t *testing.T) {
	x := newTestTPM(t)
	prim, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.TPMRHOwner,
		InPublic:      tpm2.New2B(tpm2.ECCSRKTemplate),
	}.Execute(x)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := prim.OutPublic.Contents()
	if err != nil {
		t.Fatal(err)
	}
	auth := []byte("secret")
	index := tpm2.TPMHandle(0x01800001)
	def := tpm2.NVDefineSpace{
		AuthHandle: tpm2.TPMRHOwner,
		Auth:       tpm2.TPM2BAuth{Buffer: auth},
		PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
			NVIndex: index, NameAlg: tpm2.TPMAlgSHA256, DataSize: 16,
			Attributes: tpm2.TPMANV{AuthRead: true, AuthWrite: true, OwnerRead: true, NoDA: true},
		}),
	}
	if _, err := def.Execute(x); err != nil {
		t.Fatal(err)
	}
	name := func() tpm2.TPM2BName {
		r, err := tpm2.NVReadPublic{NVIndex: index}.Execute(x)
		if err != nil {
			t.Fatal(err)
		}
		return r.NVName
	}
	x.ok(x.cmdS(TPM_CC_NV_Write, handles(Handle(index), Handle(index)), pw("secret"), b2([]byte("old")), u16(0)))
	in, out := tpm2.AESEncryption(128, tpm2.EncryptIn), tpm2.AESEncryption(256, tpm2.EncryptOut)
	salted := tpm2.Salted(prim.ObjectHandle, *pub)
	for what, opts := range map[string][3][]tpm2.AuthOption{
		"hmac":            {{}},
		"encrypted":       {{}, {in}, {out}},
		"salted":          {{salted}, {in}, {out}},
		"bound":           {{tpm2.Bound(index, name(), auth)}},
		"bound elsewhere": {{tpm2.Bound(tpm2.TPMRHOwner, tpm2.HandleName(tpm2.TPMRHOwner), nil)}, {in}, {out}},
	} {
		t.Run(what, func(t *testing.T) {
			both := append([]tpm2.AuthOption{tpm2.Auth(auth)}, opts[0]...)
			write := append(append([]tpm2.AuthOption(nil), both...), opts[1]...)
			read := append(append([]tpm2.AuthOption(nil), both...), opts[2]...)
			data := []byte("sixteen octets!!")
			_, err := tpm2.NVWrite{
				AuthHandle: tpm2.AuthHandle{Handle: index, Name: name(), Auth: tpm2.HMAC(tpm2.TPMAlgSHA256, 16, write...)},
				NVIndex:    tpm2.NamedHandle{Handle: index, Name: name()},
				Data:       tpm2.TPM2BMaxNVBuffer{Buffer: data},
			}.Execute(x)
			if err != nil {
				t.Fatal(err)
			}
			sess, cleanup, err := tpm2.HMACSession(x, tpm2.TPMAlgSHA384, 32, read...)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				r, err := tpm2.NVRead{
					AuthHandle: tpm2.AuthHandle{Handle: index, Name: name(), Auth: sess},
					NVIndex:    tpm2.NamedHandle{Handle: index, Name: name()}, Size: 16,
				}.Execute(x)
				if err != nil {
					t.Fatal(err)
				}
				if string(r.Data.Buffer) != string(data) {
					t.Errorf("read %q", r.Data.Buffer)
				}
			}
			if err := cleanup(); err != nil {
				t.Fatal(err)
			}
		})
	}
	if l, a := x.loadedSessions(); l != 0 || a != 0 {
		t.Errorf("%d sessions left", a)
	}
}
