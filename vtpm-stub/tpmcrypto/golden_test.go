package tpmcrypto

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/golden.txt anew; breaks every existing TPM")

// goldenKeys derives keys as CreatePrimary and Derive do. What comes out must
// never change.
func goldenKeys(t *testing.T) []byte {
	var out bytes.Buffer
	out.WriteString("# name public-part private-part\n")
	src := func() *DRBG { return PrimaryDRBG(fill(0x11, 64), fill(0x22, 32), "golden") }
	b := make([]byte, 48)
	src().Read(b)
	fmt.Fprintf(&out, "drbg - %x\n", b)
	for _, bits := range []int{1024, 2048, 3072} {
		k, err := GenerateRSA(bits, 0, src(), nil)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "rsa%d %x %x\n", bits, k.Public().Modulus(), k.Prime())
	}
	for _, c := range Curves() {
		k, err := GenerateECC(c, src())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "primary-%s %x %x\n", k.pub.g.Name(), k.pub.q.X, k.d)
		k, err = GenerateECC(c, NewKDFSource(AlgSHA256, fill(0x33, 32), []byte("label"), []byte("context")))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "derived-%s %x %x\n", k.pub.g.Name(), k.pub.q.X, k.d)
		r, err := k.pub.g.CommitScalar(AlgSHA256, fill(0x44, 32), []byte("name"), 0x1_0002_0003)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "commit-%s - %s\n", k.pub.g.Name(), hex.EncodeToString(r))
	}
	return out.Bytes()
}

func TestGoldenKeys(t *testing.T) {
	got := goldenKeys(t)
	if *update {
		if err := os.WriteFile("testdata/golden.txt", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("derived keys have changed; got\n%s", got)
	}
}
