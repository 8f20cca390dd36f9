package tpm2

import (
	"encoding/binary"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// Saved handles of objects (TPM20-P2 section 14.6.2).
const (
	savedObject   Handle = 0x80000000
	savedSequence Handle = 0x80000001
	savedStClear  Handle = 0x80000002
)

// contextSym and its key size are what TPM2_GetCapability reports for contexts.
const (
	contextSym     = TPM_ALG_AES
	contextKeySize = 32
)

// savedHandle returns the handle that the context of an object has.
func savedHandle(o *object) Handle {
	switch {
	case o.seq != nil:
		return savedSequence
	case o.stClear:
		return savedStClear
	}
	return savedObject
}

// sealContext encrypts and authenticates a context (TPM20-P1 section 30.3). The
// blob is a TPM2B_DIGEST with the HMAC and the encrypted data: u64 sequence, u16
// version of the layout, then what save writes.
func (t *TPM) sealContext(c *TPMS_CONTEXT, save func(*archive)) {
	head := 2 + ticketHash.DigestSize()
	c.Blob = marshal(maxContextSize, func(w *writer) {
		w.b2(make([]byte, head-2))
		w.u64(c.Sequence)
		version := len(w.b)
		w.u16(0)
		a := archive{out: w, version: 1}
		save(&a)
		binary.BigEndian.PutUint16(w.b[version:], a.version)
	})
	t.cryptContext(c, tpmcrypto.Encrypt, c.Blob[head:])
	copy(c.Blob[2:], t.contextHMAC(c, c.Blob[head:]))
}

// openContext checks and decrypts a context and reads it with load. Errors,
// without a parameter number: TPM_RC_INTEGRITY, TPM_RC_VALUE (saved by a later
// version of this program), TPM_RC_FAILURE.
func (t *TPM) openContext(c *TPMS_CONTEXT, load func(*archive)) RC {
	r := reader{b: c.Blob}
	sum := r.digest()
	if r.rc != TPM_RC_SUCCESS || !tpmcrypto.Equal(sum, t.contextHMAC(c, r.b)) {
		return TPM_RC_INTEGRITY
	}
	plain := append([]byte(nil), r.b...)
	defer clear(plain)
	t.cryptContext(c, tpmcrypto.Decrypt, plain)
	r.b = plain
	if seq := r.u64(); r.rc != TPM_RC_SUCCESS || seq != c.Sequence {
		return t.fail(TPM_RC_FAILURE, "a saved context was authentic and did not decrypt")
	}
	a := &archive{in: &r, version: r.u16(), profile: t.offer}
	if a.version > stateVersion {
		return TPM_RC_VALUE
	}
	load(a)
	if !a.end() {
		return t.fail(TPM_RC_FAILURE, "a saved context was authentic and is malformed")
	}
	return TPM_RC_SUCCESS
}

// contextHMAC is P1 (52). The number of TPM Resets invalidates contexts at the
// next one, clearCount those of stClear objects at TPM Restart.
func (t *TPM) contextHMAC(c *TPMS_CONTEXT, encrypted []byte) []byte {
	var buf [8 + 4 + 12]byte
	b := binary.BigEndian.AppendUint64(buf[:0], t.perm.totalResetCount)
	if c.Saved == savedStClear {
		b = binary.BigEndian.AppendUint32(b, t.sr.clearCount)
	}
	b = binary.BigEndian.AppendUint64(b, c.Sequence)
	b = binary.BigEndian.AppendUint32(b, uint32(c.Saved))
	return t.hier(c.Hierarchy).proofMAC().Sum(nil, b, encrypted)
}

// cryptContext encrypts or decrypts in place with key and IV of P1 (50).
func (t *TPM) cryptContext(c *TPMS_CONTEXT, f cipherFunc, data []byte) {
	var seq [8]byte
	binary.BigEndian.PutUint64(seq[:], c.Sequence)
	n := contextKeySize + maxSymBlock
	k := t.hier(c.Hierarchy).proofMAC().KDFa("CONTEXT", seq[:], handleName(c.Saved), 8*n)
	b, err := tpmcrypto.NewBlock(contextSym, k[:contextKeySize])
	if err != nil {
		panic("internal error: tpm2: cipher of contexts: " + err.Error())
	}
	mustCFB(f, b, k[contextKeySize:], data)
	clear(k)
}
