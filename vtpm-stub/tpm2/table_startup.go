package tpm2

// tableStartup: TPM20-P3 clauses 9, 10: startup and testing.
var tableStartup = []command{
	{cc: TPM_CC_Startup, name: "Startup",
		flags: fNV | fNoSessions | fReadOnlyOK, run: cmdStartup},
	{cc: TPM_CC_Shutdown, name: "Shutdown",
		flags: fNV | fReadOnlyOK, run: cmdShutdown},
	{cc: TPM_CC_SelfTest, name: "SelfTest",
		flags: fNV | fReadOnlyOK, run: cmdSelfTest},
	{cc: TPM_CC_IncrementalSelfTest, name: "IncrementalSelfTest",
		flags: fNV | fReadOnlyOK, run: cmdIncrementalSelfTest},
	{cc: TPM_CC_GetTestResult, name: "GetTestResult",
		flags: fEncrypt | fReadOnlyOK | fFailureOK, run: cmdGetTestResult},
}
