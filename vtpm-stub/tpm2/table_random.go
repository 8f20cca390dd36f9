package tpm2

// tableRandom: TPM20-P3 clauses 16: random numbers.
var tableRandom = []command{
	{cc: TPM_CC_GetRandom, name: "GetRandom",
		flags: fEncrypt | fReadOnlyOK, run: cmdGetRandom},
	{cc: TPM_CC_StirRandom, name: "StirRandom",
		flags: fNV | fDecrypt | fReadOnlyOK, run: cmdStirRandom},
}
