package tpm2

// cmdPCRAllocate is TPM2_PCR_Allocate (TPM20-P3 section 22.5). The banks listed change
// at the next _TPM_Init. A bank has room for all PCR whatever is allocated.
//
//	TPM_RC_HASH   P1  a bank's algorithm is not implemented
//	TPM_RC_PCR        no bank would have the H-CRTM and D-RTM PCR
//	TPM_RC_SIZE   P1  more selections than there are banks
//	TPM_RC_VALUE  P1  a selection of a wrong size
func cmdPCRAllocate(t *TPM, c *call) RC {
	var l TPML_PCR_SELECTION
	c.in.param().pcrSelection(&l)
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	next := t.perm.pcrAllocNext
	for i := range l.all() {
		s := &l.Sel[i]
		next[bankIndex(s.Hash)] = uint32(s.Bits[0]) | uint32(s.Bits[1])<<8 | uint32(s.Bits[2])<<16
	}
	const hcrtm, drtm = 1 << 0, 1 << 17
	var any uint32
	need, avail := 0, 0
	for b, m := range next {
		any |= m
		size := hashAlgs[b].DigestSize()
		avail += numPCR * size
		for ; m != 0; m &= m - 1 {
			need += size
		}
	}
	if any&hcrtm == 0 || any&drtm == 0 {
		return TPM_RC_PCR
	}
	t.perm.pcrAllocNext = next
	t.ram.allocated = true
	t.touch()
	c.out.yesNo(true)
	c.out.u32(numPCR)
	c.out.u32(uint32(need))
	c.out.u32(uint32(avail))
	return TPM_RC_SUCCESS
}
