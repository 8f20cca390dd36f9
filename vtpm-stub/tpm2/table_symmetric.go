package tpm2

// tableSymmetric: TPM20-P3 clauses 15: symmetric primitives.
var tableSymmetric = []command{
	{cc: TPM_CC_EncryptDecrypt, name: "EncryptDecrypt", run: cmdEncryptDecrypt, handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_EncryptDecrypt2, name: "EncryptDecrypt2", run: cmdEncryptDecrypt2, handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_Hash, name: "Hash", run: cmdHash,
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	// Also TPM2_HMAC, which has the same code and form.
	{cc: TPM_CC_MAC, name: "MAC", run: cmdMAC, handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
}
