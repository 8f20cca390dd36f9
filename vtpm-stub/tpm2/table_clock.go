package tpm2

// tableClock: TPM20-P3 clauses 29: clocks and timers.
var tableClock = []command{
	{cc: TPM_CC_ReadClock, name: "ReadClock", run: cmdReadClock,
		flags: fReadOnlyOK},
	{cc: TPM_CC_ClockSet, name: "ClockSet", run: cmdClockSet, handles: []handleSpec{{kind: hProvision, role: roleUser}},
		flags: fNV | fPP},
	{cc: TPM_CC_ClockRateAdjust, name: "ClockRateAdjust", run: cmdClockRateAdjust, handles: []handleSpec{{kind: hProvision, role: roleUser}},
		flags: fPP},
}
