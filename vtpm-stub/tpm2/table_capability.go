package tpm2

// tableCapability: TPM20-P3 clauses 30: capabilities.
var tableCapability = []command{
	{cc: TPM_CC_GetCapability, name: "GetCapability",
		flags: fReadOnlyOK | fFailureOK, run: cmdGetCapability},
	{cc: TPM_CC_TestParms, name: "TestParms", run: cmdTestParms,
		flags: fReadOnlyOK},
	{cc: TPM_CC_SetCapability, name: "SetCapability", run: cmdSetCapability, handles: []handleSpec{{kind: hHierAuth, null: true, role: roleUser}},
		flags: fNV | fPP | fDecrypt},
}
