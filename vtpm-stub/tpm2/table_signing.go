package tpm2

// tableSigning: TPM20-P3 clauses 20, 21: signing and command audit.
var tableSigning = []command{
	{cc: TPM_CC_VerifySignature, name: "VerifySignature", run: cmdVerifySignature, handles: []handleSpec{{kind: hObject}},
		flags: fDecrypt | fReadOnlyOK},
	{cc: TPM_CC_Sign, name: "Sign", run: cmdSign, handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fReadOnlyOK},
	{cc: TPM_CC_SetCommandCodeAuditStatus, name: "SetCommandCodeAuditStatus", run: cmdSetCommandCodeAuditStatus, handles: []handleSpec{{kind: hProvision, role: roleUser}},
		flags: fNV | fPP},
	{cc: TPM_CC_SignDigest, name: "SignDigest", run: cmdSignDigest, handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fReadOnlyOK},
	{cc: TPM_CC_VerifyDigestSignature, name: "VerifyDigestSignature", run: cmdVerifyDigestSignature, handles: []handleSpec{{kind: hObject}},
		flags: fDecrypt | fReadOnlyOK},
	{cc: TPM_CC_SignSequenceComplete, name: "SignSequenceComplete", run: cmdSignSequenceComplete, handles: []handleSpec{{kind: hObject, role: roleUser}, {kind: hObject, role: roleUser}},
		flags: fFlush | fDecrypt | fReadOnlyOK},
	{cc: TPM_CC_VerifySequenceComplete, name: "VerifySequenceComplete", run: cmdVerifySequenceComplete, handles: []handleSpec{{kind: hObject, role: roleUser}, {kind: hObject}},
		flags: fFlush | fReadOnlyOK},
}
