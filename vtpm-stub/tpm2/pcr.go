package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// pcrAttr is what the PC Client platform profile (PTP, table of PCR
// attributes) says of one PCR.
type pcrAttr struct {
	save        bool  // kept by Shutdown(STATE)
	resetLoc    uint8 // bit per locality that may use TPM2_PCR_Reset
	extendLoc   uint8 // bit per locality that may extend
	noIncrement bool  // does not count in pcrUpdateCounter
	drtm        bool  // reset by _TPM_Hash_Start; starts as all ones
	group       bool  // of the auth value and policy group
}

// pcrAttrs returns the attributes of PCR n.
func (t *TPM) pcrAttrs(n int) pcrAttr {
	switch {
	case n <= 15:
		return pcrAttr{save: true, extendLoc: 0x1F}
	case n == 17, n == 18:
		return pcrAttr{resetLoc: 0x10, extendLoc: 0x1C, drtm: true}
	case n == 19:
		return pcrAttr{resetLoc: 0x10, extendLoc: 0x0C, drtm: true}
	case n == 20:
		return pcrAttr{resetLoc: 0x14, extendLoc: 0x0E, drtm: true, group: true}
	case n == 21, n == 22:
		return pcrAttr{resetLoc: 0x14, extendLoc: 0x04, noIncrement: true, drtm: true, group: true}
	}
	return pcrAttr{resetLoc: t.profile.debugResetLoc(), extendLoc: 0x1F, noIncrement: true} // 16, 23
}

// bankIndex returns the index of a bank in the PCR arrays, -1 if a is no hash.
func bankIndex(a AlgID) int {
	for i, h := range hashAlgs {
		if h == a {
			return i
		}
	}
	return -1
}

// pcrValue returns PCR n of the bank, nil when it is not allocated. The slice
// is the register itself.
func (t *TPM) pcrValue(bank, n int) []byte {
	if bank < 0 || n < 0 || n >= numPCR || t.perm.pcrAlloc[bank]&(1<<n) == 0 {
		return nil
	}
	return t.sc.pcr[bank][n][:hashAlgs[bank].DigestSize()]
}

// pcrChanged counts a change of PCR n: of one bank when it is extended, of all of them when
// it is reset (TPM20-P3 section 22.1, note 2).
func (t *TPM) pcrChanged(n int) {
	a := t.pcrAttrs(n)
	if !a.noIncrement {
		t.sr.pcrCounter++
	}
	if a.save || !a.noIncrement { // Shutdown(STATE) saves the register or the counter
		t.clearOrderly()
	}
}

// pcrExtend extends PCR n of one bank and counts that; a bank without it is left alone.
func (t *TPM) pcrExtend(bank, n int, digest []byte) {
	if v := t.pcrValue(bank, n); v != nil {
		t.hash.Extend(hashAlgs[bank], v, digest)
		t.pcrChanged(n)
	}
}

// pcrResetTo sets PCR n of all banks to octets of value v.
func (t *TPM) pcrResetTo(n int, v byte) {
	for b := range t.sc.pcr {
		r := t.sc.pcr[b][n][:hashAlgs[b].DigestSize()]
		for i := range r {
			r[i] = v
		}
	}
}

// pcrStartup gives PCR their initial values. resume: those that Shutdown(STATE)
// saved keep them. startupLocality is 0, 3 or 4 (H-CRTM).
func (t *TPM) pcrStartup(resume bool, startupLocality uint8) {
	for n := range numPCR {
		a := t.pcrAttrs(n)
		if resume && a.save {
			continue
		}
		if n == 0 && t.ram.hcrtmDone {
			for b := range t.sc.pcr {
				t.sc.pcr[b][0] = t.ram.hcrtm[b]
			}
			continue
		}
		if a.drtm {
			t.pcrResetTo(n, 0xFF)
			continue
		}
		t.pcrResetTo(n, 0)
		if n == 0 {
			t.pcrSetLocality(startupLocality)
		}
	}
}

// pcrSetLocality puts the locality of Startup into the last octet of PCR 0.
func (t *TPM) pcrSetLocality(loc uint8) {
	for b := range t.sc.pcr {
		t.sc.pcr[b][0][hashAlgs[b].DigestSize()-1] = loc
	}
}

// pcrFilter clears the bits of PCR that the selected bank does not have.
func (t *TPM) pcrFilter(l *TPML_PCR_SELECTION) {
	for i := range l.all() {
		s := &l.Sel[i]
		m := t.perm.pcrAlloc[bankIndex(s.Hash)]
		for j := range s.Bits {
			s.Bits[j] &= byte(m >> (8 * j))
		}
	}
}

// pcrDigest returns the digest of the selected PCR, concatenated in the order
// of the selection, under alg. It filters l.
func (t *TPM) pcrDigest(alg AlgID, l *TPML_PCR_SELECTION) []byte {
	t.pcrFilter(l)
	h := tpmcrypto.NewHash(alg)
	for i := range l.all() {
		s := &l.Sel[i]
		b := bankIndex(s.Hash)
		for n := range numPCR {
			if s.has(n) {
				h.Write(t.pcrValue(b, n))
			}
		}
	}
	return h.Sum(nil)
}

// maxBanksListed is what firmware has room for: EDK2 takes five banks, and an error for more,
// after which it measures into SHA-1 alone.
const maxBanksListed = 5

// pcrBanks is the list of TPM_CAP_PCRS: all banks that have PCR, and with empty selections those of
// the default banks that could have some, as far as firmware has room. Setup programs enable
// only what they find there (swtpm_setup --reconfigure).
func (t *TPM) pcrBanks() (l TPML_PCR_SELECTION) {
	room := maxBanksListed
	for _, m := range t.perm.pcrAlloc {
		if m != 0 {
			room--
		}
	}
	for b, m := range t.perm.pcrAlloc {
		if m == 0 {
			if room <= 0 || !t.offer.hash(hashAlgs[b]) || !containsAlg(defaultBanks, hashAlgs[b]) {
				continue
			}
			room--
		}
		s := &l.Sel[l.Count]
		s.Hash, s.Size = hashAlgs[b], pcrSelectBytes
		for j := range s.Bits {
			s.Bits[j] = byte(m >> (8 * j))
		}
		l.Count++
	}
	return l
}
