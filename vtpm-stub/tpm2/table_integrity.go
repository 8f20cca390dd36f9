package tpm2

// tableIntegrity: TPM20-P3 clauses 22: integrity collection (PCR).
var tableIntegrity = []command{
	{cc: TPM_CC_PCR_Extend, name: "PCR_Extend", handles: []handleSpec{{kind: hPCR, null: true, role: roleUser}},
		flags: fNV | fReadOnlyOK, run: cmdPCRExtend},
	{cc: TPM_CC_PCR_Event, name: "PCR_Event", handles: []handleSpec{{kind: hPCR, null: true, role: roleUser}},
		flags: fNV | fDecrypt | fReadOnlyOK, run: cmdPCREvent},
	{cc: TPM_CC_PCR_Read, name: "PCR_Read",
		flags: fReadOnlyOK, run: cmdPCRRead},
	{cc: TPM_CC_PCR_Allocate, name: "PCR_Allocate", run: cmdPCRAllocate, handles: []handleSpec{{kind: hPlatform, role: roleUser}},
		flags: fNV | fPP},
	{cc: TPM_CC_PCR_SetAuthPolicy, name: "PCR_SetAuthPolicy", run: cmdPCRSetAuthPolicy, handles: []handleSpec{{kind: hPlatform, role: roleUser}},
		flags: fNV | fPP | fDecrypt},
	{cc: TPM_CC_PCR_SetAuthValue, name: "PCR_SetAuthValue", run: cmdPCRSetAuthValue, handles: []handleSpec{{kind: hPCR, role: roleUser}},
		flags: fDecrypt},
	{cc: TPM_CC_PCR_Reset, name: "PCR_Reset", handles: []handleSpec{{kind: hPCR, role: roleUser}},
		flags: fNV | fReadOnlyOK, run: cmdPCRReset},
}
