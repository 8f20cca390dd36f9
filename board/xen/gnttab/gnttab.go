// Package gnttab shares pages with other domains through grant table version
// 1: the interface that drivers use and the bookkeeping behind it.
package gnttab

import (
	"errors"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/shm"
)

// Ref is a grant reference (grant_ref_t).
type Ref uint32

// Grants is what a driver needs of grant tables. An implementation is used by
// one goroutine at a time.
type Grants interface {
	// Share grants remote access to a fresh, zeroed page of ours.
	Share(remote abi.DomID, writable bool) (Ref, *shm.Page, error)
	// Unshare ends a grant and frees its page, which reads as ones from then on
	// and loses what is written. It returns ErrInUse while the
	// peer still maps the page; page and reference are then quarantined until
	// the peer lets go and the caller must not use the reference again.
	Unshare(Ref) error
	// Map maps a page that remote has granted to us.
	Map(remote abi.DomID, ref Ref, writable bool) (*Mapping, error)
	// Unmap ends a mapping; its Page reads as ones from then on.
	Unmap(*Mapping) error
}

// A Mapping is a foreign page mapped by Map.
type Mapping struct {
	Page *shm.Page

	Remote abi.DomID
	Ref    Ref

	gfn    uint64 // guest frame it is mapped at
	handle uint32 // Xen's name of the mapping
	open   bool
}

// Errors of Grants.
var (
	ErrInUse  = errors.New("gnttab: the peer still maps the page")
	ErrBadRef = errors.New("gnttab: no such grant")
	ErrFull   = errors.New("gnttab: no free entry, page or frame")
)
