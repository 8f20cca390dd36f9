package tpm2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"os"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// update rewrites the golden files of what this program writes. Once a release has
// written a version, it must not be used for it any more.
var update = flag.Bool("update", false, "rewrite testdata/state-*.bin")

// golden returns a golden state. written is what this program writes of the same; nil where it
// writes a later version, and the file only has to be read for ever.
func golden(t *testing.T, name string, written []byte) []byte {
	t.Helper()
	file := "testdata/state-" + name + ".bin"
	if *update && written != nil {
		if err := os.WriteFile(file, written, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if written != nil && !bytes.Equal(b, written) {
		t.Errorf("%s: this program writes %d octets that differ from the golden %d: a changed layout needs a new version", name, len(written), len(b))
	}
	return b
}

// TestGoldenStates: states that version 1 wrote are read, mean the same, and
// this program still writes the same octets of permanent state.
func TestGoldenStates(t *testing.T) {
	x := fullTPM(t)
	states := map[string][]byte{"new": newRawTPM(t).blob, "running": bytes.Clone(x.blob)}
	x.ok(x.cmd(TPM_CC_Shutdown, u16(TPM_SU_STATE)))
	states["suspended"] = x.blob
	for name, kind := range map[string]uint16{"new": TPM_SU_CLEAR, "running": TPM_SU_CLEAR, "suspended": TPM_SU_STATE} {
		x := &testTPM{t: t, now: 1, blob: golden(t, "v1-"+name, states[name])}
		x.reboot()
		if rc := x.start(kind); rc != TPM_RC_SUCCESS {
			t.Errorf("%s: Startup: %v", name, rc)
		}
		if name != "new" {
			x.checkFull(name)
		}
	}
}

// TestGoldenVolatile: volatile states of a running TPM, of each version that wrote some.
func TestGoldenVolatile(t *testing.T) {
	v, err := fullTPM(t).SaveVolatile()
	if err != nil {
		t.Fatal(err)
	}
	for name, written := range map[string][]byte{"v1-volatile": nil, "v3-volatile": v} {
		x := &testTPM{t: t, now: 1, blob: golden(t, "v1-running", nil)}
		x.reboot()
		if err := x.LoadVolatile(golden(t, name, written)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		x.checkFull(name)
		x.ok(x.cmd(TPM_CC_ReadPublic, handles(TRANSIENT_FIRST+1)))
		if left := x.actRemaining(&x.sc.act[3]); left != 99 {
			t.Errorf("%s: the timer has %d s left, want 99", name, left)
		}
	}
}

// TestGoldenPhases: volatile states of before Startup, as version 1 wrote them, which it could not
// read again, and as version 3 does, there with an event sequence; and of a failed TPM.
func TestGoldenPhases(t *testing.T) {
	x := newRawTPM(t)
	x.HashStart()
	x.HashData([]byte("firm"))
	off, err := x.SaveVolatile()
	if err != nil {
		t.Fatal(err)
	}
	x.fail(TPM_RC_FAILURE, "for the test")
	failed, err := x.SaveVolatile()
	if err != nil {
		t.Fatal(err)
	}
	load := func(name string, written []byte) *testTPM {
		x := &testTPM{t: t, now: 1, blob: golden(t, "v1-new", nil)}
		x.reboot()
		if err := x.LoadVolatile(golden(t, name, written)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return x
	}
	if rc := load("v1-volatile-off", nil).start(TPM_SU_CLEAR); rc != TPM_RC_SUCCESS {
		t.Errorf("version 1, before Startup: %v", rc)
	}
	x = load("v3-volatile-off", off)
	x.HashData([]byte("ware"))
	x.HashEnd()
	x.start(TPM_SU_CLEAR)
	digest := tpmcrypto.Sum(TPM_ALG_SHA256, []byte("firmware"))
	if got, want := x.readPCR(TPM_ALG_SHA256, 0), tpmcrypto.Sum(TPM_ALG_SHA256, append(make([]byte, 31), 4), digest); !bytes.Equal(got, want) {
		t.Errorf("version 3, H-CRTM: PCR 0 is %x, want %x", got, want)
	}
	if !load("v3-volatile-failed", failed).Failed() {
		t.Error("version 3: a failed TPM works again")
	}
}

// TestGoldenPersistent: the most persistent objects are version 5, which programs before it refuse by
// name; one fewer is what they read.
func TestGoldenPersistent(t *testing.T) {
	x := newTestTPM(t, func(c *Config) { c.Profile = DefaultProfile() })
	h := x.createPrimaryKey(TPM_RH_OWNER, "", eccTemplate(attrsStorage)).handle
	for n := range Handle(maxPersistent) {
		x.ok(x.cmdS(TPM_CC_EvictControl, handles(TPM_RH_OWNER, h), pw(""), u32(uint32(0x81000000+n))))
		if got, want := binary.BigEndian.Uint16(x.blob[6:]) >= 5, n >= maxPersistentFormer; got != want {
			t.Fatalf("%d objects: version %d", n+1, binary.BigEndian.Uint16(x.blob[6:]))
		}
	}
	x = &testTPM{t: t, now: 1, blob: golden(t, "v5-persistent", x.blob)}
	x.reboot()
	x.ok(x.cmd(TPM_CC_Startup, u16(TPM_SU_CLEAR)))
	x.ok(x.cmd(TPM_CC_ReadPublic, handles(0x81000000+maxPersistent-1)))
	if n := len(x.perm.objects); n != maxPersistent {
		t.Errorf("%d objects, want %d", n, maxPersistent)
	}
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
	b := bytes.Clone(golden(t, "v1-running", nil))
	x := &testTPM{t: t}
	b[stateHeader+6*64+1] ^= 0xFF // size of ownerAuth
	if _, err := Restore(x.testConfig("corrupted"), b); !errors.Is(err, ErrState) {
		t.Errorf("Restore: %v", err)
	}
}
