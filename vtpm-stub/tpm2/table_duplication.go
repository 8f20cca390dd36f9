package tpm2

// tableDuplication: TPM20-P3 clauses 13: duplication.
var tableDuplication = []command{
	{cc: TPM_CC_Duplicate, name: "Duplicate", run: cmdDuplicate, handles: []handleSpec{{kind: hObject, role: roleDup}, {kind: hObject, null: true}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_Rewrap, name: "Rewrap", run: cmdRewrap, handles: []handleSpec{{kind: hObject, null: true, role: roleUser}, {kind: hObject, null: true}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_Import, name: "Import", run: cmdImport, handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
}
