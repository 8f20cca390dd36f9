// Package abi holds the parts of Xen's public ABI that the images use, for
// x86-64 guests: numbers, layouts and names, no code that touches memory.
//
// Source: Xen's public headers (xen/include/public, unchanged in these parts
// from 4.7 to 4.22). Names keep the headers' spelling without the XEN_ prefix
// where Go's package name already says it. Offsets are pinned by a table test.
//
// Deliberately missing: PV paging, FIFO event channels, grant table version 2,
// everything for other architectures.
package abi

// DomID is a domain's number (domid_t).
type DomID uint16

// Special domain ids (xen.h).
const (
	DOMID_FIRST_RESERVED DomID = 0x7FF0 // ordinary domains are below
	DOMID_SELF           DomID = 0x7FF0 // the calling domain
	DOMID_IO             DomID = 0x7FF1
	DOMID_XEN            DomID = 0x7FF2
	DOMID_COW            DomID = 0x7FF3
	DOMID_INVALID        DomID = 0x7FF4
	DOMID_IDLE           DomID = 0x7FFF
)

// PageSize is the size of every page that domains share.
const PageSize = 4096
