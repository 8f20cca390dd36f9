package tpm2

import (
	"bytes"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// innerWrap returns a duplicate's inner wrapper (TPM20-P1 section 23.3.2.2):
// integrity hash and sensitive area, encrypted with key.
func (t *TPM) innerWrap(o *object, sym *TPMT_SYM_DEF, key, area []byte) []byte {
	sum := t.hash.Sum(o.pub.NameAlg, nil, area, o.name)
	out := marshal(maxPrivate, func(w *writer) { w.b2(sum); w.raw(area) })
	b := innerCipher(sym, key)
	mustCFB(tpmcrypto.Encrypt, b, make([]byte, b.BlockSize()), out)
	return out
}

// innerUnwrap reverses innerWrap for an object of a nameAlg and Name. Errors,
// without a parameter number: TPM_RC_INTEGRITY; those of malformed structures.
func (t *TPM) innerUnwrap(nameAlg AlgID, name []byte, sym *TPMT_SYM_DEF, key, blob []byte) ([]byte, RC) {
	plain := bytes.Clone(blob)
	b := innerCipher(sym, key)
	mustCFB(tpmcrypto.Decrypt, b, make([]byte, b.BlockSize()), plain)
	r := reader{b: plain}
	sum := r.digest()
	if r.rc != TPM_RC_SUCCESS || !tpmcrypto.Equal(sum, t.hash.Sum(nameAlg, nil, r.b, name)) {
		return nil, TPM_RC_INTEGRITY // a wrong key garbles the size, too
	}
	return r.b, TPM_RC_SUCCESS
}

// outerWrap returns a duplicate's outer wrapper for a new parent and the secret
// that carries its seed (TPM20-P1 section 23.3.2.3). Errors, without a
// position: TPM_RC_KEY.
func (t *TPM) outerWrap(parent *object, name, area []byte) (blob, secret []byte, rc RC) {
	seed, secret, rc := t.shareSecret(parent, tpmcrypto.LabelDuplicate)
	if rc != TPM_RC_SUCCESS {
		return nil, nil, rc
	}
	p := protectionOf(parent, seed)
	blob = p.wrap(t, name, nil, area)
	clear(seed)
	return blob, secret, TPM_RC_SUCCESS
}

// outerUnwrap reverses outerWrap with the sensitive area of parent, which is
// handle 1. secretParam and blobParam are the numbers of the parameters.
func (t *TPM) outerUnwrap(parent *object, name, blob, secret []byte, blobParam, secretParam int) ([]byte, RC) {
	if !parent.pub.asymmetric() {
		return nil, TPM_RC_TYPE.Handle(1)
	}
	seed, rc := t.recoverShared(parent, 1, tpmcrypto.LabelDuplicate, secret, secretParam)
	if rc != TPM_RC_SUCCESS {
		return nil, rc
	}
	p := protectionOf(parent, seed)
	area, rc := p.unwrap(t, name, false, blob)
	clear(seed)
	if rc != TPM_RC_SUCCESS {
		return nil, rc.Param(blobParam)
	}
	return area, TPM_RC_SUCCESS
}
