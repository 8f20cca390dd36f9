package tpm2

// tableObject: TPM20-P3 clauses 12: objects.
var tableObject = []command{
	{cc: TPM_CC_Create, name: "Create", handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt},
	{cc: TPM_CC_Load, name: "Load", handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt | fRspHandle | fReadOnlyOK},
	{cc: TPM_CC_LoadExternal, name: "LoadExternal",
		flags: fDecrypt | fEncrypt | fRspHandle | fReadOnlyOK},
	{cc: TPM_CC_ReadPublic, name: "ReadPublic", handles: []handleSpec{{kind: hObject}},
		flags: fEncrypt | fReadOnlyOK, run: cmdReadPublic},
	{cc: TPM_CC_ActivateCredential, name: "ActivateCredential", handles: []handleSpec{{kind: hObject, role: roleAdmin}, {kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_MakeCredential, name: "MakeCredential", handles: []handleSpec{{kind: hObject}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_Unseal, name: "Unseal", handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_ObjectChangeAuth, name: "ObjectChangeAuth", handles: []handleSpec{{kind: hObject, role: roleAdmin}, {kind: hObject}},
		flags: fDecrypt | fEncrypt},
	{cc: TPM_CC_CreateLoaded, name: "CreateLoaded", handles: []handleSpec{{kind: hParent, null: true, role: roleUser}},
		flags: fPP | fDecrypt | fEncrypt | fRspHandle},
}
