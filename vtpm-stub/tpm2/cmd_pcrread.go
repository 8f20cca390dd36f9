package tpm2

// maxPCRValues is how many digests a TPML_DIGEST holds.
const maxPCRValues = 8

// cmdPCRRead is TPM2_PCR_Read (TPM20-P3 section 22.4). It returns at most eight
// values; pcrSelectionOut says which.
//
//	TPM_RC_HASH   P1  a bank's algorithm is not implemented
//	TPM_RC_SIZE   P1  more banks than there are algorithms
//	TPM_RC_VALUE  P1  sizeofSelect is not 3
func cmdPCRRead(t *TPM, c *call) RC {
	var sel TPML_PCR_SELECTION
	c.in.param().pcrSelection(&sel)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	t.pcrFilter(&sel)
	n := limitSelection(&sel)
	c.out.u32(t.sr.pcrCounter)
	c.out.pcrSelection(&sel)
	c.out.u32(uint32(n))
	for i := range sel.all() {
		s := &sel.Sel[i]
		b := bankIndex(s.Hash)
		for p := range numPCR {
			if s.has(p) {
				c.out.b2(t.pcrValue(b, p))
			}
		}
	}
	return TPM_RC_SUCCESS
}

// limitSelection clears the bits after the first maxPCRValues and returns how
// many are left.
func limitSelection(sel *TPML_PCR_SELECTION) int {
	n := 0
	for i := range sel.all() {
		s := &sel.Sel[i]
		for p := range numPCR {
			if !s.has(p) {
				continue
			}
			if n == maxPCRValues {
				s.clear(p)
			} else {
				n++
			}
		}
	}
	return n
}
