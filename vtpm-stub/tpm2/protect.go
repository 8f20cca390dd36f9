package tpm2

import (
	"crypto/cipher"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// protection is what a sensitive area or credential is protected with outside
// of the TPM (TPM20-P1 clause 22): a seed, from which an AES and an HMAC key
// are derived, and the algorithms of the key that it belongs to.
type protection struct {
	hash AlgID        // nameAlg of the parent
	sym  TPMT_SYM_DEF // its symmetric algorithm; the mode is always CFB
	seed []byte
	// parent is set where the seed is that of a storage key, which keeps the HMAC key.
	parent *object
}

// protectionOf returns the protection by the storage key o with a seed that is
// shared for a duplicate or a credential.
func protectionOf(o *object, seed []byte) protection {
	return protection{hash: o.pub.NameAlg, sym: o.pub.Sym, seed: seed}
}

// protectionByParent returns the protection of the children of a storage key.
func protectionByParent(o *object) protection {
	p := protectionOf(o, o.sens.Seed)
	p.parent = o
	return p
}

// block returns the cipher that encrypts for an object of a Name, P1 (33).
func (p *protection) block(t *TPM, name []byte) cipher.Block {
	key := t.hash.KDFa(p.hash, nil, p.seed, "STORAGE", name, nil, int(p.sym.KeyBits))
	b, err := tpmcrypto.NewBlock(p.sym.Algorithm, key)
	clear(key)
	if err != nil {
		panic("internal error: tpm2: cipher of a storage key: " + err.Error())
	}
	return b
}

// mac returns outerHMAC, P1 (35) and (36): over the IV if there is one, the
// encrypted data and the Name.
func (p *protection) mac(t *TPM, data, name []byte) []byte {
	if p.parent != nil && p.parent.integrity != nil {
		return t.hash.HMAC(p.hash, nil, p.parent.integrity, data, name)
	}
	key := t.hash.KDFa(p.hash, nil, p.seed, "INTEGRITY", nil, nil, 8*p.hash.DigestSize())
	m := t.hash.HMAC(p.hash, nil, key, data, name)
	if p.parent != nil {
		p.parent.integrity = key
	} else {
		clear(key)
	}
	return m
}

// wrap encrypts and authenticates plain, in a new buffer. iv is the IV that
// precedes the data of a child object, nil for duplicates and credentials,
// whose seed is used once.
func (p *protection) wrap(t *TPM, name, iv, plain []byte) []byte {
	n := 2 + p.hash.DigestSize()
	out := make([]byte, n, n+2+len(iv)+len(plain))
	w := writer{b: out}
	if iv != nil {
		w.b2(iv)
	}
	start := len(w.b)
	w.raw(plain)
	out = w.b
	b := p.block(t, name)
	if iv == nil {
		iv = make([]byte, b.BlockSize())
	}
	mustCFB(tpmcrypto.Encrypt, b, iv, out[start:])
	head := writer{b: out[:0:n]}
	head.b2(p.mac(t, out[n:], name))
	return out
}

// unwrap reverses wrap, in a new buffer; withIV says that the data begin with
// an IV. Errors, without a parameter number: TPM_RC_INTEGRITY; the codes of a
// malformed TPM2B.
func (p *protection) unwrap(t *TPM, name []byte, withIV bool, blob []byte) ([]byte, RC) {
	r := reader{b: blob}
	sum := r.digest()
	if r.rc != TPM_RC_SUCCESS {
		return nil, r.rc
	}
	if !tpmcrypto.Equal(sum, p.mac(t, r.b, name)) {
		return nil, TPM_RC_INTEGRITY
	}
	b := p.block(t, name)
	iv := make([]byte, b.BlockSize())
	if withIV {
		v := r.b2(len(iv))
		if len(v) != len(iv) {
			return nil, TPM_RC_SIZE
		}
		copy(iv, v)
	}
	plain := append([]byte(nil), r.b...)
	mustCFB(tpmcrypto.Decrypt, b, iv, plain)
	return plain, TPM_RC_SUCCESS
}

// cipherFunc is tpmcrypto.Encrypt or Decrypt.
type cipherFunc func(b cipher.Block, mode tpmcrypto.Alg, iv, data []byte) error

// mustCFB runs a cipher in CFB mode, in place; iv is left alone.
func mustCFB(f cipherFunc, b cipher.Block, iv, data []byte) {
	v := append([]byte(nil), iv...)
	if err := f(b, TPM_ALG_CFB, v, data); err != nil {
		panic("internal error: tpm2: CFB: " + err.Error())
	}
}

// sensitiveArea returns a TPM2B_SENSITIVE whose authValue is padded to the size
// of the nameAlg's digest, so that its length stays secret (TPM20-P2 section 12.3.7).
func sensitiveArea(o *object) []byte {
	s := o.sens
	if n := o.pub.NameAlg.DigestSize(); len(s.Auth) < n {
		s.Auth = append(append(make([]byte, 0, n), s.Auth...), make([]byte, n-len(s.Auth))...)
	}
	return marshal(maxPrivate, func(w *writer) { w.sensitive2B(&s) })
}

// readSensitive reads a TPM2B_SENSITIVE that fills b.
func readSensitive(b []byte) (TPMT_SENSITIVE, RC) {
	r := reader{b: b}
	in := r.sub()
	s := in.sensitive()
	r.endSub(&in)
	return s, r.end()
}

// wrapPrivate returns the TPM2B_PRIVATE contents of a child of parent
// (TPM20-P1 clause 22). o.name must be set.
func (t *TPM) wrapPrivate(parent, o *object) []byte {
	p := protectionByParent(parent)
	iv := make([]byte, p.sym.Algorithm.SymBlockSize())
	t.random(iv)
	plain := sensitiveArea(o)
	out := p.wrap(t, o.name, iv, plain)
	clear(plain)
	return out
}

// unwrapPrivate recovers the sensitive area of a child of parent. The result
// shares no memory with blob. Errors, without a parameter number:
// TPM_RC_INTEGRITY; those of malformed structures.
func (t *TPM) unwrapPrivate(parent *object, name, blob []byte) (TPMT_SENSITIVE, RC) {
	p := protectionByParent(parent)
	plain, rc := p.unwrap(t, name, true, blob)
	if rc != TPM_RC_SUCCESS {
		return TPMT_SENSITIVE{}, rc
	}
	return readSensitive(plain)
}

// storageParent checks that handle i (from 0) is a storage key with its
// sensitive area. Errors: TPM_RC_TYPE with the handle.
func (c *call) storageParent(i int) (*object, RC) {
	o := c.object(i)
	if o == nil || o.seq != nil || !o.pub.isStorage() || !o.private {
		return nil, TPM_RC_TYPE.Handle(i + 1)
	}
	return o, TPM_RC_SUCCESS
}

// newParent checks that handle i (from 0) is a storage key that secrets can be
// encrypted for: an asymmetric one, of which the public area is enough. It
// returns nil for TPM_RH_NULL. Errors: TPM_RC_TYPE with the handle.
func (c *call) newParent(i int) (*object, RC) {
	o := c.object(i)
	if o != nil && (o.seq != nil || !o.pub.isStorage() || !o.pub.asymmetric()) {
		return nil, TPM_RC_TYPE.Handle(i + 1)
	}
	return o, TPM_RC_SUCCESS
}
