package tpm2

// tableObject: TPM20-P3 clauses 12: objects.
var tableObject = []command{
	{cc: TPM_CC_Create, name: "Create", run: cmdCreate, handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt},
	{cc: TPM_CC_Load, name: "Load", run: cmdLoad, handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt | fRspHandle | fReadOnlyOK},
	{cc: TPM_CC_LoadExternal, name: "LoadExternal", run: cmdLoadExternal,
		flags: fDecrypt | fEncrypt | fRspHandle | fReadOnlyOK},
	{cc: TPM_CC_ReadPublic, name: "ReadPublic", handles: []handleSpec{{kind: hObject}},
		flags: fEncrypt | fReadOnlyOK, run: cmdReadPublic},
	{cc: TPM_CC_ActivateCredential, name: "ActivateCredential", run: cmdActivateCredential, handles: []handleSpec{{kind: hObject, role: roleAdmin}, {kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_MakeCredential, name: "MakeCredential", run: cmdMakeCredential, handles: []handleSpec{{kind: hObject}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_Unseal, name: "Unseal", run: cmdUnseal, handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_ObjectChangeAuth, name: "ObjectChangeAuth", run: cmdObjectChangeAuth, handles: []handleSpec{{kind: hObject, role: roleAdmin}, {kind: hObject}},
		flags: fDecrypt | fEncrypt},
	{cc: TPM_CC_CreateLoaded, name: "CreateLoaded", run: cmdCreateLoaded, handles: []handleSpec{{kind: hParent, null: true, role: roleUser}},
		flags: fPP | fDecrypt | fEncrypt | fRspHandle},
}
