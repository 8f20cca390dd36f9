package abi

// struct hvm_start_info (arch-x86/hvm/start_info.h). All addresses are guest
// physical.
const (
	XEN_HVM_START_MAGIC_VALUE = 0x336EC578

	StartInfoMagic         = 0  // u32
	StartInfoVersion       = 4  // u32
	StartInfoFlags         = 8  // u32
	StartInfoNrModules     = 12 // u32
	StartInfoModlist       = 16 // u64
	StartInfoCmdline       = 24 // u64, NUL-terminated
	StartInfoRSDP          = 32 // u64
	StartInfoMemmap        = 40 // u64, version >= 1
	StartInfoMemmapEntries = 48 // u32, version >= 1
	StartInfoSizeV0        = 40
	StartInfoSizeV1        = 56

	SIF_PRIVILEGED = 1 << 0
	SIF_INITDOMAIN = 1 << 1
)

// struct hvm_modlist_entry.
const (
	ModlistEntrySize = 32
	ModlistPaddr     = 0  // u64
	ModlistSize      = 8  // u64
	ModlistCmdline   = 16 // u64
)

// struct hvm_memmap_table_entry.
const (
	MemmapEntrySize = 24
	MemmapAddr      = 0  // u64
	MemmapSize      = 8  // u64
	MemmapType      = 16 // u32
)

// Memory-map types.
const (
	XEN_HVM_MEMMAP_TYPE_RAM      = 1
	XEN_HVM_MEMMAP_TYPE_RESERVED = 2
	XEN_HVM_MEMMAP_TYPE_ACPI     = 3
	XEN_HVM_MEMMAP_TYPE_NVS      = 4
	XEN_HVM_MEMMAP_TYPE_UNUSABLE = 5
	XEN_HVM_MEMMAP_TYPE_DISABLED = 6
	XEN_HVM_MEMMAP_TYPE_PMEM     = 7
)

// ELF note that names the 32-bit entry point (elfnote.h).
const (
	XEN_ELFNOTE_PHYS32_ENTRY = 18
	XEN_ELFNOTE_OWNER        = "Xen"
)
