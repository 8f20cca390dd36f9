package tpm2

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"testing"
)

// update rewrites the golden files of the current version of the format. Once
// a release has written that version, it must not be used for it any more.
var update = flag.Bool("update", false, "rewrite testdata/state-v1-*.bin")

// goldenStates makes the states that testdata holds.
func goldenStates(t *testing.T) map[string][]byte {
	full := fullTPM(t)
	v, err := full.SaveVolatile()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{"new": newRawTPM(t).blob, "running": bytes.Clone(full.blob), "volatile": v}
	full.ok(full.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE)))
	out["suspended"] = bytes.Clone(full.blob)
	return out
}

func goldenFile(name string) string { return "testdata/state-v1-" + name + ".bin" }

// TestGoldenStates: states that version 1 wrote are read, mean the same, and
// this program still writes the same octets.
func TestGoldenStates(t *testing.T) {
	states := goldenStates(t)
	if *update {
		for name, b := range states {
			if err := os.WriteFile(goldenFile(name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	golden := map[string][]byte{}
	for name, b := range states {
		g, err := os.ReadFile(goldenFile(name))
		if err != nil {
			t.Fatal(err)
		}
		golden[name] = g
		if !bytes.Equal(g, b) {
			t.Errorf("%s: this program writes %d octets that differ from the golden %d: a changed layout needs a new version", name, len(b), len(g))
		}
	}
	x := &testTPM{t: t, now: 1}
	for name, kind := range map[string]uint16{"new": TPM_SU_CLEAR, "running": TPM_SU_CLEAR, "suspended": TPM_SU_STATE} {
		x.blob = golden[name]
		x.reboot()
		if rc := x.start(kind); rc != TPM_RC_SUCCESS {
			t.Errorf("%s: Startup: %v", name, rc)
		}
		if name != "new" {
			x.checkFull(name)
		}
	}
	x.blob = golden["running"]
	x.reboot()
	if err := x.LoadVolatile(golden["volatile"]); err != nil {
		t.Fatal(err)
	}
	x.checkFull("volatile")
	x.ok(x.cmd(TPM_CC_ReadPublic, handles(TRANSIENT_FIRST+1)))
}

// checkFull checks that the state is that of fullTPM.
func (x *testTPM) checkFull(name string) {
	x.t.Helper()
	x.owner.auth = nil
	r := x.ok(x.cmdS(TPM_CC_NV_Read, handles(testIndex, testIndex), pw("pass"), u16(8), u16(0))).reader()
	if got := r.b2(8); string(got) != "contents" {
		x.t.Errorf("%s: index holds %q", name, got)
	}
	o := x.persistent(0x81000001)
	if o == nil || string(o.sens.Auth) != "auth" || !bytes.Equal(o.name, x.computeName(&o.pub)) {
		x.t.Errorf("%s: persistent object", name)
	}
	if k, rc := o.eccKey(); rc != TPM_RC_SUCCESS || !bytes.Equal(k.Public().Point().X, o.pub.X) {
		x.t.Errorf("%s: key: %v", name, rc)
	}
}

// TestGoldenCorrupted: a golden state with one octet changed in a length is
// refused by name.
func TestGoldenCorrupted(t *testing.T) {
	b, err := os.ReadFile(goldenFile("running"))
	if err != nil {
		t.Fatal(err)
	}
	x := &testTPM{t: t}
	b[stateHeader+6*64+1] ^= 0xFF // size of ownerAuth
	if _, err := Restore(x.testConfig("corrupted"), b); !errors.Is(err, ErrState) {
		t.Errorf("Restore: %v", err)
	}
}
