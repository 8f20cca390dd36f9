package tpm2

// tableAsymmetric: TPM20-P3 clauses 14 and 19: asymmetric primitives, ephemeral keys.
var tableAsymmetric = []command{
	{cc: TPM_CC_RSA_Encrypt, name: "RSA_Encrypt", handles: []handleSpec{{kind: hObject}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_RSA_Decrypt, name: "RSA_Decrypt", handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_ECDH_KeyGen, name: "ECDH_KeyGen", handles: []handleSpec{{kind: hObject}},
		flags: fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_ECDH_ZGen, name: "ECDH_ZGen", handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_ECC_Parameters, name: "ECC_Parameters",
		flags: fReadOnlyOK},
	{cc: TPM_CC_ZGen_2Phase, name: "ZGen_2Phase", handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_ECC_Encrypt, name: "ECC_Encrypt", handles: []handleSpec{{kind: hObject}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_ECC_Decrypt, name: "ECC_Decrypt", handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_Encapsulate, name: "Encapsulate", handles: []handleSpec{{kind: hObject}},
		flags: fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_Decapsulate, name: "Decapsulate", handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_Commit, name: "Commit", handles: []handleSpec{{kind: hObject, role: roleUser}},
		flags: fDecrypt | fEncrypt | fReadOnlyOK},
	{cc: TPM_CC_EC_Ephemeral, name: "EC_Ephemeral",
		flags: fEncrypt | fReadOnlyOK},
}
