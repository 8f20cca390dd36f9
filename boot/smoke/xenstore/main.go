//go:build tamago

// Xenstore tests the client against the real server, below the one node that
// every guest may write.
package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"xenvtpm/board/xen/xenstore"
	"xenvtpm/board/xenpvh"
	"xenvtpm/board/xenpvh/selftest"
)

const base = "data/smoke"

func main() { selftest.Run("xenstore", test) }

func test(p *xenpvh.Platform) error {
	s := p.Store
	return errors.Join(nodes(s), transactions(s), watches(p), speed(p))
}

func nodes(s *xenstore.Client) error {
	long := strings.Repeat("0123456789abcdef", 120) // 1920 bytes: more than the ring, less than the quota
	for path, value := range map[string]string{base + "/a": "1", base + "/b/c": "", base + "/long": long} {
		if err := s.Write(path, value); err != nil {
			return err
		}
		got, err := s.Read(path)
		if err != nil {
			return err
		}
		if got != value {
			return fmt.Errorf("%s reads as %q", path, got)
		}
	}
	list, err := s.Directory(base)
	slices.Sort(list)
	if err != nil || !slices.Equal(list, []string{"a", "b", "long"}) {
		return fmt.Errorf("directory is %q: %w", list, err)
	}
	perms, err := s.GetPerms(base)
	if err != nil || len(perms) == 0 {
		return fmt.Errorf("permissions are %v: %w", perms, err)
	}
	fmt.Println("permissions", perms)
	if _, err := s.Read(base + "/none"); !errors.Is(err, xenstore.ErrNotExist) {
		return fmt.Errorf("reading a node that is not there gives %v", err)
	}
	if err := s.Write("/tool/smoke", "x"); !errors.Is(err, xenstore.ErrPermission) {
		return fmt.Errorf("writing the toolstack's nodes gives %v", err)
	}
	if err := s.Write(base+"/quota", strings.Repeat("x", 4000)); !errors.Is(err, xenstore.ErrQuota) {
		return fmt.Errorf("writing 4000 bytes to a node gives %v", err)
	}
	if err := s.Rm(base + "/b"); err != nil {
		return err
	}
	if ok, err := s.Exists(base + "/b/c"); ok || err != nil {
		return fmt.Errorf("a node below a removed one exists: %v, %w", ok, err)
	}
	return nil
}

func transactions(s *xenstore.Client) error {
	stop := errors.New("changed my mind")
	err := s.Transaction(func(tx *xenstore.Tx) error {
		return errors.Join(tx.Write(base+"/t", "inside"), stop)
	})
	if !errors.Is(err, stop) {
		return fmt.Errorf("aborted transaction: %v", err)
	}
	if ok, err := s.Exists(base + "/t"); ok || err != nil {
		return fmt.Errorf("an aborted transaction left a node: %v, %w", ok, err)
	}
	tries := 0
	err = s.Transaction(func(tx *xenstore.Tx) error {
		tries++
		if _, err := tx.Read(base + "/a"); err != nil {
			return err
		}
		if tries == 1 { // somebody else interferes
			if err := s.Write(base+"/a", "2"); err != nil {
				return err
			}
		}
		return tx.Write(base+"/t", "committed")
	})
	if err != nil {
		return err
	}
	fmt.Println("a transaction with a conflict took", tries, "tries")
	got, err := s.Read(base + "/t")
	return errors.Join(err, selftest.Equal("the committed value", got, "committed"))
}

// watches expects the event of the registration, one for a change, and none
// after Close.
func watches(p *xenpvh.Platform) error {
	s := p.Store
	var seen []string
	w, err := s.Watch(base+"/w", func(path string) { seen = append(seen, path) })
	if err != nil {
		return err
	}
	wait := func(n int) error {
		for end := p.Channels.Now() + 3e9; len(seen) < n; {
			if p.Channels.Now() > end {
				return fmt.Errorf("%d watch events after 3 s: %q, want %d", len(seen), seen, n)
			}
			if err := s.Dispatch(); err != nil {
				return err
			}
			if len(seen) < n {
				p.Channels.Wait(end)
			}
		}
		return nil
	}
	if err := errors.Join(wait(1), s.Write(base+"/w/deep", "x"), wait(2)); err != nil {
		return err
	}
	if err := selftest.Equal("the changed node", seen[1], base+"/w/deep"); err != nil {
		return err
	}
	if err := errors.Join(w.Close(), s.Write(base+"/w", "y"), s.Dispatch()); err != nil {
		return err
	}
	return selftest.Equal("the number of events after Close", len(seen), 2)
}

func speed(p *xenpvh.Platform) error {
	const n = 200
	start := p.Channels.Now()
	for range n {
		if _, err := p.Store.Read(base + "/a"); err != nil {
			return err
		}
	}
	fmt.Printf("one read takes %d us\n", (p.Channels.Now()-start)/n/1e3)
	return nil
}
