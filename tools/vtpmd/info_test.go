package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"xenvtpm/tools/vtpmd/options"
	"xenvtpm/tools/vtpmd/ptm"
	"xenvtpm/tools/vtpmd/server"
	"xenvtpm/vtpm-stub/tpm2"
)

// What vtpmd says of itself is what its TPM does.
func TestInfoIsTrue(t *testing.T) {
	for _, name := range tpm2.ProfileNames() {
		p, err := tpm2.ProfileNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		src := newSource(t.Logf, p, &options.Options{})
		e, err := src.power(server.Supply{Persist: func([]byte) error { return nil }, Cancelled: func() bool { return false }})
		if err != nil {
			t.Fatal(err)
		}
		send := func(format string, a ...any) []byte {
			var cmd []byte
			if _, err := fmt.Sscanf(fmt.Sprintf(format, a...), "%x", &cmd); err != nil {
				t.Fatal(err)
			}
			binary.BigEndian.PutUint32(cmd[2:], uint32(len(cmd)))
			return e.Execute(0, cmd, nil)
		}
		supported := func(format string, sizes ...int) (yes []int) {
			for _, n := range sizes {
				if rsp := send(format, n); binary.BigEndian.Uint32(rsp[6:]) == 0 { // TPM2_TestParms
					yes = append(yes, n)
				}
			}
			return yes
		}
		send("8001000000000000014400" + "00")
		var said struct {
			TPMSpecification struct {
				Family          string
				Level, Revision uint32
			}
			TPMFeatures struct{ RSAKeySizes, CamelliaKeySizes []int }
		}
		if err := json.Unmarshal([]byte(info(ptm.InfoTPMSpecification|ptm.InfoTPMFeatures|ptm.InfoTPMAttributes, src.offered.Load())), &said); err != nil {
			t.Fatal(err)
		}
		if want := supported("80010000000000"+"00018a"+"000100100010%04x00000000", 512, 1024, 1536, 2048, 3072, 4096, 8192); !slices.Equal(said.TPMFeatures.RSAKeySizes, want) {
			t.Errorf("RSA: %v, the TPM has %v", said.TPMFeatures.RSAKeySizes, want)
		}
		if want := supported("80010000000000"+"00018a"+"00250026%04x0043", 128, 192, 256); !slices.Equal(said.TPMFeatures.CamelliaKeySizes, want) {
			t.Errorf("Camellia: %v, the TPM has %v", said.TPMFeatures.CamelliaKeySizes, want)
		}
		// TPM_PT_FAMILY_INDICATOR, _LEVEL, _REVISION: pairs of u32 after 19 octets.
		rsp := send("80010000000000" + "00017a" + "000000060000010000000003")
		if got := string(rsp[23:26]); got != said.TPMSpecification.Family {
			t.Errorf("family %q, the TPM says %q", said.TPMSpecification.Family, got)
		}
		if level, rev := binary.BigEndian.Uint32(rsp[31:]), binary.BigEndian.Uint32(rsp[39:]); level != said.TPMSpecification.Level || rev != said.TPMSpecification.Revision {
			t.Errorf("%+v, the TPM says %d, %d", said.TPMSpecification, level, rev)
		}
	}
	// The words of --print-capabilities are those of a TPM without flags.
	for _, n := range []int{1024, 2048, 3072, 4096} {
		if word := fmt.Sprintf("rsa-keysize-%d", n); slices.Contains(features, word) != slices.Contains(tpm2.DefaultProfile().RSAKeySizes(), n) {
			t.Errorf("%s: %v", word, strings.Join(features, " "))
		}
	}
}
