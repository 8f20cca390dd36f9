package tpm2

import (
	"bytes"
	"testing"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// mlTPM is fullTPM with keys and running sequences of ML-KEM and ML-DSA.
func mlTPM(t testing.TB) *testTPM {
	x := fullTPM(t)
	x.owner.auth = nil
	for i, tpl := range []TPMT_PUBLIC{mlkemTemplate(set768, attrsStorage), mldsaTemplate(set65, attrsSign|objRestricted, true)} {
		h := x.createPrimaryKey(TPM_RH_OWNER, "ml", tpl).handle
		x.addPersistent(x.transient(h), 0x81000010+Handle(i))
		x.drop(h)
	}
	pure := x.createPrimaryKey(TPM_RH_NULL, "", mldsaTemplate(set44, attrsSign, false)).handle
	hash := x.createPrimaryKey(TPM_RH_NULL, "", hashMLDSATemplate(set44, attrsSign, TPM_ALG_SHA3_384)).handle
	for _, key := range []Handle{pure, hash} {
		seq := x.ok(x.signStart(key, "a", []byte("context"))).handle
		x.ok(x.update(seq, "a", []byte("mess")))
	}
	x.owner.auth = []byte("o")
	x.touch()
	if err := x.flush(); err != nil {
		t.Fatal(err)
	}
	return x
}

// mlHandles are the transient objects of mlTPM: keys and their sequences.
const (
	mlPure = TRANSIENT_FIRST + 2 + Handle(iota)
	mlHash
	mlPureSeq
	mlHashSeq
)

// TestGoldenStates2: states that version 2 wrote, with what made it necessary.
func TestGoldenStates2(t *testing.T) {
	x := mlTPM(t)
	running := golden(t, "v2-running", x.blob)
	if !bytes.Equal(running[6:8], u16(2)) {
		t.Errorf("version %x", running[6:8])
	}
	x = &testTPM{t: t, now: 1, blob: running}
	x.reboot()
	if err := x.LoadVolatile(golden(t, "v2-volatile", nil)); err != nil {
		t.Fatal(err)
	}
	x.checkFull("version 2")
	x.checkML()
}

// checkML uses the keys and ends the sequences of mlTPM.
func (x *testTPM) checkML() {
	x.t.Helper()
	pure, hash := x.transient(mlPure), x.transient(mlHash)
	sig := x.readSignature(x.signComplete(mlPureSeq, mlPure, "a", []byte("age")))
	if !x.holds(pure, sig, []byte("context"), []byte("message")) {
		x.t.Error("ML-DSA: the signature does not hold")
	}
	sig = x.readSignature(x.signComplete(mlHashSeq, mlHash, "a", []byte("age")))
	if !x.holdsHash(hash, sig, []byte("context"), []byte("message")) {
		x.t.Error("HashML-DSA: the signature does not hold")
	}
	kem, dsa := x.persistent(0x81000010), x.persistent(0x81000011)
	seed, secret, rc := x.shareSecret(kem, tpmcrypto.LabelSecret)
	if got, rc2 := x.recoverSecret(kem, tpmcrypto.LabelSecret, secret); rc != TPM_RC_SUCCESS || rc2 != TPM_RC_SUCCESS || !bytes.Equal(got, seed) {
		x.t.Errorf("ML-KEM: %v %v", rc, rc2)
	}
	mu := make([]byte, 64)
	sig, rc = signMLDSA(dsa, TPM_ALG_NULL, nil, mu)
	if rc2 := verifyMLDSA(dsa, nil, mu, &sig); rc != TPM_RC_SUCCESS || rc2 != TPM_RC_SUCCESS || string(dsa.sens.Auth) != "ml" {
		x.t.Errorf("ML-DSA: %v %v", rc, rc2)
	}
}

// TestLowestVersion: what is saved has the version that it needs, in both directions: a program
// that knows version 1 only gets its states back when the keys of version 2 are gone.
func TestLowestVersion(t *testing.T) {
	x := fullTPM(t)
	x.owner.auth = nil
	versions := func(want uint16) {
		t.Helper()
		x.touch()
		if err := x.flush(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(x.blob[6:8], u16(want)) {
			t.Errorf("version %x, want %d", x.blob[6:8], want)
		}
	}
	versions(1)
	h := x.createPrimaryKey(TPM_RH_OWNER, "", mlkemTemplate(set1024, attrsStorage)).handle
	versions(1) // a transient object is volatile state
	x.addPersistent(x.transient(h), 0x81000020)
	x.drop(h)
	versions(2)
	x.removePersistent(0x81000020)
	versions(1)
}

// TestMLDamagedState is TestDamagedState for what version 2 has: no flipped bit or cut does worse
// than an error.
func TestMLDamagedState(t *testing.T) {
	x := mlTPM(t)
	cfg := x.testConfig("damaged")
	v, err := x.SaveVolatile()
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(x.blob); i += 3 {
		bad := bytes.Clone(x.blob)
		bad[i] ^= 0x81
		if n, err := Restore(cfg, bad); err == nil {
			if _, err := n.encodePermanent(); err != nil {
				t.Errorf("octet %d flipped: restored but not saved: %v", i, err)
			}
		}
	}
	n, err := Restore(cfg, x.blob)
	if err != nil {
		t.Fatal(err)
	}
	y := &testTPM{TPM: n, t: t, now: 1, keepFail: true}
	for i := len(v) - 9000; i < len(v); i += 61 { // where the objects are
		bad := bytes.Clone(v)
		bad[i] ^= 0x81
		if y.LoadVolatile(bad) != nil {
			continue
		}
		y.signComplete(mlPureSeq, mlPure, "a", []byte("age")) // may fail, must not panic
		y.signComplete(mlHashSeq, mlHash, "a", []byte("age"))
		if y.Failed() {
			if y.TPM, err = Restore(cfg, x.blob); err != nil {
				t.Fatal(err)
			}
		}
	}
}
