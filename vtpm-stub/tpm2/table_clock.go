package tpm2

// tableClock: TPM20-P3 clauses 29: clocks and timers.
var tableClock = []command{
	{cc: TPM_CC_ReadClock, name: "ReadClock",
		flags: fReadOnlyOK},
	{cc: TPM_CC_ClockSet, name: "ClockSet", handles: []handleSpec{{kind: hProvision, role: roleUser}},
		flags: fNV | fPP},
	{cc: TPM_CC_ClockRateAdjust, name: "ClockRateAdjust", handles: []handleSpec{{kind: hProvision, role: roleUser}},
		flags: fPP},
}
