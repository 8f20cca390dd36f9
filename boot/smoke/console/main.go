//go:build tamago

// Console writes far more than the ring holds, as fast as it can. Every line
// must arrive, the last one too: the reader counts lines "line NNNN of 3000"
// and looks for "no lines lost" before SUCCESS.
package main

import (
	"fmt"
	"strings"

	"xenvtpm/board/xenpvh"
	"xenvtpm/board/xenpvh/selftest"
)

const lines = 3000

func main() { selftest.Run("console", test) }

func test(p *xenpvh.Platform) error {
	start := p.Channels.Now()
	size := 0
	for i := 1; i <= lines; i++ {
		n, err := fmt.Printf("line %04d of %d %s\n", i, lines, strings.Repeat("=", i%100))
		if err != nil {
			return err
		}
		size += n
	}
	took := p.Channels.Now() - start
	fmt.Printf("%d bytes in %d ms\n", size, took/1e6)
	print("print goes the same way\n")
	fmt.Println(strings.Repeat("a line longer than the ring ", 100))
	fmt.Println("\r\n\r\nblank lines and carriage returns\r")
	fmt.Println("no lines lost if this follows line", lines)
	return nil
}
