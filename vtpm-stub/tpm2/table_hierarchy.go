package tpm2

// tableHierarchy: TPM20-P3 clauses 24: hierarchies.
var tableHierarchy = []command{
	{cc: TPM_CC_CreatePrimary, name: "CreatePrimary", handles: []handleSpec{{kind: hHierarchy, null: true, role: roleUser}},
		flags: fPP | fDecrypt | fEncrypt | fRspHandle, run: cmdCreatePrimary},
	{cc: TPM_CC_HierarchyControl, name: "HierarchyControl", run: cmdHierarchyControl, handles: []handleSpec{{kind: hHierarchy, role: roleUser}},
		flags: fNV | fExtensive | fPP},
	{cc: TPM_CC_SetPrimaryPolicy, name: "SetPrimaryPolicy", run: cmdSetPrimaryPolicy, handles: []handleSpec{{kind: hHierPolicy, role: roleUser}},
		flags: fNV | fPP | fDecrypt},
	{cc: TPM_CC_ChangePPS, name: "ChangePPS", run: cmdChangePPS, handles: []handleSpec{{kind: hPlatform, role: roleUser}},
		flags: fNV | fExtensive | fPP},
	{cc: TPM_CC_ChangeEPS, name: "ChangeEPS", run: cmdChangeEPS, handles: []handleSpec{{kind: hPlatform, role: roleUser}},
		flags: fNV | fExtensive | fPP},
	{cc: TPM_CC_Clear, name: "Clear", run: cmdClear, handles: []handleSpec{{kind: hClear, role: roleUser}},
		flags: fNV | fExtensive | fPP},
	{cc: TPM_CC_ClearControl, name: "ClearControl", run: cmdClearControl, handles: []handleSpec{{kind: hClear, role: roleUser}},
		flags: fNV | fPP},
	{cc: TPM_CC_HierarchyChangeAuth, name: "HierarchyChangeAuth", run: cmdHierarchyChangeAuth, handles: []handleSpec{{kind: hHierAuth, role: roleUser}},
		flags: fNV | fPP | fDecrypt},
	{cc: TPM_CC_ReadOnlyControl, name: "ReadOnlyControl", run: cmdReadOnlyControl, handles: []handleSpec{{kind: hPlatform, role: roleUser}},
		flags: fPP | fReadOnlyOK},
}
