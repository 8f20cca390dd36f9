package tpm2

// ST is TPM_ST (TPM20-P2 section 6.9): a structure tag.
type ST uint16

// TPM_ST values.
const (
	TPM_ST_RSP_COMMAND          ST = 0x00C4 // tag value for a response
	TPM_ST_NO_SESSIONS          ST = 0x8001 // tag value for a command/response for a command defined in this specification
	TPM_ST_SESSIONS             ST = 0x8002 // tag value for a command/response for a command defined in this specification
	TPM_ST_ATTEST_NV            ST = 0x8014 // tag for an attestation structure
	TPM_ST_ATTEST_COMMAND_AUDIT ST = 0x8015 // tag for an attestation structure
	TPM_ST_ATTEST_SESSION_AUDIT ST = 0x8016 // tag for an attestation structure
	TPM_ST_ATTEST_CERTIFY       ST = 0x8017 // tag for an attestation structure
	TPM_ST_ATTEST_QUOTE         ST = 0x8018 // tag for an attestation structure
	TPM_ST_ATTEST_TIME          ST = 0x8019 // tag for an attestation structure
	TPM_ST_ATTEST_CREATION      ST = 0x801A // tag for an attestation structure
	TPM_ST_ATTEST_NV_DIGEST     ST = 0x801C // tag for an attestation structure
	TPM_ST_CREATION             ST = 0x8021 // tag for a ticket type
	TPM_ST_VERIFIED             ST = 0x8022 // tag for a ticket type
	TPM_ST_AUTH_SECRET          ST = 0x8023 // tag for a ticket type
	TPM_ST_HASHCHECK            ST = 0x8024 // tag for a ticket type
	TPM_ST_AUTH_SIGNED          ST = 0x8025 // tag for a ticket type
	TPM_ST_MESSAGE_VERIFIED     ST = 0x8026
	TPM_ST_DIGEST_VERIFIED      ST = 0x8027
	TPM_ST_FU_MANIFEST          ST = 0x8029 // tag for a structure describing a Field Upgrade Policy
)

// TPM_EO values (TPM20-P2 section 6.8): comparisons of PolicyNV, PolicyCounterTimer and PolicyCapability.
const (
	TPM_EO_EQ          uint16 = 0x0000 // A = B
	TPM_EO_NEQ         uint16 = 0x0001 // A != B
	TPM_EO_SIGNED_GT   uint16 = 0x0002 // A > B signed
	TPM_EO_UNSIGNED_GT uint16 = 0x0003 // A > B unsigned
	TPM_EO_SIGNED_LT   uint16 = 0x0004 // A < B signed
	TPM_EO_UNSIGNED_LT uint16 = 0x0005 // A < B unsigned
	TPM_EO_SIGNED_GE   uint16 = 0x0006 // A >= B signed
	TPM_EO_UNSIGNED_GE uint16 = 0x0007 // A >= B unsigned
	TPM_EO_SIGNED_LE   uint16 = 0x0008 // A <= B signed
	TPM_EO_UNSIGNED_LE uint16 = 0x0009 // A <= B unsigned
	TPM_EO_BITSET      uint16 = 0x000A // All bits SET in B are SET in A. ((A&B)=B)
	TPM_EO_BITCLEAR    uint16 = 0x000B // All bits SET in B are CLEAR in A. ((A&B)=0)
)

// TPM_NT values (TPM20-P2 section 13.4): types of NV Index.
const (
	TPM_NT_ORDINARY uint8 = 0x0 // Ordinary: contains data that is opaque to the TPM that can only be modified using
	TPM_NT_COUNTER  uint8 = 0x1 // Counter: contains an 8-octet value that is to be used as a counter and can only be
	TPM_NT_BITS     uint8 = 0x2 // Bit Field: contains an 8-octet value to be used as a bit field and can only be modified
	TPM_NT_EXTEND   uint8 = 0x4 // Extend: contains a digest-sized value used like a PCR. The Index can only be modified
	TPM_NT_PIN_FAIL uint8 = 0x8 // PIN Fail - contains pinCount that increments on a PIN authorization failure and a pinLimit
	TPM_NT_PIN_PASS uint8 = 0x9 // PIN Pass - contains pinCount that increments on a PIN authorization success and a pinLimit
)
