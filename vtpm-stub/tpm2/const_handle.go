package tpm2

// Handle is TPM_HANDLE (TPM20-P2 section 7): its top byte says what kind of
// entity it names.
type Handle uint32

// TPM_RH values (TPM20-P2 section 7.4): reserved handles.
const (
	TPM_RH_FIRST                Handle = 0x40000000
	TPM_RH_SRK                  Handle = 0x40000000 // not used
	TPM_RH_OWNER                Handle = 0x40000001 // handle references the Storage Primary Seed (SPS), the ownerAuth, and the ownerPolicy
	TPM_RH_REVOKE               Handle = 0x40000002 // not used
	TPM_RH_TRANSPORT            Handle = 0x40000003 // not used
	TPM_RH_OPERATOR             Handle = 0x40000004 // not used
	TPM_RH_ADMIN                Handle = 0x40000005 // not used
	TPM_RH_EK                   Handle = 0x40000006 // not used
	TPM_RH_NULL                 Handle = 0x40000007 // a handle associated with the null hierarchy, an EmptyAuth authValue, and an Empty Policy
	TPM_RH_UNASSIGNED           Handle = 0x40000008 // value reserved to the TPM to indicate a handle location that has not been initialized or
	TPM_RS_PW                   Handle = 0x40000009 // authorization value used to indicate a password authorization session
	TPM_RH_LOCKOUT              Handle = 0x4000000A // references the authorization associated with the dictionary attack lockout reset
	TPM_RH_ENDORSEMENT          Handle = 0x4000000B // references the Endorsement Primary Seed (EPS), endorsementAuth, and endorsementPolicy
	TPM_RH_PLATFORM             Handle = 0x4000000C // references the Platform Primary Seed (PPS), platformAuth, and platformPolicy
	TPM_RH_PLATFORM_NV          Handle = 0x4000000D // for phEnableNV
	TPM_RH_AUTH_00              Handle = 0x40000010 // Start of a range of authorization values that are vendor-specific
	TPM_RH_AUTH_FF              Handle = 0x4000010F // End of the range of vendor-specific authorization values
	TPM_RH_ACT_0                Handle = 0x40000110 // Start of the range of authenticated timers
	TPM_RH_ACT_F                Handle = 0x4000011F // End of the range of authenticated timers
	TPM_RH_FW_OWNER             Handle = 0x40000140
	TPM_RH_FW_ENDORSEMENT       Handle = 0x40000141
	TPM_RH_FW_PLATFORM          Handle = 0x40000142
	TPM_RH_FW_NULL              Handle = 0x40000143
	TPM_RH_SVN_OWNER_BASE       Handle = 0x40010000
	TPM_RH_SVN_ENDORSEMENT_BASE Handle = 0x40020000
	TPM_RH_SVN_PLATFORM_BASE    Handle = 0x40030000
	TPM_RH_SVN_NULL_BASE        Handle = 0x40040000
	TPM_RH_LAST                 Handle = 0x4004FFFF // the top of the reserved handle area
)

// TPM_HT values (TPM20-P2 section 7.2), the top byte of a Handle.
const (
	TPM_HT_PCR            = 0x00
	TPM_HT_NV_INDEX       = 0x01
	TPM_HT_HMAC_SESSION   = 0x02 // also "loaded session" in TPM2_GetCapability
	TPM_HT_POLICY_SESSION = 0x03 // also "saved session" in TPM2_GetCapability
	TPM_HT_PERMANENT      = 0x40
	TPM_HT_TRANSIENT      = 0x80
	TPM_HT_PERSISTENT     = 0x81
	TPM_HT_AC             = 0x90
)

// First handles of the ranges (TPM20-P2 section 7.5).
const (
	PCR_FIRST            Handle = 0x00000000
	NV_INDEX_FIRST       Handle = 0x01000000
	HMAC_SESSION_FIRST   Handle = 0x02000000
	POLICY_SESSION_FIRST Handle = 0x03000000
	TRANSIENT_FIRST      Handle = 0x80000000
	PERSISTENT_FIRST     Handle = 0x81000000
	PLATFORM_PERSISTENT  Handle = 0x81800000 // from here on: the platform's
	PERSISTENT_LAST      Handle = 0x81FFFFFF
)

// Type returns the TPM_HT of the handle.
func (h Handle) Type() uint8 { return uint8(h >> 24) }

// index returns the part of the handle below the type.
func (h Handle) index() uint32 { return uint32(h) & 0x00FFFFFF }
