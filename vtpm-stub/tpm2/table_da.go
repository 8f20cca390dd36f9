package tpm2

// tableDA: TPM20-P3 clauses 25: dictionary attack functions.
var tableDA = []command{
	{cc: TPM_CC_DictionaryAttackLockReset, name: "DictionaryAttackLockReset", run: cmdDictionaryAttackLockReset, handles: []handleSpec{{kind: hLockout, role: roleUser}},
		flags: fNV | fReadOnlyOK},
	{cc: TPM_CC_DictionaryAttackParameters, name: "DictionaryAttackParameters", run: cmdDictionaryAttackParameters, handles: []handleSpec{{kind: hLockout, role: roleUser}},
		flags: fNV},
}
