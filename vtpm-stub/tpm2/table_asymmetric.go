package tpm2

// tableAsymmetric: TPM20-P3 clauses 14 and 19: asymmetric primitives, ephemeral keys.
var tableAsymmetric = []command{
	{cc: TPM_CC_RSA_Encrypt, name: "RSA_Encrypt", run: cmdRSAEncrypt, handles: []handleSpec{{kind: hObject}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_RSA_Decrypt, name: "RSA_Decrypt", run: cmdRSADecrypt, handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_ECDH_KeyGen, name: "ECDH_KeyGen", run: cmdECDHKeyGen, handles: []handleSpec{{kind: hObject}},
		flags: fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_ECDH_ZGen, name: "ECDH_ZGen", run: cmdECDHZGen, handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_ECC_Parameters, name: "ECC_Parameters", run: cmdECCParameters,
		flags: fReadOnlyOK},
	{cc: TPM_CC_ZGen_2Phase, name: "ZGen_2Phase", run: cmdZGen2Phase, handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_ECC_Encrypt, name: "ECC_Encrypt", run: cmdECCEncrypt, handles: []handleSpec{{kind: hObject}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_ECC_Decrypt, name: "ECC_Decrypt", run: cmdECCDecrypt, handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_Encapsulate, name: "Encapsulate", run: cmdEncapsulate, handles: []handleSpec{{kind: hObject}},
		flags: fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_Decapsulate, name: "Decapsulate", run: cmdDecapsulate, handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_Commit, name: "Commit", run: cmdCommit, handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_EC_Ephemeral, name: "EC_Ephemeral", run: cmdECEphemeral,
		flags: fEncrypt | fReadOnlyOK},
}
