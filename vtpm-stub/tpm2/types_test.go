package tpm2

import (
	"bytes"
	"testing"
)

// codecs are all structures that are both read and written: each reads from r
// and writes what it read.
var codecs = []struct {
	name  string
	again func(r *reader, w *writer)
	seed  []byte
}{
	{"symDef", func(r *reader, w *writer) { d := r.symDef(true); w.symDef(&d) }, symAES128},
	{"symDef XOR", func(r *reader, w *writer) { d := r.symDef(false); w.symDef(&d) }, hx("000a 000b")},
	{"symDefObject", func(r *reader, w *writer) { d := r.symDefObject(false); w.symDef(&d) }, hx("0006 0100 0043")},
	{"sigScheme", func(r *reader, w *writer) { s := r.sigScheme(); w.scheme(&s) }, hx("001a 000b 0007")},
	{"rsaDecrypt", func(r *reader, w *writer) { s := r.rsaDecrypt(); w.scheme(&s) }, hx("0017 0004")},
	{"rsaDecrypt RSAES", func(r *reader, w *writer) { s := r.rsaDecrypt(); w.scheme(&s) }, hx("0015")},
	{"kdfScheme", func(r *reader, w *writer) { s := r.kdfScheme(); w.scheme(&s) }, hx("0022 000c")},
	{"keyedhash scheme", func(r *reader, w *writer) {
		s := r.scheme(schemeHMAC|schemeXOR|schemeNull, TPM_RC_VALUE)
		w.scheme(&s)
	}, hx("000a 000b 0022")},
	{"signature RSA", func(r *reader, w *writer) { s := r.signature(false); w.signature(&s) }, join(hx("0014 000b"), b2(make([]byte, 256)))},
	{"signature ECC", func(r *reader, w *writer) { s := r.signature(false); w.signature(&s) }, hx("0018 000b 0001 05 0002 0607")},
	{"signature HMAC", func(r *reader, w *writer) { s := r.signature(true); w.signature(&s) }, join(hx("0005 0004"), make([]byte, 20))},
	{"signature null", func(r *reader, w *writer) { s := r.signature(true); w.signature(&s) }, hx("0010")},
	{"public ECC", public(publicPlain), publicBytes(eccTemplate(attrsStorage))},
	{"public RSA", public(publicPlain), publicBytes(rsaTemplate(attrsStorage))},
	{"public KEYEDHASH", public(publicPlain), publicBytes(keyedHashTemplate(attrsSign))},
	{"public SYMCIPHER", public(publicNullName), publicBytes(symTemplate(attrsSign))},
	{"public derive", public(publicDeriveForm), hx("0008 000b 00000000 0000 0010 0001 6c 0002 6364")},
	{"public2B", func(r *reader, w *writer) { p := r.public2B(publicPlain); w.public2B(&p) }, b2(publicBytes(eccTemplate(attrsSign)))},
	{"sensitive", func(r *reader, w *writer) { s := r.sensitive(); w.sensitive(&s) }, hx("0023 0001 01 0002 0203 0003 040506")},
	{"PCR selection", func(r *reader, w *writer) { var l TPML_PCR_SELECTION; r.pcrSelection(&l); w.pcrSelection(&l) }, join(u32(2), pcrSel(TPM_ALG_SHA1, 1), pcrSel(TPM_ALG_SHA256, 23))},
	{"digest values", func(r *reader, w *writer) { var l TPML_DIGEST_VALUES; r.digestValues(&l); w.digestValues(&l) }, join(u32(1), u16(4), make([]byte, 20))},
	{"ticket", func(r *reader, w *writer) { k := r.ticket(TPM_ST_CREATION, TPM_ST_VERIFIED); w.ticket(&k) }, hx("8022 40000007 0000")},
	{"ECC point", func(r *reader, w *writer) { p := r.eccPoint2B(); w.eccPoint2B(&p) }, hx("0007 0002 0102 0001 03")},
	{"context", func(r *reader, w *writer) { c := r.context(); w.context(&c) }, hx("0000000000000001 02000000 40000007 0002 abcd")},
	{"NV public", func(r *reader, w *writer) { p := r.nvPublic2B(); w.nvPublic2B(&p) }, hx("000e 01000001 000b 00020002 0000 0008")},
}

func public(how publicHow) func(r *reader, w *writer) {
	return func(r *reader, w *writer) { p := r.public(how); w.public(&p) }
}

func publicBytes(p TPMT_PUBLIC) []byte { return marshal(maxPublic, func(w *writer) { w.public(&p) }) }

// TestCodecs: what was read is written as it was, cut input is
// TPM_RC_INSUFFICIENT or TPM_RC_SIZE, and errors carry the parameter.
func TestCodecs(t *testing.T) {
	for _, c := range codecs {
		r, w := reader{b: c.seed}, writer{b: make([]byte, 0, 4096)}
		c.again(&r, &w)
		if rc := r.end(); rc != TPM_RC_SUCCESS || !bytes.Equal(w.b, c.seed) {
			t.Errorf("%s: %v\n% x\n% x", c.name, rc, c.seed, w.b)
		}
		for n := range c.seed {
			r, w := reader{b: c.seed[:n], num: 3}, writer{b: make([]byte, 0, 4096)}
			c.again(&r, &w)
			if r.rc != TPM_RC_INSUFFICIENT.Param(3) && r.rc != TPM_RC_SIZE.Param(3) {
				t.Errorf("%s: cut to %d octets: %v", c.name, n, r.rc)
			}
		}
	}
}

// FuzzTypes: encode(decode(x)) = x for every structure.
func FuzzTypes(f *testing.F) {
	for i, c := range codecs {
		f.Add(uint8(i), c.seed)
	}
	f.Fuzz(func(t *testing.T, i uint8, in []byte) {
		c := codecs[int(i)%len(codecs)]
		r, w := reader{b: in}, writer{b: make([]byte, 0, 1<<17)}
		c.again(&r, &w)
		if r.rc == TPM_RC_SUCCESS && !bytes.Equal(w.b, in[:len(in)-len(r.b)]) {
			t.Errorf("%s: read % x, wrote % x", c.name, in, w.b)
		}
	})
}

// TestWriterFull: what does not fit is dropped and remembered.
func TestWriterFull(t *testing.T) {
	w := writer{b: make([]byte, 0, 10)}
	w.u64(1)
	m := w.begin2B()
	w.raw([]byte{1})
	w.u8(2) // would fit in what is left, but the structure is broken already
	w.end2B(m)
	if !w.full || len(w.b) != 10 || w.grow(1) != nil {
		t.Errorf("full %v, %d octets", w.full, len(w.b))
	}
}
