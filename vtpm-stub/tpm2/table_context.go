package tpm2

// tableContext: TPM20-P3 clauses 28: context management.
var tableContext = []command{
	{cc: TPM_CC_ContextSave, name: "ContextSave", run: cmdContextSave, handles: []handleSpec{{kind: hContext}},
		flags: fNoSessions | fReadOnlyOK},
	{cc: TPM_CC_ContextLoad, name: "ContextLoad", run: cmdContextLoad,
		flags: fNoSessions | fRspHandle | fReadOnlyOK},
	{cc: TPM_CC_FlushContext, name: "FlushContext",
		flags: fNoSessions | fReadOnlyOK, run: cmdFlushContext},
	{cc: TPM_CC_EvictControl, name: "EvictControl", run: cmdEvictControl, handles: []handleSpec{{kind: hProvision, role: roleUser}, {kind: hObject}},
		flags: fNV | fPP},
}
