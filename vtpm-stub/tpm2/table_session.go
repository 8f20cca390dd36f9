package tpm2

// tableSession: TPM20-P3 clauses 11: sessions.
var tableSession = []command{
	{cc: TPM_CC_StartAuthSession, name: "StartAuthSession", handles: []handleSpec{{kind: hObject, null: true}, {kind: hEntity, null: true}},
		flags: fDecrypt | fEncrypt | fRspHandle | fReadOnlyOK, run: cmdStartAuthSession},
	{cc: TPM_CC_PolicyRestart, name: "PolicyRestart", run: cmdPolicyRestart, handles: []handleSpec{{kind: hPolicy}},
		flags: fReadOnlyOK},
}
