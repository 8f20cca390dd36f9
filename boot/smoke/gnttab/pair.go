//go:build tamago

package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/gnttab"
	"xenvtpm/board/xen/xenstore"
	"xenvtpm/board/xenpvh"
	"xenvtpm/board/xenpvh/selftest"
)

// The two domains meet at a node of the one that shares: it holds the
// reference, then what the other one has got to.
const meeting = "data/gnttab"

const (
	before = 0x1122334455667788 // written by the owner, expected in the mapping
	after  = 0x99AABBCCDDEEFF00 // written through the mapping, expected by the owner
)

func peerID(s string) (abi.DomID, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || abi.DomID(n) >= abi.DOMID_FIRST_RESERVED {
		return 0, fmt.Errorf("%q is no domain number", s)
	}
	return abi.DomID(n), nil
}

// patience is how many seconds one side waits for the other to come to life.
const patience = 60

// await reads a node until it holds one of the values wanted (any, if none is
// given), for at most the given time.
func await(p *xenpvh.Platform, limit time.Duration, path string, want ...string) (string, error) {
	var got string
	var err error
	for end := p.Channels.Now() + int64(limit); p.Channels.Now() < end; {
		got, err = p.Store.Read(path)
		switch {
		case errors.Is(err, xenstore.ErrNotExist), errors.Is(err, xenstore.ErrPermission):
		case err != nil:
			return "", err
		case len(want) == 0:
			return got, nil
		default:
			for _, w := range want {
				if got == w {
					return got, nil
				}
			}
		}
		p.Channels.Wait(p.Channels.Now() + 50e6)
		if err := p.Store.Dispatch(); err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("waited %v for %s to become %q; it is %q (%v)", limit, path, want, got, err)
}

// share grants a page to the peer, expects what the peer wrote there, and
// that the grant cannot be ended while the peer maps it.
func share(p *xenpvh.Platform, peer string) error {
	dom, err := peerID(peer)
	if err != nil {
		return err
	}
	ref, page, err := p.Grants.Share(dom, true)
	if err != nil {
		return err
	}
	page.Store64(0, before)
	if err := p.Store.Write(meeting, strconv.Itoa(int(ref))); err != nil {
		return err
	}
	// xenstored ignores permissions for a domain that was created after they
	// were given, so they are given again until the peer has used them.
	perms := []xenstore.Perm{{Dom: p.Domain}, {Dom: dom, Read: true, Write: true}}
	for try := 1; ; try++ {
		if err := p.Store.SetPerms(meeting, perms); err != nil {
			return err
		}
		if _, err := await(p, time.Second, meeting, "mapped"); err == nil {
			break
		} else if try == patience {
			return err
		}
	}
	if err := selftest.Equal("the word that the peer wrote", page.Load64(0), after); err != nil {
		return err
	}
	if err := p.Grants.Unshare(ref); !errors.Is(err, gnttab.ErrInUse) {
		return fmt.Errorf("ending a grant that the peer maps gives %v", err)
	}
	if err := p.Store.Write(meeting, "unmap"); err != nil {
		return err
	}
	if _, err := await(p, patience*time.Second, meeting, "unmapped"); err != nil {
		return err
	}
	table, ok := p.Grants.(*gnttab.Table)
	if !ok {
		return errors.New("Grants is no Table")
	}
	return selftest.Equal("the number of grants in quarantine", table.Reap(), 0)
}

// mapPeer is the other side. It maps and unmaps often first: nothing may leak.
func mapPeer(p *xenpvh.Platform, peer string) error {
	dom, err := peerID(peer)
	if err != nil {
		return err
	}
	node := fmt.Sprintf("/local/domain/%d/%s", dom, meeting)
	value := ""
	for value == "" {
		if value, err = await(p, patience*time.Second, node); err != nil {
			return err
		}
	}
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil {
		return err
	}
	ref := gnttab.Ref(n)
	const rounds = 500
	start := p.Channels.Now()
	for i := range rounds {
		m, err := p.Grants.Map(dom, ref, i%2 == 0)
		if err != nil {
			return fmt.Errorf("round %d: %w", i, err)
		}
		if err := errors.Join(selftest.Equal("the owner's word", m.Page.Load64(0), before), p.Grants.Unmap(m)); err != nil {
			return fmt.Errorf("round %d: %w", i, err)
		}
	}
	fmt.Printf("map, read and unmap: %d ns\n", (p.Channels.Now()-start)/rounds)
	m, err := p.Grants.Map(dom, ref, true)
	if err != nil {
		return err
	}
	m.Page.Store64(0, after)
	if err := p.Store.Write(node, "mapped"); err != nil {
		return err
	}
	if _, err := await(p, patience*time.Second, node, "unmap"); err != nil {
		return err
	}
	if err := p.Grants.Unmap(m); err != nil {
		return err
	}
	if err := selftest.Equal("a stale mapping", m.Page.Load64(0), 1<<64-1); err != nil {
		return err
	}
	return p.Store.Write(node, "unmapped")
}
