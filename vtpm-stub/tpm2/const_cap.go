package tpm2

// TPM_CAP values (TPM20-P2 section 6.12): what TPM2_GetCapability can report.
const (
	TPM_CAP_ALGS              uint32 = 0x00000000 // TPML_ALG_PROPERTY
	TPM_CAP_HANDLES           uint32 = 0x00000001 // TPML_HANDLE
	TPM_CAP_COMMANDS          uint32 = 0x00000002 // TPML_CCA
	TPM_CAP_PP_COMMANDS       uint32 = 0x00000003 // TPML_CC
	TPM_CAP_AUDIT_COMMANDS    uint32 = 0x00000004 // TPML_CC
	TPM_CAP_PCRS              uint32 = 0x00000005 // TPML_PCR_SELECTION
	TPM_CAP_TPM_PROPERTIES    uint32 = 0x00000006 // TPML_TAGGED_TPM_PROPERTY
	TPM_CAP_PCR_PROPERTIES    uint32 = 0x00000007 // TPML_TAGGED_PCR_PROPERTY
	TPM_CAP_ECC_CURVES        uint32 = 0x00000008 // TPML_ECC_CURVE
	TPM_CAP_AUTH_POLICIES     uint32 = 0x00000009 // TPML_TAGGED_POLICY
	TPM_CAP_ACT               uint32 = 0x0000000A // TPML_ACT_DATA
	TPM_CAP_PUB_KEYS          uint32 = 0x0000000B
	TPM_CAP_SPDM_SESSION_INFO uint32 = 0x0000000C
	TPM_CAP_VENDOR_PROPERTY   uint32 = 0x00000100 // manufacturer-specific values
)

// TPM_PT values (TPM20-P2 section 6.13): properties of the TPM.
const (
	TPM_PT_FAMILY_INDICATOR    uint32 = 0x100 // a 4-octet character string containing the TPM Family value (TPM_SPEC_FAMILY)
	TPM_PT_LEVEL               uint32 = 0x101 // the level of the specification
	TPM_PT_REVISION            uint32 = 0x102 // the specification Revision times 100
	TPM_PT_ERRATA              uint32 = 0x103
	TPM_PT_DAY_OF_YEAR         uint32 = 0x103 // the same property, as revisions before 1.84 name it
	TPM_PT_YEAR                uint32 = 0x104 // the specification year using the CE
	TPM_PT_MANUFACTURER        uint32 = 0x105 // the vendor ID unique to each TPM manufacturer
	TPM_PT_VENDOR_STRING_1     uint32 = 0x106 // the first four characters of the vendor ID string
	TPM_PT_VENDOR_STRING_2     uint32 = 0x107 // the second four characters of the vendor ID string
	TPM_PT_VENDOR_STRING_3     uint32 = 0x108 // the third four characters of the vendor ID string
	TPM_PT_VENDOR_STRING_4     uint32 = 0x109 // the fourth four characters of the vendor ID sting
	TPM_PT_VENDOR_TPM_TYPE     uint32 = 0x10A // vendor-defined value indicating the TPM model
	TPM_PT_FIRMWARE_VERSION_1  uint32 = 0x10B // the most-significant 32 bits of a TPM vendor-specific value indicating the version number
	TPM_PT_FIRMWARE_VERSION_2  uint32 = 0x10C // the least-significant 32 bits of a TPM vendor-specific value indicating the version
	TPM_PT_INPUT_BUFFER        uint32 = 0x10D // the maximum size of a parameter (typically, a TPM2B_MAX_BUFFER)
	TPM_PT_HR_TRANSIENT_MIN    uint32 = 0x10E // the minimum number of transient objects that can be held in TPM RAM
	TPM_PT_HR_PERSISTENT_MIN   uint32 = 0x10F // the minimum number of persistent objects that can be held in TPM NV memory
	TPM_PT_HR_LOADED_MIN       uint32 = 0x110 // the minimum number of authorization sessions that can be held in TPM RAM
	TPM_PT_ACTIVE_SESSIONS_MAX uint32 = 0x111 // the number of authorization sessions that may be active at a time
	TPM_PT_PCR_COUNT           uint32 = 0x112 // the number of PCR implemented
	TPM_PT_PCR_SELECT_MIN      uint32 = 0x113 // the minimum number of octets in a TPMS_PCR_SELECT.sizeOfSelect
	TPM_PT_CONTEXT_GAP_MAX     uint32 = 0x114 // the maximum allowed difference (unsigned) between the contextID values of two saved
	TPM_PT_NV_COUNTERS_MAX     uint32 = 0x116 // the maximum number of NV Indexes that are allowed to have the TPM_NT_COUNTER attribute
	TPM_PT_NV_INDEX_MAX        uint32 = 0x117 // the maximum size of an NV Index data area
	TPM_PT_MEMORY              uint32 = 0x118 // a TPMA_MEMORY indicating the memory management method for the TPM
	TPM_PT_CLOCK_UPDATE        uint32 = 0x119 // interval, in milliseconds, between updates to the copy of TPMS_CLOCK_INFO.clock in NV
	TPM_PT_CONTEXT_HASH        uint32 = 0x11A // the algorithm used for the integrity HMAC on saved contexts and for hashing the fuData of
	TPM_PT_CONTEXT_SYM         uint32 = 0x11B // TPM_ALG_ID, the algorithm used for encryption of saved contexts
	TPM_PT_CONTEXT_SYM_SIZE    uint32 = 0x11C // TPM_KEY_BITS, the size of the key used for encryption of saved contexts
	TPM_PT_ORDERLY_COUNT       uint32 = 0x11D // the modulus - 1 of the count for NV update of an orderly counter
	TPM_PT_MAX_COMMAND_SIZE    uint32 = 0x11E // the maximum value for commandSize in a command
	TPM_PT_MAX_RESPONSE_SIZE   uint32 = 0x11F // the maximum value for responseSize in a response
	TPM_PT_MAX_DIGEST          uint32 = 0x120 // the maximum size of a digest that can be produced by the TPM
	TPM_PT_MAX_OBJECT_CONTEXT  uint32 = 0x121 // the maximum size of an object context that will be returned by TPM2_ContextSave
	TPM_PT_MAX_SESSION_CONTEXT uint32 = 0x122 // the maximum size of a session context that will be returned by TPM2_ContextSave
	TPM_PT_PS_FAMILY_INDICATOR uint32 = 0x123 // platform-specific family (a TPM_PS value)(see Table 25)
	TPM_PT_PS_LEVEL            uint32 = 0x124 // the level of the platform-specific specification
	TPM_PT_PS_REVISION         uint32 = 0x125 // a platform specific value
	TPM_PT_PS_DAY_OF_YEAR      uint32 = 0x126 // the platform-specific TPM specification day of year using TCG calendar
	TPM_PT_PS_YEAR             uint32 = 0x127 // the platform-specific TPM specification year using the CE
	TPM_PT_SPLIT_MAX           uint32 = 0x128 // the number of split signing operations supported by the TPM
	TPM_PT_TOTAL_COMMANDS      uint32 = 0x129 // total number of commands implemented in the TPM
	TPM_PT_LIBRARY_COMMANDS    uint32 = 0x12A // number of commands from the TPM library that are implemented
	TPM_PT_VENDOR_COMMANDS     uint32 = 0x12B // number of vendor commands that are implemented
	TPM_PT_NV_BUFFER_MAX       uint32 = 0x12C // the maximum data size in one NV write, NV read, NV extend, or NV certify command
	TPM_PT_MODES               uint32 = 0x12D // a TPMA_MODES value, indicating that the TPM is designed for these modes
	TPM_PT_MAX_CAP_BUFFER      uint32 = 0x12E // the maximum size of a TPMS_CAPABILITY_DATA structure returned in TPM2_GetCapability()
	TPM_PT_FIRMWARE_SVN        uint32 = 0x12F
	TPM_PT_FIRMWARE_MAX_SVN    uint32 = 0x130
	TPM_PT_ML_PARAMETER_SETS   uint32 = 0x131
	TPM_PT_PERMANENT           uint32 = 0x200 // TPMA_PERMANENT
	TPM_PT_STARTUP_CLEAR       uint32 = 0x201 // TPMA_STARTUP_CLEAR
	TPM_PT_HR_NV_INDEX         uint32 = 0x202 // the number of NV Indexes currently defined
	TPM_PT_HR_LOADED           uint32 = 0x203 // the number of authorization sessions currently loaded into TPM RAM
	TPM_PT_HR_LOADED_AVAIL     uint32 = 0x204 // the number of additional authorization sessions, of any type, that could be loaded into
	TPM_PT_HR_ACTIVE           uint32 = 0x205 // the number of active authorization sessions currently being tracked by the TPM
	TPM_PT_HR_ACTIVE_AVAIL     uint32 = 0x206 // the number of additional authorization sessions, of any type, that could be created
	TPM_PT_HR_TRANSIENT_AVAIL  uint32 = 0x207 // estimate of the number of additional transient objects that could be loaded into TPM RAM
	TPM_PT_HR_PERSISTENT       uint32 = 0x208 // the number of persistent objects currently loaded into TPM NV memory
	TPM_PT_HR_PERSISTENT_AVAIL uint32 = 0x209 // the number of additional persistent objects that could be loaded into NV memory
	TPM_PT_NV_COUNTERS         uint32 = 0x20A // the number of defined NV Indexes that have NV the TPM_NT_COUNTER attribute
	TPM_PT_NV_COUNTERS_AVAIL   uint32 = 0x20B // the number of additional NV Indexes that can be defined with their TPM_NT of
	TPM_PT_ALGORITHM_SET       uint32 = 0x20C // code that limits the algorithms that may be used with the TPM
	TPM_PT_LOADED_CURVES       uint32 = 0x20D // the number of loaded ECC curves
	TPM_PT_LOCKOUT_COUNTER     uint32 = 0x20E // the current value of the lockout counter (failedTries)
	TPM_PT_MAX_AUTH_FAIL       uint32 = 0x20F // the number of authorization failures before DA lockout is invoked
	TPM_PT_LOCKOUT_INTERVAL    uint32 = 0x210 // the number of seconds before the value reported by TPM_PT_LOCKOUT_COUNTER is decremented
	TPM_PT_LOCKOUT_RECOVERY    uint32 = 0x211 // the number of seconds after a lockoutAuth failure before use of lockoutAuth may be
	TPM_PT_NV_WRITE_RECOVERY   uint32 = 0x212 // number of milliseconds before the TPM will accept another command that will modify NV
	TPM_PT_AUDIT_COUNTER_0     uint32 = 0x213 // the high-order 32 bits of the command audit counter
	TPM_PT_AUDIT_COUNTER_1     uint32 = 0x214 // the low-order 32 bits of the command audit counter
)

// TPM_PT_PCR values (TPM20-P2 section 6.14): properties of PCR.
const (
	TPM_PT_PCR_SAVE         uint32 = 0x00000000 // a SET bit in the TPMS_PCR_SELECT indicates that the PCR is saved and restored by
	TPM_PT_PCR_EXTEND_L0    uint32 = 0x00000001 // a SET bit in the TPMS_PCR_SELECT indicates that the PCR may be extended from locality 0
	TPM_PT_PCR_RESET_L0     uint32 = 0x00000002 // a SET bit in the TPMS_PCR_SELECT indicates that the PCR may be reset by TPM2_PCR_Reset()
	TPM_PT_PCR_EXTEND_L1    uint32 = 0x00000003 // a SET bit in the TPMS_PCR_SELECT indicates that the PCR may be extended from locality 1
	TPM_PT_PCR_RESET_L1     uint32 = 0x00000004 // a SET bit in the TPMS_PCR_SELECT indicates that the PCR may be reset by TPM2_PCR_Reset()
	TPM_PT_PCR_EXTEND_L2    uint32 = 0x00000005 // a SET bit in the TPMS_PCR_SELECT indicates that the PCR may be extended from locality 2
	TPM_PT_PCR_RESET_L2     uint32 = 0x00000006 // a SET bit in the TPMS_PCR_SELECT indicates that the PCR may be reset by TPM2_PCR_Reset()
	TPM_PT_PCR_EXTEND_L3    uint32 = 0x00000007 // a SET bit in the TPMS_PCR_SELECT indicates that the PCR may be extended from locality 3
	TPM_PT_PCR_RESET_L3     uint32 = 0x00000008 // a SET bit in the TPMS_PCR_SELECT indicates that the PCR may be reset by TPM2_PCR_Reset()
	TPM_PT_PCR_EXTEND_L4    uint32 = 0x00000009 // a SET bit in the TPMS_PCR_SELECT indicates that the PCR may be extended from locality 4
	TPM_PT_PCR_RESET_L4     uint32 = 0x0000000A // a SET bit in the TPMS_PCR_SELECT indicates that the PCR may be reset by TPM2_PCR_Reset()
	TPM_PT_PCR_NO_INCREMENT uint32 = 0x00000011 // a SET bit in the TPMS_PCR_SELECT indicates that modifications to this PCR (reset or
	TPM_PT_PCR_DRTM_RESET   uint32 = 0x00000012 // a SET bit in the TPMS_PCR_SELECT indicates that the PCR is reset by a D-RTM event
	TPM_PT_PCR_POLICY       uint32 = 0x00000013 // a SET bit in the TPMS_PCR_SELECT indicates that the PCR is controlled by policy
	TPM_PT_PCR_AUTH         uint32 = 0x00000014 // a SET bit in the TPMS_PCR_SELECT indicates that the PCR is controlled by an authorization
)
