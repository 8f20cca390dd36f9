package tpm2

// cmdVendorTCGTest is TPM2_Vendor_TCG_Test (TPM20-P3 section 34.2), which exists to test the dispatch of vendor
// commands. It returns its input.
func cmdVendorTCGTest(t *TPM, c *call) RC {
	data := c.in.param().data()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	c.out.b2(data)
	return TPM_RC_SUCCESS
}
