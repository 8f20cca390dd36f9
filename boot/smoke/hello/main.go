//go:build tamago

// Hello shows that an image boots, and what Xen told it.
package main

import (
	"errors"
	"fmt"

	"xenvtpm/board/xenpvh"
	"xenvtpm/board/xenpvh/selftest"
)

func main() { selftest.Run("hello", hello) }

func hello(p *xenpvh.Platform) error {
	fmt.Printf("command line %q\n", p.Start.Cmdline)
	for _, r := range p.Start.Memmap {
		fmt.Printf("memory %#010x + %#010x type %d\n", r.Addr, r.Size, r.Type)
	}
	if len(p.Start.Memmap) == 0 {
		return errors.New("no memory map")
	}
	return nil
}
