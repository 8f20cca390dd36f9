//go:build tamago

// Gnttab tests grants against themselves: a domain may map its own.
package main

import (
	"bytes"
	"errors"
	"fmt"

	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xenpvh"
	"xenvtpm/board/xenpvh/selftest"
)

func main() { selftest.Run("gnttab", test) }

func test(p *xenpvh.Platform) error {
	return errors.Join(shared(p), refused(p), exhausted(p), again(p, 2000))
}

// shared writes through one view of a page and reads through the other.
func shared(p *xenpvh.Platform) error {
	g := p.Grants
	ref, page, err := g.Share(p.Domain, true)
	if err != nil {
		return err
	}
	m, err := g.Map(p.Domain, ref, true)
	if err != nil {
		return err
	}
	fmt.Printf("page at %#x, reference %d, mapped at %#x\n", page.Addr(), ref, m.Page.Addr())
	page.CopyIn(100, []byte("from the owner"))
	got := make([]byte, 14)
	m.Page.CopyOut(got, 100)
	if !bytes.Equal(got, []byte("from the owner")) {
		return fmt.Errorf("the mapping shows %q", got)
	}
	m.Page.Store32(8, 0xC0FFEE)
	if err := selftest.Equal("the owner's word", page.Load32(8), 0xC0FFEE); err != nil {
		return err
	}
	if err := g.Unshare(ref); !errors.Is(err, gnttab.ErrInUse) {
		return fmt.Errorf("Unshare of a mapped page gives %v", err)
	}
	if err := g.Unmap(m); err != nil {
		return err
	}
	if err := selftest.Equal("a stale mapping", m.Page.Load32(8), 0xFFFFFFFF); err != nil {
		return err
	}
	return selftest.Equal("the owner's word after Unmap", page.Load32(8), 0xC0FFEE)
}

// refused asks for mappings that Xen must not give.
func refused(p *xenpvh.Platform) error {
	g := p.Grants
	if _, err := g.Map(p.Domain, 400, true); err == nil {
		return errors.New("a reference that was never granted can be mapped")
	}
	ref, _, err := g.Share(p.Domain, false)
	if err != nil {
		return err
	}
	if _, err := g.Map(p.Domain, ref, true); err == nil {
		return errors.New("a read-only grant can be mapped for writing")
	}
	m, err := g.Map(p.Domain, ref, false)
	if err != nil {
		return err
	}
	if err := g.Unmap(m); err != nil {
		return err
	}
	if err := g.Unshare(ref); err != nil {
		return err
	}
	if _, err := g.Map(p.Domain, ref, false); err == nil {
		return errors.New("a revoked grant can be mapped")
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

// again maps and unmaps often: nothing may leak.
func again(p *xenpvh.Platform, n int) error {
	start := p.Channels.Now()
	for i := range n {
		ref, page, err := p.Grants.Share(p.Domain, true)
		if err != nil {
			return fmt.Errorf("round %d: %w", i, err)
		}
		m, err := p.Grants.Map(p.Domain, ref, true)
		if err != nil {
			return fmt.Errorf("round %d: %w", i, err)
		}
		m.Page.Store64(0, uint64(i)+1)
		if err := errors.Join(
			selftest.Equal("the word", page.Load64(0), uint64(i)+1),
			p.Grants.Unmap(m), p.Grants.Unshare(ref)); err != nil {
			return fmt.Errorf("round %d: %w", i, err)
		}
	}
	fmt.Printf("share, map, unmap, unshare: %d ns\n", (p.Channels.Now()-start)/int64(n))
	return nil
}
