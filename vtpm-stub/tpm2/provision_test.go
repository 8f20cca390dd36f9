package tpm2

import (
	"bytes"
	"errors"
	"testing"

	gotpm "github.com/google/go-tpm/tpm2"
)

// The templates are those that other software uses: the key in the certificate
// must be the one that a guest creates.
func TestEKTemplates(t *testing.T) {
	x := newTestTPM(t)
	for name, c := range map[string]struct {
		kind     EKTemplate
		template gotpm.TPMTPublic
	}{
		"L-1": {EKRSA2048, gotpm.RSAEKTemplate},
		"L-2": {EKECCP256, gotpm.ECCEKTemplate},
	} {
		ours := c.kind.public()
		if got := marshal(maxPublic, func(w *writer) { w.public(&ours) }); !bytes.Equal(got, gotpm.Marshal(c.template)) {
			t.Errorf("%s: template\n%x, want\n%x", name, got, gotpm.Marshal(c.template))
		}
		rsp, err := gotpm.CreatePrimary{PrimaryHandle: gotpm.TPMRHEndorsement, InPublic: gotpm.New2B(c.template)}.Execute(x)
		if err != nil {
			t.Fatal(err)
		}
		objects := x.ram.objects
		var public, unique []byte
		x.unchanged(func() { public, unique, err = x.EKPublic(c.kind) })
		if err != nil || !bytes.Equal(public, rsp.OutPublic.Bytes()) {
			t.Errorf("%s: %v\n%x, a guest gets\n%x", name, err, public, rsp.OutPublic.Bytes())
		}
		if x.ram.objects != objects {
			t.Errorf("%s: EKPublic used an object slot", name)
		}
		pub, _ := rsp.OutPublic.Contents()
		if n, err := pub.Unique.RSA(); err == nil && !bytes.Equal(unique, n.Buffer) {
			t.Errorf("%s: unique %x", name, unique)
		}
		if p, err := pub.Unique.ECC(); err == nil && !bytes.Equal(unique, join([]byte{4}, p.X.Buffer, p.Y.Buffer)) {
			t.Errorf("%s: unique %x", name, unique)
		}
		x.flushObject(Handle(rsp.ObjectHandle))
	}
}

// A long search for primes can be given up, and changes nothing then.
func TestEKPublicCancelled(t *testing.T) {
	x := newTestTPM(t)
	x.cancel = true
	x.unchanged(func() {
		if _, _, err := x.EKPublic(EKRSA2048); err != TPM_RC_CANCELED {
			t.Errorf("error %v", err)
		}
	})
}

func TestProvisionNV(t *testing.T) {
	x := newTestTPM(t)
	cert := bytes.Repeat([]byte("certificate "), 60)
	if err := x.ProvisionNV(NVCertECCP256, cert); err != nil {
		t.Fatal(err)
	}
	x.reboot() // it is permanent
	x.ok(x.cmd(TPM_CC_Startup, u16(TPM_SU_CLEAR)))
	r := x.ok(x.cmd(TPM_CC_NV_ReadPublic, handles(NVCertECCP256))).reader()
	n := r.u16()
	p := r.nvPublic()
	if n == 0 || p.Attributes != 0x62072801 || int(p.DataSize) != len(cert) {
		t.Errorf("public area %+v", p)
	}
	for _, auth := range []Handle{NVCertECCP256, TPM_RH_OWNER, TPM_RH_PLATFORM} {
		r := x.ok(x.cmdS(TPM_CC_NV_Read, handles(auth, NVCertECCP256), pw(""), u16(uint16(len(cert))), u16(0)))
		if !bytes.Equal(r.params[2:], cert) {
			t.Errorf("read by %#x: %x", uint32(auth), r.params)
		}
	}
	x.want(x.cmdS(TPM_CC_NV_Write, handles(TPM_RH_PLATFORM, NVCertECCP256), pw(""), b2([]byte{1}), u16(0)), TPM_RC_NV_LOCKED)
	x.want(x.cmdS(TPM_CC_NV_UndefineSpace, handles(TPM_RH_OWNER, NVCertECCP256), pw("")), TPM_RC_NV_AUTHORIZATION)

	// A shorter one takes its place.
	if err := x.ProvisionNV(NVCertECCP256, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if got := x.NVData(NVCertECCP256); string(got) != "new" || x.NVData(NVCertRSA2048) != nil {
		t.Errorf("NVData %q", got)
	}
}

func TestProvisionNVErrors(t *testing.T) {
	x := newTestTPM(t)
	for _, c := range []struct {
		index Handle
		size  int
		want  RC
	}{
		{NVCertECCP256, 0, TPM_RC_SIZE}, {NVCertECCP256, maxNVIndex + 1, TPM_RC_SIZE}, {0x81000000, 1, TPM_RC_HANDLE},
	} {
		x.unchanged(func() {
			if err := x.ProvisionNV(c.index, make([]byte, c.size)); err != c.want {
				t.Errorf("index %#x, %d octets: %v", uint32(c.index), c.size, err)
			}
		})
	}
	if err := newRawTPM(t).ProvisionNV(NVCertECCP256, []byte{1}); err != TPM_RC_INITIALIZE {
		t.Errorf("before Startup: %v", err)
	}
	// NV that a guest has filled: what was there stays.
	if err := x.ProvisionNV(NVCertECCP256, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	at := Handle(0x01500000)
	for _, size := range []int{maxNVIndex, 8} {
		for x.ProvisionNV(at, make([]byte, size)) == nil {
			if at++; at > 0x01500000+maxNVIndices {
				t.Fatal("NV does not get full")
			}
		}
	}
	x.unchanged(func() {
		if err := x.ProvisionNV(NVCertECCP256, make([]byte, maxNVIndex)); err != TPM_RC_NV_SPACE {
			t.Errorf("full: %v", err)
		}
	})
	if err := x.ProvisionNV(NVCertECCP256, make([]byte, 99)); err != nil {
		t.Errorf("what fits in the old place: %v", err)
	}
	x.saveErr = errTest
	x.keepFail = true
	if err := x.ProvisionNV(NVCertECCP256, []byte{7}); !errors.Is(err, TPM_RC_FAILURE) || !x.Failed() {
		t.Errorf("a save that fails: %v", err)
	}
}
