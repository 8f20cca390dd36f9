package tpm2

// tableMisc: TPM20-P3 clauses 26, 27: miscellaneous management, field upgrade.
var tableMisc = []command{
	{cc: TPM_CC_PP_Commands, name: "PP_Commands", run: cmdPPCommands, handles: []handleSpec{{kind: hPlatform, role: roleUser}},
		flags: fNV | fPPAlways},
	{cc: TPM_CC_SetAlgorithmSet, name: "SetAlgorithmSet", run: cmdSetAlgorithmSet, handles: []handleSpec{{kind: hPlatform, role: roleUser}},
		flags: fNV},
	{cc: TPM_CC_FieldUpgradeStart, name: "FieldUpgradeStart", handles: []handleSpec{{kind: hPlatform, role: roleAdmin}, {kind: hObject}},
		flags: fPP | fDecrypt},
	{cc: TPM_CC_FieldUpgradeData, name: "FieldUpgradeData",
		flags: fNV | fDecrypt},
	{cc: TPM_CC_FirmwareRead, name: "FirmwareRead",
		flags: fEncrypt | fReadOnlyOK},
}
