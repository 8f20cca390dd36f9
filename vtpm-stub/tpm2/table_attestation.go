package tpm2

// tableAttestation: TPM20-P3 clauses 18: attestation.
var tableAttestation = []command{
	{cc: TPM_CC_Certify, name: "Certify", run: cmdCertify, handles: []handleSpec{{kind: hObject, role: roleAdmin}, {kind: hObject, null: true, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_CertifyCreation, name: "CertifyCreation", run: cmdCertifyCreation, handles: []handleSpec{{kind: hObject, null: true, role: roleUser}, {kind: hObject}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_Quote, name: "Quote", run: cmdQuote, handles: []handleSpec{{kind: hObject, null: true, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_GetSessionAuditDigest, name: "GetSessionAuditDigest", run: cmdGetSessionAuditDigest, handles: []handleSpec{{kind: hEndorsement, role: roleUser}, {kind: hObject, null: true, role: roleUser}, {kind: hHMAC}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_GetCommandAuditDigest, name: "GetCommandAuditDigest", run: cmdGetCommandAuditDigest, handles: []handleSpec{{kind: hEndorsement, role: roleUser}, {kind: hObject, null: true, role: roleUser}},
		flags: fNV | fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_GetTime, name: "GetTime", run: cmdGetTime, handles: []handleSpec{{kind: hEndorsement, role: roleUser}, {kind: hObject, null: true, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_CertifyX509, name: "CertifyX509", run: cmdCertifyX509, handles: []handleSpec{{kind: hObject, role: roleAdmin}, {kind: hObject, null: true, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
}
