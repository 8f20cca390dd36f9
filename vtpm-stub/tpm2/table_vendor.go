package tpm2

// tableVendor: TPM20-P3 clauses 32 to 34: attached components, ACT, vendor.
var tableVendor = []command{
	{cc: TPM_CC_AC_GetCapability, name: "AC_GetCapability", handles: []handleSpec{{kind: hAC}},
		flags: fReadOnlyOK},
	{cc: TPM_CC_AC_Send, name: "AC_Send", handles: []handleSpec{{kind: hObject, role: roleDup}, {kind: hNVAuth, role: roleUser}},
		flags: fDecrypt | fReadOnlyOK},
	{cc: TPM_CC_Policy_AC_SendSelect, name: "Policy_AC_SendSelect", handles: []handleSpec{{kind: hPolicy}},
		flags: fDecrypt | fReadOnlyOK},
	{cc: TPM_CC_ACT_SetTimeout, name: "ACT_SetTimeout", run: cmdACTSetTimeout, handles: []handleSpec{{kind: hACT, role: roleUser}},
		flags: fReadOnlyOK},
	{cc: TPM_CC_Vendor_TCG_Test, name: "Vendor_TCG_Test", run: cmdVendorTCGTest,
		flags: fDecrypt | fEncrypt},
}
