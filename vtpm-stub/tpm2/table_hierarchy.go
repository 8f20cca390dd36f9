package tpm2

// tableHierarchy: TPM20-P3 clauses 24: hierarchies.
var tableHierarchy = []command{
	{cc: TPM_CC_CreatePrimary, name: "CreatePrimary", handles: []handleSpec{{kind: hHierarchy, null: true, role: roleUser}},
		flags: fPP | fDecrypt | fEncrypt | fRspHandle, run: cmdCreatePrimary},
	{cc: TPM_CC_HierarchyControl, name: "HierarchyControl", handles: []handleSpec{{kind: hHierarchy, role: roleUser}},
		flags: fNV | fExtensive | fPP},
	{cc: TPM_CC_SetPrimaryPolicy, name: "SetPrimaryPolicy", handles: []handleSpec{{kind: hHierPolicy, role: roleUser}},
		flags: fNV | fPP | fDecrypt},
	{cc: TPM_CC_ChangePPS, name: "ChangePPS", handles: []handleSpec{{kind: hPlatform, role: roleUser}},
		flags: fNV | fExtensive | fPP},
	{cc: TPM_CC_ChangeEPS, name: "ChangeEPS", handles: []handleSpec{{kind: hPlatform, role: roleUser}},
		flags: fNV | fExtensive | fPP},
	{cc: TPM_CC_Clear, name: "Clear", handles: []handleSpec{{kind: hClear, role: roleUser}},
		flags: fNV | fExtensive | fPP},
	{cc: TPM_CC_ClearControl, name: "ClearControl", handles: []handleSpec{{kind: hClear, role: roleUser}},
		flags: fNV | fPP},
	{cc: TPM_CC_HierarchyChangeAuth, name: "HierarchyChangeAuth", handles: []handleSpec{{kind: hHierAuth, role: roleUser}},
		flags: fNV | fPP | fDecrypt},
	{cc: TPM_CC_ReadOnlyControl, name: "ReadOnlyControl", handles: []handleSpec{{kind: hPlatform, role: roleUser}},
		flags: fPP | fReadOnlyOK},
}
