package tpm2

// tableSequence: TPM20-P3 clauses 17: hash, HMAC and signature sequences.
var tableSequence = []command{
	// Also TPM2_HMAC_Start, which has the same code and form.
	{cc: TPM_CC_MAC_Start, name: "MAC_Start", run: cmdMACStart, handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fRspHandle | fReadOnlyOK},
	{cc: TPM_CC_HashSequenceStart, name: "HashSequenceStart", run: cmdHashSequenceStart,
		flags: fDecrypt | fRspHandle | fReadOnlyOK},
	{cc: TPM_CC_SequenceUpdate, name: "SequenceUpdate", run: cmdSequenceUpdate, handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fReadOnlyOK},
	{cc: TPM_CC_SequenceComplete, name: "SequenceComplete", run: cmdSequenceComplete, handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fFlush | fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_EventSequenceComplete, name: "EventSequenceComplete", run: cmdEventSequenceComplete, handles: []handleSpec{{kind: hPCR, null: true, role: roleUser}, {kind: hObject, role: roleUser}},
		flags: fNV | fFlush | fDecrypt | fReadOnlyOK},
	{cc: TPM_CC_SignSequenceStart, name: "SignSequenceStart", run: cmdSignSequenceStart, handles: []handleSpec{{kind: hObject}},
		flags: fDecrypt | fRspHandle | fReadOnlyOK},
	{cc: TPM_CC_VerifySequenceStart, name: "VerifySequenceStart", run: cmdVerifySequenceStart, handles: []handleSpec{{kind: hObject}},
		flags: fDecrypt | fRspHandle | fReadOnlyOK},
}
