package abi

// Grant-table operations (grant_table.h).
const (
	GNTTABOP_map_grant_ref   = 0
	GNTTABOP_unmap_grant_ref = 1
	GNTTABOP_setup_table     = 2
	GNTTABOP_copy            = 5
	GNTTABOP_query_size      = 6
	GNTTABOP_set_version     = 8
	GNTTABOP_get_version     = 10
)

// grant_entry_v1: u16 flags, u16 domid, u32 frame.
const (
	GrantEntrySize  = 8
	GrantEntryFlags = 0
	GrantEntryDomid = 2
	GrantEntryFrame = 4

	GrantEntriesPerPage = PageSize / GrantEntrySize

	// GNTTAB_NR_RESERVED_ENTRIES are for the toolstack: 0 console, 1 xenstore.
	GNTTAB_NR_RESERVED_ENTRIES = 8
)

// Flags of a version 1 entry.
const (
	GTF_invalid       uint16 = 0
	GTF_permit_access uint16 = 1
	GTF_type_mask     uint16 = 3
	GTF_readonly      uint16 = 1 << 2
	GTF_reading       uint16 = 1 << 3 // set by Xen: mapped for reading
	GTF_writing       uint16 = 1 << 4 // set by Xen: mapped for writing
)

// struct gnttab_map_grant_ref: u64 host_addr, u32 flags, u32 ref, u16 dom,
// out s16 status, out u32 handle, out u64 dev_bus_addr.
const (
	GnttabMapSize     = 32
	GnttabMapHostAddr = 0
	GnttabMapFlags    = 8
	GnttabMapRef      = 12
	GnttabMapDom      = 16
	GnttabMapStatus   = 18
	GnttabMapHandle   = 20
)

// Flags of a map operation.
const (
	GNTMAP_device_map = 1 << 0
	GNTMAP_host_map   = 1 << 1
	GNTMAP_readonly   = 1 << 2
)

// struct gnttab_unmap_grant_ref: u64 host_addr, u64 dev_bus_addr, u32 handle, out s16 status.
const (
	GnttabUnmapSize     = 24
	GnttabUnmapHostAddr = 0
	GnttabUnmapHandle   = 16
	GnttabUnmapStatus   = 20
)

// struct gnttab_query_size: u16 dom, pad, out u32 nr_frames, out u32 max_nr_frames, out s16 status.
const (
	GnttabQuerySizeSize        = 16
	GnttabQuerySizeDom         = 0
	GnttabQuerySizeNrFrames    = 4
	GnttabQuerySizeMaxNrFrames = 8
	GnttabQuerySizeStatus      = 12
)

// GrantStatus is a GNTST_* result; 0 is success, errors are negative.
type GrantStatus int16

// Status codes (grant_table.h).
const (
	GNTST_okay              GrantStatus = 0
	GNTST_general_error     GrantStatus = -1
	GNTST_bad_domain        GrantStatus = -2
	GNTST_bad_gntref        GrantStatus = -3
	GNTST_bad_handle        GrantStatus = -4
	GNTST_bad_virt_addr     GrantStatus = -5
	GNTST_bad_dev_addr      GrantStatus = -6
	GNTST_no_device_space   GrantStatus = -7
	GNTST_permission_denied GrantStatus = -8
	GNTST_bad_page          GrantStatus = -9
	GNTST_bad_copy_arg      GrantStatus = -10
	GNTST_address_too_big   GrantStatus = -11
	GNTST_eagain            GrantStatus = -12
	GNTST_no_space          GrantStatus = -13
)

var grantStatusText = [...]string{
	"okay", "general error", "bad domain", "bad grant reference", "bad handle",
	"bad virtual address", "bad device address", "no device space",
	"permission denied", "bad page", "bad copy argument", "address too big",
	"try again", "out of space",
}

func (s GrantStatus) Error() string {
	if i := -int(s); i >= 0 && i < len(grantStatusText) {
		return "grant table: " + grantStatusText[i]
	}
	return "grant table: unknown status"
}
