package abi

// Xenstore's page: struct xenstore_domain_interface (io/xs_wire.h).
const (
	XenstoreRingSize       = 1024 // each direction
	XenstoreReq            = 0
	XenstoreRsp            = 1024
	XenstoreReqCons        = 2048 // u32
	XenstoreReqProd        = 2052 // u32
	XenstoreRspCons        = 2056 // u32
	XenstoreRspProd        = 2060 // u32
	XenstoreServerFeatures = 2064 // u32
	XenstoreConnection     = 2068 // u32, XENSTORE_CONNECTED or XENSTORE_RECONNECT
	XenstoreError          = 2072 // u32
	XenstoreEvtchnPort     = 2076 // u32
)

// Values of the xenstore page.
const (
	XENSTORE_SERVER_FEATURE_RECONNECTION = 1
	XENSTORE_SERVER_FEATURE_ERROR        = 2

	XENSTORE_CONNECTED = 0
	XENSTORE_RECONNECT = 1
)

// struct xsd_sockmsg: u32 type, req_id, tx_id, len (io/xs_wire.h).
const (
	XSHeaderSize = 16
	XSType       = 0
	XSReqID      = 4
	XSTxID       = 8
	XSLen        = 12

	XENSTORE_PAYLOAD_MAX  = 4096
	XENSTORE_ABS_PATH_MAX = 3072
	XENSTORE_REL_PATH_MAX = 2048
)

// XSType values: enum xsd_sockmsg_type.
const (
	XS_CONTROL              = 0
	XS_DIRECTORY            = 1
	XS_READ                 = 2
	XS_GET_PERMS            = 3
	XS_WATCH                = 4
	XS_UNWATCH              = 5
	XS_TRANSACTION_START    = 6
	XS_TRANSACTION_END      = 7
	XS_INTRODUCE            = 8
	XS_RELEASE              = 9
	XS_GET_DOMAIN_PATH      = 10
	XS_WRITE                = 11
	XS_MKDIR                = 12
	XS_RM                   = 13
	XS_SET_PERMS            = 14
	XS_WATCH_EVENT          = 15
	XS_ERROR                = 16
	XS_IS_DOMAIN_INTRODUCED = 17
	XS_RESUME               = 18
	XS_SET_TARGET           = 19
	XS_RESET_WATCHES        = 21
	XS_DIRECTORY_PART       = 22
)

// Console page: struct xencons_interface (io/console.h).
const (
	ConsoleInSize     = 1024
	ConsoleOutSize    = 2048
	ConsoleIn         = 0
	ConsoleOut        = 1024
	ConsoleInCons     = 3072 // u32
	ConsoleInProd     = 3076 // u32
	ConsoleOutCons    = 3080 // u32
	ConsoleOutProd    = 3084 // u32
	ConsoleConnection = 3088 // u8, XENCONSOLE_CONNECTED or XENCONSOLE_DISCONNECTED

	XENCONSOLE_CONNECTED    = 0
	XENCONSOLE_DISCONNECTED = 1
)

// Head of a request/response ring page (io/ring.h).
const (
	RingReqProd   = 0  // u32
	RingReqEvent  = 4  // u32
	RingRspProd   = 8  // u32
	RingRspEvent  = 12 // u32
	RingFirstSlot = 64
)

// Block requests for x86-64: struct blkif_request, blkif_request_segment and
// blkif_response (io/blkif.h).
const (
	BLKIF_MAX_SEGMENTS_PER_REQUEST = 11

	BlkifSlotSize = 112
	BlkifSlots    = 32 // in one page: (4096-64)/112 = 36, rounded down to a power of two

	BlkifReqOperation    = 0  // u8
	BlkifReqNrSegments   = 1  // u8
	BlkifReqHandle       = 2  // u16
	BlkifReqID           = 8  // u64, echoed
	BlkifReqSectorNumber = 16 // u64, in units of 512 bytes
	BlkifReqSegments     = 24 // BLKIF_MAX_SEGMENTS_PER_REQUEST times BlkifSegSize

	BlkifSegSize  = 8
	BlkifSegGref  = 0 // u32
	BlkifSegFirst = 4 // u8, first 512-byte sector in the page
	BlkifSegLast  = 5 // u8, last one, inclusive

	BlkifRspID        = 0  // u64
	BlkifRspOperation = 8  // u8
	BlkifRspStatus    = 10 // s16
	BlkifRspSize      = 16

	BlkifSectorSize = 512
)

// Block operations and results.
const (
	BLKIF_OP_READ            = 0
	BLKIF_OP_WRITE           = 1
	BLKIF_OP_WRITE_BARRIER   = 2
	BLKIF_OP_FLUSH_DISKCACHE = 3
	BLKIF_OP_DISCARD         = 5
	BLKIF_OP_INDIRECT        = 6

	BLKIF_RSP_OKAY       = 0
	BLKIF_RSP_ERROR      = -1
	BLKIF_RSP_EOPNOTSUPP = -2

	VDISK_CDROM     = 1
	VDISK_REMOVABLE = 2
	VDISK_READONLY  = 4

	XEN_IO_PROTO_ABI_X86_64 = "x86_64-abi" // node "protocol"
)

// TPM page, protocol 2: struct vtpm_shared_page (io/tpmif.h). The packet is at
// TPMIFData + 4 * nr_extra_pages; the header's own comment says 16 and is wrong.
const (
	TPMIFLength       = 0 // u32
	TPMIFState        = 4 // u8
	TPMIFLocality     = 5 // u8
	TPMIFPad          = 6 // u8
	TPMIFNrExtraPages = 7 // u8
	TPMIFData         = 8

	TPMIFMaxPacket = PageSize - TPMIFData
)

// TPM page states: enum vtpm_shared_page state values.
const (
	VTPM_STATE_IDLE   = 0
	VTPM_STATE_SUBMIT = 1
	VTPM_STATE_FINISH = 2
	VTPM_STATE_CANCEL = 3
)
