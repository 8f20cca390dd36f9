package tpm2

import "testing"

func TestRCPosition(t *testing.T) {
	tests := []struct {
		got, want RC
	}{
		{TPM_RC_VALUE.Param(1), 0x1C4},
		{TPM_RC_VALUE.Param(15), 0xFC4},
		{TPM_RC_HANDLE.Handle(1), 0x18B},
		{TPM_RC_HANDLE.Handle(3), 0x38B},
		{TPM_RC_AUTH_FAIL.Session(1), 0x98E},
		{TPM_RC_BAD_AUTH.Session(3), 0xBA2},
		{TPM_RC_VALUE.Param(2).Param(3), 0x2C4}, // the first position stays
		{TPM_RC_VALUE.Handle(2).Session(1), 0x284},
		{TPM_RC_LOCALITY.Param(1), TPM_RC_LOCALITY}, // format zero has none
		{TPM_RC_NV_LOCKED.Session(1), TPM_RC_NV_LOCKED},
		{TPM_RC_SUCCESS.Param(1), TPM_RC_SUCCESS},
		{TPM_RC_BAD_TAG.Param(1), TPM_RC_BAD_TAG},
		{TPM_RC_VALUE.Param(4).Base(), TPM_RC_VALUE},
		{TPM_RC_AUTH_FAIL.Session(2).Base(), TPM_RC_AUTH_FAIL},
		{TPM_RC_LOCKOUT.Base(), TPM_RC_LOCKOUT},
	}
	for i, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%d: %v, want %v", i, tt.got, tt.want)
		}
	}
	for rc, want := range map[RC]string{
		TPM_RC_VALUE.Param(2):       "TPM response code 0x084 (parameter 2)",
		TPM_RC_VALUE.Handle(1):      "TPM response code 0x084 (handle 1)",
		TPM_RC_AUTH_FAIL.Session(1): "TPM response code 0x08e (session 1)",
		TPM_RC_FAILURE:              "TPM response code 0x101",
		TPM_RC_SIZE:                 "TPM response code 0x095",
	} {
		if rc.Error() != want {
			t.Errorf("%q, want %q", rc.Error(), want)
		}
	}
}
