//go:build tamago

// Gnttab tests what one domain can about grants: the entries that it makes, by
// letting Xen copy through them, and Xen's refusals. Mapping takes a second
// domain (a page of an HVM guest cannot be in two places of its own memory):
// boot this image twice, once with extra="share=<domain>" and once with
// extra="map=<domain>", each naming the other.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/hypercall"
	"xenvtpm/board/xen/shm"
	"xenvtpm/board/xenpvh"
	"xenvtpm/board/xenpvh/selftest"
)

func main() { selftest.Run("gnttab", test) }

func test(p *xenpvh.Platform) error {
	if peer, ok := p.Option("share"); ok {
		return share(p, peer)
	}
	if peer, ok := p.Option("map"); ok {
		return mapPeer(p, peer)
	}
	return errors.Join(copied(p), refused(p), exhausted(p))
}

// copyFrom lets Xen copy 64 bytes from the start of what ref grants to the
// start of a page of ours: GNTTABOP_copy of struct gnttab_copy.
func copyFrom(p *xenpvh.Platform, ref gnttab.Ref, to *shm.Page) error {
	const (
		copyOp, sourceIsRef  = 5, 1
		srcRef, srcDom       = 0, 8
		dstFrame, dstDom     = 16, 24
		length, flags, state = 32, 34, 36
		size                 = 40
	)
	le := binary.LittleEndian
	arg := make([]byte, size)
	le.PutUint32(arg[srcRef:], uint32(ref))
	le.PutUint16(arg[srcDom:], uint16(p.Domain))
	le.PutUint64(arg[dstFrame:], uint64(to.Addr()/abi.PageSize))
	le.PutUint16(arg[dstDom:], uint16(abi.DOMID_SELF))
	le.PutUint16(arg[length:], 64)
	le.PutUint16(arg[flags:], sourceIsRef)
	if rc := (hypercall.Ops{}).GrantTableOp(copyOp, arg); rc != 0 {
		return fmt.Errorf("GNTTABOP_copy: %w", abi.HypercallError(rc))
	}
	if s := abi.GrantStatus(le.Uint16(arg[state:])); s != abi.GNTST_okay {
		return s
	}
	return nil
}

// copied expects Xen to follow an entry to the right page while it is granted,
// and not afterwards.
func copied(p *xenpvh.Platform) error {
	ref, page, err := p.Grants.Share(p.Domain, false)
	if err != nil {
		return err
	}
	toRef, to, err := p.Grants.Share(p.Domain, false)
	if err != nil {
		return err
	}
	page.CopyIn(0, []byte("through the grant"))
	if err := copyFrom(p, ref, to); err != nil {
		return err
	}
	got := make([]byte, 17)
	to.CopyOut(got, 0)
	fmt.Printf("reference %d to the page at %#x reads %q\n", ref, page.Addr(), got)
	if err := selftest.Equal("the copy", string(got), "through the grant"); err != nil {
		return err
	}
	if err := errors.Join(p.Grants.Unshare(ref), p.Grants.Unshare(toRef)); err != nil {
		return err
	}
	if err := copyFrom(p, ref, to); err == nil {
		return errors.New("Xen copies through a revoked grant")
	}
	return nil
}

// refused asks for mappings that Xen must not give.
func refused(p *xenpvh.Platform) error {
	g := p.Grants
	if _, err := g.Map(0, 400, true); err == nil {
		return errors.New("a reference that domain 0 never granted can be mapped")
	}
	if _, err := g.Map(p.Domain+100, 8, true); err == nil {
		return errors.New("a domain that does not exist can be mapped")
	}
	ref, _, err := g.Share(p.Domain, false)
	if err != nil {
		return err
	}
	if _, err := g.Map(p.Domain, ref, true); err == nil {
		return errors.New("a read-only grant can be mapped for writing")
	}
	if err := g.Unshare(ref); err != nil {
		return err
	}
	if err := g.Unshare(ref); !errors.Is(err, gnttab.ErrBadRef) {
		return fmt.Errorf("the second Unshare gives %v", err)
	}
	return nil
}

// exhausted takes all pages and expects an error, then all of them back.
func exhausted(p *xenpvh.Platform) error {
	count := func() (int, error) {
		var refs []gnttab.Ref
		for {
			ref, _, err := p.Grants.Share(p.Domain, true)
			if errors.Is(err, gnttab.ErrFull) {
				break
			}
			if err != nil {
				return 0, err
			}
			refs = append(refs, ref)
		}
		for _, ref := range refs {
			if err := p.Grants.Unshare(ref); err != nil {
				return 0, err
			}
		}
		return len(refs), nil
	}
	first, err := count()
	if err != nil {
		return err
	}
	second, err := count()
	fmt.Printf("%d pages can be shared\n", first)
	return errors.Join(err, selftest.Equal("the number of pages the second time", second, first))
}
