package ekcert

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"xenvtpm/vtpm-stub/tpm2"
)

// certIdentity is what an endorsement key's certificate says of its TPM.
type certIdentity struct {
	manufacturer, model, version string
	family                       string
	level, revision              int
}

// identityOf reads a certificate as verifiers do.
func identityOf(t *testing.T, der []byte) (id certIdentity) {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	type attr struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	for _, e := range cert.Extensions {
		switch {
		case e.Id.Equal(oidSAN):
			var names []asn1.RawValue
			mustParse(t, e.Value, &names)
			for _, n := range names {
				if n.Tag != 4 {
					continue
				}
				var rdns [][]attr
				var inner asn1.RawValue
				mustParse(t, n.Bytes, &inner)
				for rest := inner.Bytes; len(rest) > 0; {
					var set []attr
					if rest, err = asn1.UnmarshalWithParams(rest, &set, "set"); err != nil {
						t.Fatal(err)
					}
					rdns = append(rdns, set)
				}
				for _, set := range rdns {
					for _, a := range set {
						switch v := string(a.Value.Bytes); {
						case a.ID.Equal(oidTPMManufacturer):
							id.manufacturer = v
						case a.ID.Equal(oidTPMModel):
							id.model = v
						case a.ID.Equal(oidTPMVersion):
							id.version = v
						}
					}
				}
			}
		case e.Id.Equal(oidSDA):
			var list []struct {
				ID     asn1.ObjectIdentifier
				Values []struct {
					Family          string `asn1:"utf8"`
					Level, Revision int
				} `asn1:"set"`
			}
			mustParse(t, e.Value, &list)
			if len(list) != 1 || !list[0].ID.Equal(oidTPMSpec) || len(list[0].Values) != 1 {
				t.Fatalf("directory attributes %+v", list)
			}
			v := list[0].Values[0]
			id.family, id.level, id.revision = v.Family, v.Level, v.Revision
		}
	}
	return id
}

func mustParse(t *testing.T, der []byte, v any) {
	t.Helper()
	if rest, err := asn1.Unmarshal(der, v); err != nil || len(rest) != 0 {
		t.Fatalf("%x: %v", der, err)
	}
}

// properties asks a TPM for the fixed ones.
func properties(t *testing.T, tpm *tpm2.TPM) map[uint32]uint32 {
	t.Helper()
	cmd := binary.BigEndian.AppendUint32(nil, uint32(tpm2.TPM_CC_GetCapability))
	for _, v := range []uint32{tpm2.TPM_CAP_TPM_PROPERTIES, 0x100, 100} {
		cmd = binary.BigEndian.AppendUint32(cmd, v)
	}
	rsp := tpm.Execute(0, append([]byte{0x80, 1, 0, 0, 0, byte(6 + len(cmd))}, cmd...), nil)
	if len(rsp) < 19 || (len(rsp)-19)%8 != 0 {
		t.Fatalf("GetCapability: %x", rsp)
	}
	all := map[uint32]uint32{}
	for p := rsp[19:]; len(p) > 0; p = p[8:] {
		all[binary.BigEndian.Uint32(p)] = binary.BigEndian.Uint32(p[4:])
	}
	return all
}

// text is a property of four letters, the last ones zero.
func text(v uint32) string {
	return strings.TrimRight(string(binary.BigEndian.AppendUint32(nil, v)), "\x00")
}

// TestIdentity: a certificate says of the TPM what the TPM says of itself, whatever its profile.
func TestIdentity(t *testing.T) {
	ca, _ := testCA(t)
	for _, name := range tpm2.ProfileNames() {
		profile, err := tpm2.ProfileNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		tpm, err := tpm2.New(tpm2.Config{Clock: func() int64 { return 0 }, Entropy: rand.Reader, Profile: profile})
		if err != nil {
			t.Fatal(err)
		}
		if rsp := tpm.Execute(0, []byte{0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0}, nil); rsp[9] != 0 {
			t.Fatalf("Startup: %x", rsp)
		}
		_, unique, err := tpm.EKPublic(tpm2.EKECCP256)
		if err != nil {
			t.Fatal(err)
		}
		der, err := ca.Certify(EK{SPKI: SPKIOfECC(256, unique), URI: "urn:uuid:00000000-0000-0000-0000-000000000001", Revision: tpm.Profile().Specification().Revision})
		if err != nil {
			t.Fatal(err)
		}
		p := properties(t, tpm)
		want := certIdentity{
			manufacturer: fmt.Sprintf("id:%08X", p[tpm2.TPM_PT_MANUFACTURER]),
			model: text(p[tpm2.TPM_PT_VENDOR_STRING_1]) + text(p[tpm2.TPM_PT_VENDOR_STRING_2]) +
				text(p[tpm2.TPM_PT_VENDOR_STRING_3]) + text(p[tpm2.TPM_PT_VENDOR_STRING_4]),
			version: fmt.Sprintf("id:%08X", p[tpm2.TPM_PT_FIRMWARE_VERSION_1]),
			family:  text(p[tpm2.TPM_PT_FAMILY_INDICATOR]), level: int(p[tpm2.TPM_PT_LEVEL]), revision: int(p[tpm2.TPM_PT_REVISION]),
		}
		if got := identityOf(t, der); got != want || want.manufacturer != "id:58454E00" || want.model != "xenvtpm" {
			t.Errorf("%s: the certificate says %+v, the TPM %+v", name, got, want)
		}
	}
}
